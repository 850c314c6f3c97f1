"""Checks of Heat's machines, on a small tree that is good, and on all the ways to break it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from diskimage_create.model import Expectation, Finding, Status
from diskimage_create.validate import CHECKS
from diskimage_create.validate.registry import run_check
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.view import ImageView

TOOLS = ("cfn-get-metadata", "cfn-hup", "cfn-init", "cfn-push-stats", "cfn-signal")
UNITS = ("cloud-init-local", "cloud-config", "cloud-final", "systemd-networkd")
EXPECTED = Expectation(
    elements=frozenset({"bootstrap", "local-config", "stackuser", "heat-cfntools"}), key_user="stack"
)


class Tree(ImageRoot):
    """A tree whose files belong to root, but those below stack's home: the test's user may own all of them."""

    def lstat(self, name: str) -> os.stat_result | None:
        return self._owned(name, super().lstat(name))

    def stat(self, name: str) -> os.stat_result | None:
        return self._owned(name, super().stat(name))

    def _owned(self, name: str, status: os.stat_result | None) -> os.stat_result | None:
        if status is None:
            return None
        owner = 1000 if name.startswith("/home/stack") and not name.endswith(".roots") else 0
        return os.stat_result((*status[:4], owner, owner, *status[6:]))


def write(path: Path, text: str = "x", mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    write(root / "etc/passwd", "root:x:0:0:root:/root:/bin/bash\nstack:x:1000:1000::/home/stack:/bin/bash\n")
    write(root / "etc/sudoers.d/stack", "stack ALL=(ALL:ALL) NOPASSWD: ALL\n", 0o440)
    for program in ("bin/bash", "usr/bin/sudo", "usr/bin/growpart", "opt/venv/bin/python"):
        write(root / program, mode=0o755)
    for tool in TOOLS:
        write(root / f"opt/venv/bin/{tool}", "#!/opt/venv/bin/python\n", 0o755)
        for place in ("opt/aws/bin", "usr/local/bin"):
            (root / place).mkdir(parents=True, exist_ok=True)
            (root / place / tool).symlink_to(f"/opt/venv/bin/{tool}")
    write(root / "home/stack/.ssh/authorized_keys", "ssh-ed25519 AAAA me\n", 0o600)
    (root / "home/stack/.ssh").chmod(0o700)
    for unit in UNITS:
        write(root / f"usr/lib/systemd/system/{unit}.service")
        wants = root / "etc/systemd/system/multi-user.target.wants"
        wants.mkdir(parents=True, exist_ok=True)
        (wants / f"{unit}.service").symlink_to(f"/usr/lib/systemd/system/{unit}.service")
    write(root / "etc/cloud/ds-identify.cfg", "# why\npolicy: search,found=all,maybe=all,notfound=enabled\n")
    return root


def run(name: str, tree: Path, expected: Expectation = EXPECTED) -> Finding:
    (check,) = (check for check in CHECKS if check.id == name)
    view = ImageView(path=tree, kind="tar", workspace=tree.parent)
    view._root = Tree(tree)
    return run_check(check, view, expected, deep=True)[0]


@pytest.mark.parametrize("name", ["first-boot", "stack-user", "local-keys", "cfn-tools", "authorized-keys"])
def test_a_good_tree_passes(tree: Path, name: str) -> None:
    finding = run(name, tree)
    assert finding.status is Status.PASS, finding.message


def edit(name: str, old: str, new: str) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        text = (root / name).read_text()
        assert old in text
        (root / name).chmod(0o644)
        (root / name).write_text(text.replace(old, new))
        (root / name).chmod(0o440 if "sudoers" in name else 0o600)

    return change


def remove(name: str) -> Callable[[Path], object]:
    return lambda root: shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink()


def chmod(name: str, mode: int) -> Callable[[Path], object]:
    return lambda root: (root / name).chmod(mode)


BROKEN = [
    ("stack-user", edit("etc/passwd", "stack:x", "other:x"), "no user stack"),
    ("stack-user", edit("etc/passwd", "stack:/bin/bash", "stack:/bin/zsh"), "/bin/zsh"),
    ("stack-user", edit("etc/passwd", "stack:x:1000", "stack:x:1001"), "uid 1000"),
    ("stack-user", remove("home/stack"), "/home/stack is missing"),
    ("stack-user", remove("etc/sudoers.d/stack"), "/etc/sudoers.d/stack is missing"),
    ("stack-user", chmod("etc/sudoers.d/stack", 0o644), "0644"),
    ("stack-user", edit("etc/sudoers.d/stack", "NOPASSWD: ", ""), "without a password"),
    ("stack-user", edit("etc/sudoers.d/stack", "stack ALL", "# stack ALL"), "without a password"),
    ("stack-user", remove("usr/bin/sudo"), "/usr/bin/sudo"),
    ("local-keys", chmod("home/stack/.ssh", 0o755), "0755"),
    ("local-keys", chmod("home/stack", 0o777), "0777"),
    ("local-keys", chmod("home/stack/.ssh/authorized_keys", 0o644), "0644"),
    ("local-keys", edit("home/stack/.ssh/authorized_keys", "ssh-", "# ssh-"), "has no key"),
    ("local-keys", edit("etc/passwd", "stack:x:1000", "stack:x:1001"), "not to stack"),
    ("local-keys", edit("etc/passwd", "stack:x", "other:x"), "no user stack"),
    ("cfn-tools", remove("opt/aws/bin/cfn-init"), "/opt/aws/bin/cfn-init"),
    ("cfn-tools", remove("opt/venv/bin/cfn-hup"), "/usr/local/bin/cfn-hup"),
    ("cfn-tools", remove("opt/venv/bin/python"), "needs /opt/venv/bin/python"),
    ("first-boot", remove("usr/bin/growpart"), "growpart"),
    ("first-boot", remove("usr/lib/systemd/system/cloud-final.service"), "cloud-final"),
    ("first-boot", remove("etc/systemd/system/multi-user.target.wants/systemd-networkd.service"), "network"),
    ("first-boot", remove("etc/cloud/ds-identify.cfg"), "ds-identify"),
    ("first-boot", lambda root: write(root / "etc/cloud/cloud-init.disabled"), "disabled"),
    ("authorized-keys", lambda root: write(root / "root/.ssh/authorized_keys", "ssh-rsa A\n"), "/root/.ssh"),
]


@pytest.mark.parametrize(("name", "damage", "says"), BROKEN)
def test_damage_is_seen(tree: Path, name: str, damage: Callable[[Path], object], says: str) -> None:
    damage(tree)
    finding = run(name, tree)
    assert finding.status is Status.FAIL
    assert says in finding.message


def test_without_keys_the_cloud_brings_them(tree: Path) -> None:
    shutil.rmtree(tree / "home/stack/.ssh")
    finding = run("local-keys", tree)
    assert (finding.status, finding.message) == (Status.PASS, "none: stack gets keys from the cloud")


def test_keys_of_an_image_without_local_config_are_found(tree: Path) -> None:
    finding = run("authorized-keys", tree, Expectation())
    assert finding.status is Status.FAIL
    assert "/home/stack/.ssh/authorized_keys" in finding.message


@pytest.mark.parametrize(
    ("field", "asked", "status"),
    [
        ("!", (), Status.PASS),
        ("$6$x", (), Status.FAIL),
        ("$6$x", ("stack",), Status.PASS),
        ("!", ("stack",), Status.FAIL),
        ("", ("stack",), Status.FAIL),
    ],
)
def test_a_password_is_there_when_asked_for_and_only_then(
    tree: Path, field: str, asked: tuple[str, ...], status: Status
) -> None:
    write(tree / "etc/shadow", f"root:!:1::::::\nstack:{field}:1::::::\n")
    assert run("user-passwords", tree, Expectation(password_users=asked)).status is status
