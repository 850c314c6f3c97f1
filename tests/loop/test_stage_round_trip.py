"""Stages as the hooks of the element ``stages`` save and resume them, and a store whose disk runs full."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from diskimage_create import mounts
from diskimage_create.elements import OURS
from diskimage_create.model import IMAGE, STAGES, STEPS, Inputs
from diskimage_create.store import Store, link
from diskimage_create.store.reuse import Needs
from diskimage_create.store.stages import Saver

pytestmark = pytest.mark.loop

ELEMENT = OURS / "stages"
NOW = datetime.now(UTC)
LENT = (
    "etc/apt/build-host-ca-bundle.crt",
    "etc/apt/apt.conf.d/90build-host-ca-bundle",
    "etc/apt/apt.conf.d/60img-build-proxy",
)


@pytest.fixture(autouse=True)
def tools() -> None:
    missing = [tool for tool in ("tar", "zstd") if not shutil.which(tool)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@pytest.fixture
def mount() -> Iterator[Callable[..., None]]:
    """A function that mounts something until the test ends."""
    with ExitStack() as stack:
        yield lambda source, target, **how: stack.enter_context(mounts.mounted(source, target, **how))


class Build:
    """The directories of a build that stages are saved from, or that is resumed."""

    def __init__(self, path: Path) -> None:
        self.root, self.hooks, self.stages = path / "root", path / "hooks", path / "stages"
        for directory in (self.root, self.hooks, self.stages):
            directory.mkdir(parents=True)
        # diskimage-builder has made it.
        (self.root / "tmp").mkdir(mode=0o1777)
        shutil.copytree(ELEMENT / "stages", self.hooks / "stages")
        (path / "bin").mkdir()
        (path / "bin/sudo").write_text('#!/bin/sh\nexec "$@"\n')
        (path / "bin/sudo").chmod(0o755)
        self.environment = {
            "PATH": f"{path}/bin:{os.environ['PATH']}:/usr/sbin:/sbin",
            "TARGET_ROOT": str(self.root),
            "TMP_HOOKS_PATH": str(self.hooks),
        }

    def save(self, stage: str, *elements: str) -> str:
        """Save a stage as its hook does; returns what that prints."""
        self.want(stage, *elements)
        return self.save_wanted(stage)

    def want(self, stage: str, *elements: str) -> None:
        """Ask for a stage.

        :param elements: what the elements have brought into the hooks directory
        """
        names = ("stages/save", *elements)
        sums = (f"{hashlib.sha256((self.hooks / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
        (self.stages / f"{stage}.elements").write_text("".join(f"./{name}\n" for name in names))
        (self.stages / f"{stage}.sha256").write_text("".join(sums))

    def save_wanted(self, stage: str) -> str:
        """Save a stage that was asked for."""
        return self.run(self.hooks / "stages/save", stage, self.root, self.hooks, self.stages)

    def run(self, *argv: str | Path, **more: str) -> str:
        environment = {**self.environment, **more}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def resume(self, stored: Path, stage: str) -> None:
        variables = {"DISKIMAGE_CREATE_RESUME": str(stored), "DISKIMAGE_CREATE_RESUME_STAGE": stage}
        self.run(ELEMENT / "root.d/00-resume-stage", **variables)


@pytest.fixture
def first(tmp_path: Path) -> Build:
    return Build(tmp_path / "first")


@pytest.fixture
def second(tmp_path: Path) -> Build:
    return Build(tmp_path / "second")


def needs(local: Inputs) -> Needs:
    return Needs("test", local, {}, STEPS, datetime.now(UTC), timedelta())


def stored(build: Build, stage: str, cache: Path) -> Path:
    """Take what a build saved into a store, as the build does, and find it there."""
    store = Store(cache)
    store.create()
    assert taken(build, stage, store) == []
    (entry,) = store.entries()
    return entry.path


def taken(build: Build, stage: str, store: Store) -> list[str]:
    """Take what a build saved into a store; returns what is said of it."""
    local = {step: {"option:x": "1"} for step in STEPS}
    pipes = build.stages.parent / f"pipes of {stage}"
    saver = Saver(store, replace(needs(local), reusable=(stage,)), pipes, lambda: True)
    saver.want(None, [])
    for part in ("root", "hooks"):
        with suppress(BrokenPipeError), (pipes / f"{stage}.{part}.tar").open("wb") as pipe:
            pipe.write((build.stages / f"{stage}.{part}.tar").read_bytes())
    saver.line(f"diskimage-create: stage {stage} is saved")
    saver.finish()
    return saver.problems


def write(path: Path, content: bytes = b"x", mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return path


#: acl(5) as the kernel keeps it: user::rw-, user:1:r--, group::r--, mask::r--, other::---
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, permissions, who)
    for tag, permissions, who in (
        (1, 6, 2**32 - 1),
        (2, 4, 1),
        (4, 4, 2**32 - 1),
        (16, 4, 2**32 - 1),
        (32, 0, 2**32 - 1),
    )
)
#: capabilities(7): cap_net_raw=ep
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


def populate(root: Path) -> None:
    """A small system with everything that is easy to lose."""
    write(root / "usr/bin/ping", b"\x7fELF", 0o755)
    os.setxattr(root / "usr/bin/ping", "security.capability", CAPABILITY)
    write(root / "usr/bin/su", b"\x7fELF", 0o4755)
    os.link(root / "usr/bin/su", root / "usr/bin/su-too")
    secret = write(root / "etc/shadow", b"root:!:", 0o640)
    os.chown(secret, 0, 42)
    home = root / "home/octavia"
    home.mkdir(parents=True)
    os.chown(home, 100000, 100001)
    home.chmod(0o2750)
    os.setxattr(write(root / "etc/acl", mode=0o640), "system.posix_acl_access", ACL)
    os.setxattr(write(root / "etc/noted"), "user.note", b"\0\xff")
    os.setxattr(root / "etc", "trusted.note", b"1")
    (root / "bin").symlink_to("usr/bin")
    (root / "etc/nowhere").symlink_to("/does/not/exist")
    os.lchown(root / "etc/nowhere", 7, 8)
    (root / "dev").mkdir()
    os.mknod(root / "dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(root / "dev/vda", 0o660 | stat.S_IFBLK, os.makedev(254, 0))
    os.mkfifo(root / "run-fifo", 0o600)
    (root / "var/empty").mkdir(parents=True, mode=0o555)
    write(root / "var" / os.fsdecode(b"odd \xff\n*?[x]"))
    write(root / "var" / ("l" * 255))
    write(root / "tmp/stages-of-mine/x")
    write(root / "tmp/in_target.d-not")
    with (root / "var/sparse").open("wb") as file:
        file.truncate(8 * 2**20)
    os.utime(root / "etc/noted", ns=(10**18, 10**18 + 123456789))
    os.utime(root / "var/empty", (10**9, 10**9))


def tree(root: Path) -> dict[str, Any]:
    """Name -> everything that a file system knows of an entry, but when it was read."""
    links: dict[tuple[int, int], list[str]] = {}
    found: dict[str, dict[str, Any]] = {}
    for path in sorted([root, *root.rglob("*")]):
        name, status = str(path.relative_to(root)), path.lstat()
        found[name] = {
            "mode": status.st_mode,
            "owner": (status.st_uid, status.st_gid),
            "time": status.st_mtime_ns,
            "device": status.st_rdev,
            "target": os.readlink(path) if path.is_symlink() else "",
            "content": path.read_bytes() if stat.S_ISREG(status.st_mode) else b"",
            "attributes": {
                key: os.getxattr(path, key, follow_symlinks=False) for key in os.listxattr(path, follow_symlinks=False)
            },
        }
        if not path.is_dir():
            links.setdefault((status.st_dev, status.st_ino), []).append(name)
    for names in links.values():
        for name in names:
            found[name]["names"] = names
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_a_root_file_system_comes_back_as_it_was(stage: str, first: Build, second: Build, tmp_path: Path) -> None:
    populate(first.root)
    before = tree(first.root)
    assert before["usr/bin/ping"]["attributes"]["security.capability"] == CAPABILITY
    assert first.save(stage) == f"diskimage-create: stage {stage} is saved\n"
    assert tree(first.root) == before
    second.resume(stored(first, stage, tmp_path / "cache"), stage)
    now = tree(second.root)
    assert now.keys() == before.keys()
    for name in before:
        assert now[name] == before[name], name
    assert (second.root / "var/sparse").stat().st_size == 8 * 2**20


def test_what_is_mounted_stays_out_and_what_it_hides_comes_along(
    first: Build, second: Build, mount: Callable[..., None], tmp_path: Path
) -> None:
    populate(first.root)
    for name in ("proc", "tmp/in_target.d", "tmp/stages"):
        (first.root / name).mkdir(mode=0o555)
    before = tree(first.root)
    for name in ("proc", "dev", "var"):
        mount("tmpfs", first.root / name, fstype="tmpfs")
        write(first.root / name / "of-the-host/canary")
    mount(first.hooks, first.root / "tmp/in_target.d", options=("bind",))
    mount(first.stages, first.root / "tmp/stages", options=("bind",))
    first.save("install")
    second.resume(stored(first, "install", tmp_path / "cache"), "install")
    now = tree(second.root)
    # These two are diskimage-builder's and ours, which make them anew; a directory that was there would stop the first.
    expected = {name: entry for name, entry in before.items() if name not in ("tmp/in_target.d", "tmp/stages")}
    assert now == expected


def test_what_the_host_lends_stays_out(first: Build, second: Build, tmp_path: Path) -> None:
    for name in (*LENT, "etc/apt/apt.conf.d/90build-host-ca-bundle.mine", "opt/etc/apt/build-host-ca-bundle.crt"):
        write(first.root / name, b"canary" if name in LENT else b"kept")
    write(first.hooks / "lent/token", b"canary")
    write(first.hooks / "lent-not/x", b"kept")
    first.save("root")
    path = stored(first, "root", tmp_path / "cache")
    second.resume(path, "root")
    contents = [path.read_bytes() for path in tmp_path.glob("second/*/**/*") if path.is_file()]
    assert b"canary" not in contents
    assert contents.count(b"kept") == 3


HOOKS: Mapping[str, tuple[str, ...]] = {
    "root": ("root.d",),
    "pre-install": ("root.d", "extra-data.d", "pre-install.d"),
    "install": ("root.d", "extra-data.d", "pre-install.d", "install.d"),
}
PHASES = (*HOOKS["install"], "post-install.d", "finalise.d", "cleanup.d")


@pytest.mark.parametrize("stage", STAGES)
def test_hooks_that_were_gained_come_back_unless_they_have_run(
    stage: str, first: Build, second: Build, tmp_path: Path
) -> None:
    for phase in PHASES:
        write(first.hooks / phase / "10-of-an-element", b"old")
        write(first.hooks / phase / "50-[gained]", b"gained", 0o755)
        write(first.hooks / phase / "data/x", b"gained")
        write(second.hooks / phase / "10-of-an-element", b"newer")
        (first.hooks / phase / "60-link").symlink_to("50-[gained]")
    write(first.hooks / "bin/gained", b"gained", 0o750)
    write(first.hooks / "bin/of an element", b"old")
    brought = [f"{phase}/10-of-an-element" for phase in PHASES]
    first.save(stage, *brought, "bin/of an element")
    second.resume(stored(first, stage, tmp_path / "cache"), stage)
    there = {str(path.relative_to(second.hooks)) for path in second.hooks.rglob("*") if not path.is_dir()}
    expected = {"bin/gained", "stages/save", *brought}
    for phase in PHASES:
        expected.add(f"{phase}/data/x")  # later hooks may look into it
        if phase not in HOOKS[stage]:
            expected |= {f"{phase}/50-[gained]", f"{phase}/60-link"}
    assert there == expected
    assert all((second.hooks / name).read_bytes() == b"newer" for name in brought)
    assert stat.S_IMODE((second.hooks / "bin/gained").stat().st_mode) == 0o750


NAMES = ("install.d/10-of-an-element", "static/etc/odd *? [x]", "pre-install.d/10-x")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b"changed"),
        lambda path: path.write_bytes(path.read_bytes() + b"\n"),
        lambda path: path.unlink(),
        lambda path: path.unlink() or path.mkdir(),
        lambda path: path.unlink() or path.symlink_to("/etc/hostname"),
    ],
    ids=["changed", "longer", "removed", "a directory", "a link"],
)
def test_a_hook_that_changes_a_file_of_an_element_costs_the_stage(
    spoil: Callable[[Path], object], name: str, stage: str, first: Build
) -> None:
    """A resumed build has the file as the element has it: what the hook did would be lost."""
    for each in NAMES:
        write(first.hooks / each, each.encode())
    first.want(stage, *NAMES)
    spoil(first.hooks / name)
    *named, last = first.save_wanted(stage).splitlines()
    why = "a hook has changed or removed a file of an element in the hooks directory"
    assert last == f"stage {stage} is not kept: {why}"
    assert name in "".join(named)  # as sha256sum says it
    assert list(first.stages.glob("*.tar")) == []


def test_files_of_elements_that_are_unchanged_cost_nothing(first: Build) -> None:
    for each in NAMES:
        write(first.hooks / each, each.encode())
    first.want("root", *NAMES)
    for each in NAMES:
        write(first.hooks / each, each.encode(), 0o755)  # written anew
    write(first.hooks / "install.d/20-gained")
    assert first.save_wanted("root") == "diskimage-create: stage root is saved\n"


# diskimage-builder puts resolv.conf aside after root.d, and puts a copy of the host's in its place
# (lib/common-functions, create_base); finalise_base undoes that.
def create_base(root: Path) -> None:
    resolv = root / "etc/resolv.conf"
    if resolv.is_symlink() or resolv.is_file():
        resolv.rename(f"{resolv}.ORIG")
    write(resolv, b"nameserver of the host", 0o777)


def finalise_base(root: Path) -> None:
    resolv, original = root / "etc/resolv.conf", root / "etc/resolv.conf.ORIG"
    if resolv.is_symlink():
        original.unlink(missing_ok=True)
        return
    resolv.unlink()
    if original.is_symlink() or original.is_file():
        original.rename(resolv)


def a_link_instead(root: Path) -> None:
    (root / "etc/resolv.conf").unlink()
    (root / "etc/resolv.conf").symlink_to("../run/systemd/resolve/stub-resolv.conf")


def another_original(root: Path) -> None:
    """The file is for elements to write (lib/img-functions, finalise_base)."""
    (root / "etc/resolv.conf.ORIG").unlink(missing_ok=True)
    write(root / "etc/resolv.conf.ORIG", b"an element's")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("bootstrapped", ["nothing", "file", "link"])
@pytest.mark.parametrize(
    "hook",
    [lambda root: None, a_link_instead, another_original],
    ids=["untouched", "replaced by a link", "the original changed"],
)
def test_the_name_servers_of_the_image_are_those_of_a_build_from_the_beginning(
    stage: str, bootstrapped: str, hook: Callable[[Path], object], first: Build, second: Build, tmp_path: Path
) -> None:
    (first.root / "etc").mkdir()
    if bootstrapped == "file":
        write(first.root / "etc/resolv.conf", b"of the image", 0o600)
    elif bootstrapped == "link":
        (first.root / "etc/resolv.conf").symlink_to("../run/resolv.conf")
    if stage == "root":
        first.save(stage)
    create_base(first.root)
    hook(first.root)
    if stage != "root":
        first.save(stage)
    second.resume(stored(first, stage, tmp_path / "cache"), stage)
    create_base(second.root)
    if stage == "root":
        hook(second.root)
    for root in (first.root, second.root):
        finalise_base(root)

    def names(root: Path) -> dict[str, Any]:
        return {
            name: (entry["mode"], entry["target"], entry["content"])
            for name, entry in tree(root).items()
            if "resolv" in name
        }

    assert names(second.root) == names(first.root)


def test_the_hooks_do_nothing_unless_asked(first: Build, tmp_path: Path) -> None:
    environment = {"TMP_MOUNT_PATH": str(first.root)}
    for hook in sorted(ELEMENT.glob("*.d/*")):
        assert first.run(hook, **environment) == ""
    assert first.run(first.hooks / "stages/save", "root", first.root, first.hooks, first.stages) == ""  # not wanted
    assert list(first.stages.iterdir()) == []
    assert [path.name for path in first.root.iterdir()] == ["tmp"]


def test_the_hook_of_the_host_saves(first: Build) -> None:
    first.want("root")
    out = first.run(ELEMENT / "root.d/9999-save-stage", DISKIMAGE_CREATE_STAGES=str(first.stages))
    assert out == "diskimage-create: stage root is saved\n"
    assert {path.name for path in first.stages.glob("*.tar")} == {"root.root.tar", "root.hooks.tar"}
    assert not mounts.is_mount_point(first.stages / "view")


def test_stages_are_offered_to_the_hooks_in_the_target(first: Build, mount: Callable[..., None]) -> None:
    write(first.stages / "install.elements")
    variables = {"TMP_MOUNT_PATH": str(first.root), "DISKIMAGE_CREATE_STAGES": str(first.stages)}
    first.run(ELEMENT / "extra-data.d/00-offer-stages", **variables)
    try:
        assert (first.root / "tmp/stages/install.elements").is_file()
    finally:
        first.run("umount", first.root / "tmp/stages")


def test_a_stage_that_does_not_fit_on_the_disk_is_not_kept_and_the_build_goes_on(
    first: Build, mount: Callable[..., None]
) -> None:
    mount("tmpfs", first.stages, fstype="tmpfs", options=("size=256k",))
    write(first.root / "large", os.urandom(2**20))
    assert first.save("root") == "stage root is not kept: tar failed\n"
    assert not mounts.is_mount_point(first.stages / "view")


def test_an_archive_that_is_cut_off_fails_the_build(first: Build, second: Build, tmp_path: Path) -> None:
    """Not that it should come to that: every file is compared with its checksum before."""
    populate(first.root)
    first.save("root")
    path = stored(first, "root", tmp_path / "cache") / "root.tar.zst"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(AssertionError):
        second.resume(path.parent, "root")


# --- a store on a disk that runs full


@pytest.fixture(params=["tmpfs", "ext4"])
def small(request: pytest.FixtureRequest, mount: Callable[..., None], tmp_path: Path) -> Path:
    """A file system with room for about 4 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    if request.param == "tmpfs":
        mount("tmpfs", place, fstype="tmpfs", options=("size=4m",))
    else:
        with (tmp_path / "small.raw").open("wb") as file:
            file.truncate(6 * 2**20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m0", tmp_path / "small.raw"], check=True)
        mount(tmp_path / "small.raw", place, fstype="ext4", options=("loop",))
    return place


def test_a_full_disk_costs_the_entry_and_leaves_no_half_one(small: Path, tmp_path: Path) -> None:
    store = Store(small)
    store.create()
    local = {step: {"option:x": "1"} for step in STEPS}
    kept = store.add("root", "test", local, {}, NOW, lambda made: write(made / "x", os.urandom(10**5)))
    source = write(tmp_path / "image", os.urandom(8 * 2**20))
    free = shutil.disk_usage(small).free
    for step in ("root", IMAGE):
        with pytest.raises(OSError, match="No space") as caught:
            store.add(step, "test", local, {}, NOW, lambda made: link(source, made / "qcow2"))
        assert caught.value.errno == errno.ENOSPC
    assert {path.name for path in store.path.iterdir()} == {"locks", "key", "CACHEDIR.TAG", kept.path.name}
    assert shutil.disk_usage(small).free == free
    with store.using(kept) as intact:
        assert intact


def test_a_disk_without_room_for_the_manifest_keeps_what_is_there(small: Path) -> None:
    store = Store(small)
    store.create()
    local = {step: {"option:x": "1" * 10**5} for step in STEPS}
    kept = store.add("root", "test", local, {}, NOW, lambda made: write(made / "x"))

    def fill(directory: Path) -> None:
        write(directory / "x")
        with suppress(OSError), (directory / "all-there-is").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    with pytest.raises(OSError, match="No space"):
        store.add("root", "test", local, {}, NOW, fill)
    assert [entry.path for entry in store.entries()] == [kept.path]
    with store.using(kept) as intact:
        assert intact


def test_compressing_onto_a_full_disk_says_what_is_not_kept(small: Path, first: Build) -> None:
    store = Store(small)
    store.create()
    write(first.root / "large", os.urandom(8 * 2**20))
    first.save("root")
    (problem,) = taken(first, "root", store)
    assert problem.startswith("the stage after root.d is not kept: ")
    assert "No space left" in problem
    assert store.entries() == []
    assert not list(store.path.glob("tmp-*"))
