"""Checks of who gets in, and becomes root: passwords, sudo, SSH, and services that listen."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable

from diskimage_create.model import Expectation
from diskimage_create.validate.registry import Outcome, check, listed, skipped, verdict, warned
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.system.listening import LISTENERS, can_start, listening_addresses
from diskimage_create.validate.system.sshd import MAIN, read_sshd_settings
from diskimage_create.validate.system.sudoers import Rule, passwordless_rules
from diskimage_create.validate.system.units import started_units, unit_file
from diskimage_create.validate.system.users import can_log_in, password_fields, read_users
from diskimage_create.validate.view import ImageView

_SECRET_TABLES = ("/etc/shadow", "/etc/gshadow", "/etc/shadow-", "/etc/gshadow-", "/etc/security/opasswd")

#: crypt(5) says of each how hard it is to guess
_STRONG = ("$y$", "$gy$", "$7$", "$6$", "$5$", "$2b$", "$2y$", "$argon2")
_WEAK_METHOD = re.compile(r"^[ \t]*ENCRYPT_METHOD\s+(DES|MD5)\b", re.MULTILINE)

#: Element -> the user whom it lets become root without a password, as its documentation says
_ROOTS = {"stackuser": "stack", "devuser": "devuser"}
_TRUSTING_SU = re.compile(r"^[ \t]*auth\s.*pam_wheel\.so\b.*\btrust\b", re.MULTILINE)

_WEAK_SSH = re.compile(r"arcfour|3des|blowfish|cast128|hmac-md5|ssh-dss|diffie-hellman-group1-")


@check("password-storage", "Passwords are stored strongly, and only root can read them")
def password_storage(view: ImageView, expectation: Expectation) -> Outcome:
    """Passwords that let someone in are hashed by a slow method, and nobody but root and the group shadow reads them.

    Methods of the last century (DES, MD5, SHA-1, NT) are tried billions of times a second.
    Hashes in /etc/passwd, which every user reads, or in a copy of /etc/shadow that all can
    read, are as good as known. ``chpasswd --crypt-method YESCRYPT`` stores one anew.
    """
    root = view.root
    hashes = {user: field for user, field in password_fields(root).items() if field and can_log_in(field)}
    weak = [user for user, field in hashes.items() if not field.startswith(_STRONG)]
    problems = [f"weakly hashed: {listed(weak)}"] if weak else []
    rows = [line.split(":") for line in (root.read_text("/etc/passwd") or "").splitlines()]
    if open_to_all := [row[0] for row in rows if len(row) == 7 and len(row[1]) > 1 and can_log_in(row[1])]:
        problems.append(f"in /etc/passwd: {listed(open_to_all)}")
    for name in _SECRET_TABLES:
        status = root.stat(name)
        if status is not None and status.st_mode & 0o007:
            problems.append(f"{name} is open to all (mode {stat.S_IMODE(status.st_mode):04o})")
    if method := _WEAK_METHOD.search(root.read_text("/etc/login.defs") or ""):
        problems.append(f"/etc/login.defs makes passwords with {method[1]}")
    return verdict(problems, "well")


@check("root-rights", "Nobody becomes root without a password, unless an element is there for that")
def root_rights(view: ImageView, expectation: Expectation) -> Outcome:
    """No rule of sudo, no second user of number 0 and no setting of su makes a user root without a password.

    Rules for single commands, as services have them, are counted only. ``stack`` and ``devuser``
    are let through where the element of that user is in the image; cloud-init writes the rule
    of its default user at the first boot, into the instance and not into the image.
    """
    root = view.root
    asked = {user for element, user in _ROOTS.items() if element in expectation.elements}
    rules = [rule for rule in passwordless_rules(root) if rule.who not in asked]
    problems = [f"{rule.file} lets {rule.who} do everything without a password" for rule in rules if rule.everything]
    problems += _open_rule_files(root)
    if twins := [user.name for user in read_users(root).values() if user.uid == 0 and user.name != "root"]:
        problems.append(f"users with the number of root: {listed(twins)}")
    if _TRUSTING_SU.search(root.read_text("/etc/pam.d/su") or ""):
        problems.append("/etc/pam.d/su trusts a group without a password (pam_wheel, trust)")
    return verdict(dict.fromkeys(problems), _allowed(asked, rules))


def _open_rule_files(root: ImageRoot) -> list[str]:
    problems = []
    for name in ["/etc/sudoers", *root.glob("/etc/sudoers.d/*")]:
        status = root.lstat(name)
        if status and stat.S_ISREG(status.st_mode) and (status.st_uid != 0 or status.st_mode & 0o022):
            problems.append(f"{name} can be written by others than root")
    return problems


def _allowed(asked: Iterable[str], rules: Iterable[Rule]) -> str:
    single = {rule.who for rule in rules}
    return f"{listed(sorted(asked)) or 'nobody'}" + (f"; single commands: {listed(sorted(single))}" if single else "")


@check("ssh-settings", "The SSH server lets nobody in by a password")
def ssh_settings(view: ImageView, expectation: Expectation) -> Outcome:
    """sshd's configuration does not let root in by a password, nor anybody without one, and allows no broken cipher.

    Every image is the same everywhere: a password that is found once opens all instances. Where
    root's password was asked for (``--root-password``), root's login was as well. That other
    users may use passwords is a warning: all are locked, until somebody gives one of them a
    password that can be guessed.
    """
    root = view.root
    if not root.is_executable("/usr/sbin/sshd") or not root.is_file(MAIN):
        return skipped("there is no SSH server")
    settings = read_sshd_settings(root)
    problems = []
    if "yes" in settings.values("permitrootlogin") and not expectation.root_password:
        problems.append("PermitRootLogin is yes")
    if "yes" in settings.values("permitemptypasswords"):
        problems.append("PermitEmptyPasswords is yes")
    for keyword in ("ciphers", "macs", "kexalgorithms", "hostkeyalgorithms", "pubkeyacceptedalgorithms"):
        # A list that begins with - takes its names away.
        if any(_WEAK_SSH.search(value) for value in settings.values(keyword) if not value.startswith("-")):
            problems.append(f"{keyword} allows what is broken")
    if problems:
        return verdict(problems, "")
    asked = expectation.root_password or expectation.password_users
    if "yes" in settings.values("passwordauthentication") and not asked:
        return warned("PasswordAuthentication is yes")
    return verdict([], f"root: {settings.everywhere.get('permitrootlogin', 'by key only')}")


@check("listening-services", "No service that nobody asked for listens on the network")
def listening_services(view: ImageView, expectation: Expectation) -> Outcome:
    """Of services that are known to listen, and of sockets of systemd, only those start at boot that were asked for.

    A service is asked for by an element or an option that installs its package by name; SSH has a
    check of its own (``sshd``). What came along as a dependency, and starts because packages
    of Debian start what they bring, can be reached by whoever reaches the instance: leave out
    its package, or ``systemctl disable`` it in an element. Where it is not known what was asked
    for, it is a warning.
    """
    root = view.root
    found = []
    for unit in (unit for unit in started_units(root) if can_start(root, unit)):
        serves, packages = LISTENERS.get(unit, ("", ()))
        if serves and not set(packages) & set(expectation.packages):
            found.append(f"{unit} serves {serves}")
        elif not serves and unit.endswith(".socket") and not unit.startswith("ssh"):
            # In /etc it is of an element, which does nothing else than asking for it.
            of_a_package = not (unit_file(root, unit) or "").startswith("/etc/")
            if of_a_package and (addresses := listening_addresses(root, unit)):
                found.append(f"{unit} listens on {listed(addresses, 3)}")
    if found and not expectation.elements:
        return warned("; ".join(found))
    return verdict(found, "none but what was asked for")
