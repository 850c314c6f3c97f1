"""Checks of machines that Heat starts: the elements bootstrap, local-config, stackuser and heat-cfntools.

That Heat's tools run is checked while the image is built; here, that they are where templates look for them.
"""

from __future__ import annotations

import re
import stat

from diskimage_create.model import Expectation
from diskimage_create.validate.registry import Outcome, check, listed, passed, skipped, verdict
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.system.units import is_enabled
from diskimage_create.validate.system.users import User, read_users
from diskimage_create.validate.view import ImageView

_CFN_TOOLS = ("cfn-get-metadata", "cfn-hup", "cfn-init", "cfn-push-stats", "cfn-signal")
#: Heat's templates know the first one
_CFN_PLACES = ("/opt/aws/bin", "/usr/local/bin")

_SUDOERS = "/etc/sudoers.d/stack"
_SUDO_RULE = re.compile(r"^stack\s+ALL\s*=\s*\(ALL(?::ALL)?\)\s*NOPASSWD:\s*ALL\s*$", re.MULTILINE)

_CLOUD_INIT_UNITS = ("cloud-init-local.service", "cloud-config.service", "cloud-final.service")
_NETWORK_UNITS = ("systemd-networkd.service", "NetworkManager.service", "networking.service")


@check("first-boot", "The machine can be taken over at its first boot", element="bootstrap")
def first_boot(view: ImageView, expectation: Expectation) -> Outcome:
    """cloud-init starts, even where no cloud answers, something brings up the network, and the disk can be filled."""
    root = view.root
    problems = [f"{unit} does not start" for unit in _CLOUD_INIT_UNITS if not is_enabled(root, unit)]
    if not re.search(r"^policy:.*notfound=enabled", root.read_text("/etc/cloud/ds-identify.cfg") or "", re.MULTILINE):
        problems.append("cloud-init does nothing where no cloud answers (/etc/cloud/ds-identify.cfg)")
    if root.exists("/etc/cloud/cloud-init.disabled"):
        problems.append("cloud-init is disabled (/etc/cloud/cloud-init.disabled)")
    if not any(is_enabled(root, unit) for unit in _NETWORK_UNITS):
        problems.append(f"none of {', '.join(_NETWORK_UNITS)} starts: there would be no network")
    if not root.is_executable("/usr/bin/growpart"):
        problems.append("/usr/bin/growpart is missing: the root file system stays as small as the image's")
    return verdict(problems, "cloud-init, network, growpart")


@check("stack-user", "The user stack can log in, and become root without a password", element="stackuser")
def stack_user(view: ImageView, expectation: Expectation) -> Outcome:
    """stack has a home of its own and a shell; its rule in /etc/sudoers.d is one that sudo takes: root's, mode 0440.

    sudo refuses everybody when a file there can be written by others.
    """
    root = view.root
    user = read_users(root).get("stack")
    if user is None:
        return verdict(["there is no user stack"], "")
    problems = [] if root.is_executable(user.shell) else [f"its shell, {user.shell}, is missing"]
    home = root.stat(user.home)
    if home is None or not stat.S_ISDIR(home.st_mode):
        problems.append(f"{user.home} is missing")
    elif home.st_uid != user.uid:
        problems.append(f"{user.home} belongs to uid {home.st_uid}, not to stack ({user.uid})")
    return verdict([*problems, *_sudo_problems(root)], f"uid {user.uid}, {user.home}")


def _sudo_problems(root: ImageRoot) -> list[str]:
    status = root.lstat(_SUDOERS)
    if status is None or not stat.S_ISREG(status.st_mode):
        return [f"{_SUDOERS} is missing"]
    problems = []
    mode = stat.S_IMODE(status.st_mode)
    if mode != 0o440 or status.st_uid != 0:
        problems.append(f"{_SUDOERS} has mode {mode:04o} and belongs to uid {status.st_uid}; it must be 0440, root's")
    if not _SUDO_RULE.search(root.read_text(_SUDOERS) or ""):
        problems.append(f"{_SUDOERS} does not let stack do everything without a password")
    if not root.is_executable("/usr/bin/sudo"):
        problems.append("/usr/bin/sudo is missing")
    return problems


@check("local-keys", "The builder's SSH keys are the user's, and no one else's to write", element="local-config")
def local_keys(view: ImageView, expectation: Expectation) -> Outcome:
    """sshd ignores keys in files that do not belong to the user, or that others may write (StrictModes)."""
    root = view.root
    if expectation.key_user is None:
        return skipped("it is not known whom the keys are for")
    user = read_users(root).get(expectation.key_user)
    if user is None:
        return verdict([f"there is no user {expectation.key_user}"], "")
    keys = f"{user.home}/.ssh/authorized_keys"
    if root.lstat(keys) is None:
        return passed(f"none: {user.name} gets keys from the cloud")
    problems = [*_too_open(root, user.home, user, 0o022), *_too_open(root, f"{user.home}/.ssh", user, 0o077)]
    problems += _too_open(root, keys, user, 0o177)
    lines = [line for line in (root.read_text(keys) or "").splitlines() if line.strip() and line[0] != "#"]
    if not lines:
        problems.append(f"{keys} has no key")
    return verdict(problems, f"{len(lines)} for {user.name}")


def _too_open(root: ImageRoot, name: str, user: User, forbidden: int) -> list[str]:
    status = root.stat(name)
    if status is None:
        return [f"{name} is missing"]
    problems = [] if status.st_uid == user.uid else [f"{name} belongs to uid {status.st_uid}, not to {user.name}"]
    if status.st_mode & forbidden:
        problems.append(f"{name} has mode {stat.S_IMODE(status.st_mode):04o}")
    return problems


@check("cfn-tools", "Heat's tools are where templates look for them", element="heat-cfntools")
def cfn_tools(view: ImageView, expectation: Expectation) -> Outcome:
    """Each tool is in /opt/aws/bin and in /usr/local/bin, and leads to a program whose interpreter exists."""
    root = view.root
    missing, dead = [], []
    for command in (f"{place}/{tool}" for place in _CFN_PLACES for tool in _CFN_TOOLS):
        if not root.is_executable(command):
            missing.append(command)
        elif (interpreter := root.interpreter(command)) and not root.is_executable(interpreter):
            dead.append(f"{command} needs {interpreter}, which is missing")
    problems = [f"missing: {listed(missing)}"] if missing else []
    return verdict([*problems, *dead], f"{len(_CFN_TOOLS)} tools in {' and '.join(_CFN_PLACES)}")
