"""Checks of what must differ from instance to instance: passwords, keys and identities."""

from __future__ import annotations

import re

from diskimage_create.model import Expectation
from diskimage_create.validate.registry import Outcome, check, listed, verdict
from diskimage_create.validate.system.users import can_log_in, password_fields, read_users
from diskimage_create.validate.view import ImageView

_UNSET_MACHINE_ID = ("", "uninitialized")

# Keys of cloud-init's configuration that give a user a password.
_CLOUD_PASSWORD = re.compile(r"^[ \t]*-?\s*(plain_text_passwd|hashed_passwd|passwd|password)\s*:", re.MULTILINE)


@check("root-password", "root has no password, unless one was asked for")
def root_password(view: ImageView, expectation: Expectation) -> Outcome:
    """A password in an image is the same in every instance. An empty one lets in everybody."""
    password = password_fields(view.root).get("root")
    if password is None:
        return verdict(["there is no entry for root in /etc/shadow"], "")
    if password == "":
        return verdict(["root's password is empty"], "")
    if expectation.root_password:
        return verdict([] if can_log_in(password) else ["root is locked, although a password was asked for"], "set")
    return verdict(["root has a password, although none was asked for"] if can_log_in(password) else [], "locked")


@check("user-passwords", "No user has a default password")
def user_passwords(view: ImageView, expectation: Expectation) -> Outcome:
    """All users but root, and those for whom one was asked for, are locked; cloud-init sets none that all can read."""
    root = view.root
    passwords = password_fields(root)
    expected = {"root", *expectation.password_users}
    open_users = [user for user, field in passwords.items() if user not in expected and can_log_in(field)]
    problems = [f"not locked: {listed(open_users)}"] if open_users else []
    problems += [
        f"{user} has no password, although one was asked for"
        for user in expectation.password_users
        if not passwords.get(user) or not can_log_in(passwords[user])
    ]
    for name in ["/etc/cloud/cloud.cfg", *root.glob("/etc/cloud/cloud.cfg.d/*.cfg")]:
        if found := _CLOUD_PASSWORD.search(root.read_text(name) or ""):
            problems.append(f"{name} sets {found[1]}")
    but = f" but {listed(expectation.password_users)}" if expectation.password_users else ""
    return verdict(problems, f"all locked{but}")


@check("ssh-host-keys", "There are no SSH host keys")
def ssh_host_keys(view: ImageView, expectation: Expectation) -> Outcome:
    """Each instance makes its own at the first boot; with those of the image, anyone who has it can impersonate all."""
    keys = view.root.glob("/etc/ssh/ssh_host_*key*")
    return verdict([f"found {listed(keys)}"] if keys else [], "none")


@check("authorized-keys", "Nobody's SSH key is let in, but those of local-config")
def authorized_keys(view: ImageView, expectation: Expectation) -> Outcome:
    """No user has an authorized key in the image, but the one for whom ``local-config`` installs some.

    Keys come from the cloud, for each instance.
    """
    root = view.root
    users = read_users(root)
    homes = {"/root", *(user.home for user in users.values() if user.home.startswith("/"))}
    if expectation.key_user in users:
        homes.discard(users[expectation.key_user].home)
    files = [name for home in sorted(homes) for name in root.glob(f"{home.rstrip('/')}/.ssh/authorized_keys*")]
    filled = [name for name in files if (root.read_text(name) or "").strip()]
    good = f"none but {expectation.key_user}'s" if expectation.key_user else "none"
    return verdict([f"found {listed(filled)}"] if filled else [], good)


@check("machine-id", "The machine id is unset")
def machine_id(view: ImageView, expectation: Expectation) -> Outcome:
    """systemd makes one at the first boot; a shared one gives all instances the same DHCP identity and address."""
    root = view.root
    problems = [
        f"{name} is {content!r}"
        for name in ("/etc/machine-id", "/var/lib/dbus/machine-id")
        if (content := (root.read_text(name) or "").strip()) not in _UNSET_MACHINE_ID
    ]
    return verdict(problems, "unset")
