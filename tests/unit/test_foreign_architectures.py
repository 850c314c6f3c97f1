"""Whose programs this host runs, as binfmt_misc says, and what a plan and a build make of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from samples import HOST, plan

from diskimage_create import process, requirements
from diskimage_create.architectures import Runs, emulated
from diskimage_create.errors import HostError, InputError
from diskimage_create.host import HostFacts, how_it_runs

ARM = """\
enabled
interpreter /usr/libexec/qemu-binfmt/arm-binfmt-P
flags: PF
offset 0
magic 7f454c4601010100000000000000000002002800
mask ffffffffffffff00fffffffffffffffffeffffff
"""
ARM64 = ARM.replace("7f454c460101", "7f454c460201").replace("02002800", "0200b700")
#: An archive, which is not refused for want of a boot loader
TAR = {"profile": "base", "type": "tar"}


def handlers(directory: Path, status: str = "enabled\n", **files: str) -> Path:
    """What is read of binfmt_misc's file system."""
    (directory / "register").touch()
    for name, text in {"status": status, **files}.items():
        (directory / name).write_text(text)
    return directory


def on(arch: str = "amd64", *others: str, tools: tuple[str, ...] = ()) -> HostFacts:
    return replace(HOST, arch=arch, emulated=others, tools=frozenset(tools))


def notes(arch: str, host: HostFacts) -> list[str]:
    return [note for note in plan({**TAR, "arch": arch}, host=host).notes if f"programs of {arch}" in note]


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, ()),
        ({"qemu-arm": ARM}, ("armhf",)),
        ({"qemu-arm": ARM, "qemu-aarch64": ARM64}, ("arm64", "armhf")),
        ({"by-any-name": ARM}, ("armhf",)),
        ({"no-mask": "\n".join(line for line in ARM.splitlines() if "mask" not in line)}, ("armhf",)),
        ({"big-endian": ARM.replace("7f454c460101", "7f454c460102")}, ()),
        ({"disabled": ARM.replace("enabled", "disabled")}, ()),
        ({"gone-in-a-chroot": ARM.replace("flags: PF", "flags: P")}, ()),
        ({"of-names": "enabled\ninterpreter /usr/bin/jexec\nflags: F\nextension .jar\n"}, ()),
        ({"elsewhere": ARM.replace("offset 0", "offset 64")}, ()),
        ({"empty": ""}, ()),
    ],
    ids=lambda value: "+".join(value) or "none",
)
def test_what_the_handlers_emulate(files: dict[str, str], found: tuple[str, ...], tmp_path: Path) -> None:
    assert emulated(handlers(tmp_path, **files)) == found


def test_nothing_is_emulated_where_binfmt_misc_is_off_or_not_mounted(tmp_path: Path) -> None:
    assert emulated(tmp_path) == ()
    assert emulated(tmp_path / "missing") == ()
    assert emulated(handlers(tmp_path, status="disabled\n", **{"qemu-arm": ARM})) == ()


@pytest.mark.parametrize(
    ("arch", "host", "runs"),
    [
        ("amd64", on(), Runs.NATIVE),
        ("x86_64", on(), Runs.NATIVE),
        ("i386", on(), Runs.NATIVE),
        ("amd64", on("i386"), None),
        ("armhf", on(), None),
        ("armhf", on("amd64", "armhf"), Runs.EMULATED),
        ("aarch64", on("amd64", "arm64"), Runs.EMULATED),
        ("ppc64el", on("ppc64le"), Runs.NATIVE),
        ("armhf", on("arm64"), None),
        ("i386", on("amd64", "i386"), Runs.NATIVE),
        ("riscv64", on(), None),
    ],
)
def test_how_programs_run(arch: str, host: HostFacts, runs: Runs | None) -> None:
    assert how_it_runs(arch, host) is runs


def test_what_a_host_offers_begins_with_its_own() -> None:
    offered = on("amd64", "arm64", "armhf").architectures
    assert list(offered) == ["amd64", "i386", "arm64", "armhf"]
    assert [str(runs) for runs in offered.values()] == ["natively", "natively", "emulated", "emulated"]


@pytest.mark.parametrize("arch", ["armhf", "arm64"])
def test_a_plan_says_what_is_missing_and_which_package_has_it(arch: str) -> None:
    (note,) = notes(arch, on())
    assert note.startswith("cannot be built here: ")
    for part in ("qemu-user-static", "binfmt-support", "mount -t binfmt_misc", "update-binfmts --enable qemu-a"):
        assert part in note
    (note,) = notes(arch, on("amd64", arch))
    assert note.endswith("the build takes longer")
    assert notes("amd64", on()) == notes("i386", on()) == []


def test_arch_test_is_asked_for_where_mmdebstrap_is_used() -> None:
    def asked(host: HostFacts, **said: str) -> bool:
        return any("arch-test" in note for note in plan({**TAR, "arch": "arm64", **said}, host=host).notes)

    assert asked(on("amd64", "arm64", tools=("mmdebstrap",)))
    assert not asked(on("amd64", "arm64", tools=("mmdebstrap", "arch-test")))
    assert not asked(on("amd64", "arm64"))
    assert not asked(on("amd64", "arm64", tools=("mmdebstrap",)), os="rocky")
    assert not asked(on("arm64", tools=("mmdebstrap",)))


def test_the_image_is_the_same_wherever_it_is_built() -> None:
    images = [plan({**TAR, "arch": "armhf"}, host=host) for host in (on(), on("amd64", "armhf"), on("armhf"))]
    assert len({image.fingerprint for image in images}) == 1


def test_a_build_is_refused_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "is_root", lambda: True)
    made = plan({**TAR, "arch": "armhf"})

    def refusal(host: HostFacts) -> str:
        # Something is always missing: what is looked for is what is said of programs.
        monkeypatch.setattr(requirements, "_space", lambda *_: ["no space"])
        with pytest.raises(HostError) as refused:
            requirements.require(made, host, tmp_path)
        assert refused.value.exit_code == 3
        return str(refused.value)

    assert "programs of armhf do not run on this amd64 host" in refusal(on())
    assert "programs of armhf" not in refusal(on("amd64", "armhf"))


def test_archives_of_armhf_go_without_a_boot_loader() -> None:
    made = plan({**TAR, "type": "tar,squashfs", "arch": "armhf"})
    assert not {"vm", "bootloader", "block-device-mbr"} & {element.name for element in made.resolved}
    assert any(note.startswith("vm is left out") for note in made.notes)
    assert made.environment["DIB_DEBIAN_KERNEL"].value == "linux-image-armmp"


@pytest.mark.parametrize("types", ["qcow2", "tar,raw"])
def test_a_disk_of_armhf_is_refused(types: str) -> None:
    with pytest.raises(InputError) as refused:
        plan({**TAR, "type": types, "arch": "armhf"})
    (problem,) = refused.value.problems
    assert problem.where == "element bootloader"
    assert "armhf" in problem.message
    assert "--type tar" in (problem.hint or "")


@pytest.mark.parametrize("name", ["arm64", "aarch64"])
def test_disks_of_arm64_boot_with_uefi(name: str) -> None:
    made = plan({"profile": "base", "arch": name})
    assert made.command[1:3] == ("-a", "arm64")
    assert {"vm", "bootloader", "block-device-efi"} <= {element.name for element in made.resolved}
    assert "type: vfat" in made.environment["DIB_BLOCK_DEVICE_CONFIG"].value
    assert made.environment["DIB_DEBIAN_KERNEL"].value == "linux-image-cloud-arm64"
