"""Inputs go to the step that can feel them first; a change reaches that step and the later ones, and no earlier one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import plan, read

from diskimage_create import content, elements
from diskimage_create import plan as plans
from diskimage_create.cli.plan import _as_text
from diskimage_create.errors import InputError
from diskimage_create.inputs import Change, changes, identities, keyed, local_inputs, merged, step_of
from diskimage_create.model import (
    DISK_VARIABLES,
    IMAGE,
    STEPS,
    WATCHED,
    ElementFile,
    ImageSpec,
    Inputs,
    ResolvedElement,
    Setting,
    Source,
)
from diskimage_create.settings import setting
from diskimage_create.store import Store, reuse

DEBIAN = {"os": "debian", "output": "/tmp/amphora"}
KEY = b"k" * 32


def steps_from(step: str) -> set[str]:
    return set(STEPS[STEPS.index(step) :])


def differing(old: Inputs, new: Inputs) -> set[str]:
    """The steps whose identity is another one."""
    before, now = identities(old), identities(new)
    return {step for step in STEPS if before[step] != now[step]}


# --- which step


KINDS = {
    "root.d/10-debian": "root",
    "environment.d/10-x": "root",
    "bin/helper": "root",
    "something-new/x": "root",
    "extra-data.d/50-x": "pre-install",
    "pre-install.d/50-x": "pre-install",
    "package-installs.yaml": "pre-install",
    "package-installs.json": "pre-install",
    "pkg-map": "pre-install",
    "svc-map": "pre-install",
    "modprobe.d": "pre-install",
    "source-repository-amphora-agent": "pre-install",
    "install.d/50-x": "install",
    "install.d/75-type/x": "install",
    "install.d": "install",
    "static/etc/x": "install",
    "init-scripts/systemd/x.service": "install",
    "post-install.d/50-x": IMAGE,
    "post-root.d/50-x": IMAGE,
    "block-device.d/50-x": IMAGE,
    "block-device-default.yaml": IMAGE,
    "pre-finalise.d/50-x": IMAGE,
    "finalise.d/50-x": IMAGE,
    "cleanup.d/50-x": IMAGE,
    "README.rst": IMAGE,
    ".nostage": IMAGE,
    "element-deps": IMAGE,
}


@pytest.mark.parametrize("path", KINDS)
def test_the_step_of_every_kind_of_file(path: str) -> None:
    assert step_of(path) == KINDS[path]


# --- elements


@pytest.fixture(scope="module")
def spec() -> ImageSpec:
    return read(DEBIAN)


@pytest.fixture(scope="module")
def copied(spec: ImageSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the elements of Debian's amphora, to be changed and set right again."""
    place = tmp_path_factory.mktemp("elements")
    for element in elements.resolve(spec.elements, [elements.OURS, elements.builtin()], spec.arch):
        shutil.copytree(element.path, place / element.name, symlinks=True)
    return place


def resolve(spec: ImageSpec, *places: Path) -> tuple[ResolvedElement, ...]:
    return elements.resolve(spec.elements, places, spec.arch)


def of(spec: ImageSpec, resolved: tuple[ResolvedElement, ...]) -> Inputs:
    return local_inputs(spec, resolved, spec.environment, {}, KEY)


def mode_changed(path: Path) -> Callable[[], object]:
    old = path.stat().st_mode
    path.chmod(old ^ 0o010)
    return lambda: path.chmod(old)


def content_changed(path: Path) -> Callable[[], object]:
    old = path.read_bytes()
    path.write_bytes(old + b"\n# changed\n")
    return lambda: path.write_bytes(old)


def added_beside(path: Path) -> Callable[[], object]:
    new = path.with_name("zz-one-more")
    new.touch()
    return new.unlink


def removed(path: Path) -> Callable[[], object]:
    old, mode = path.read_bytes(), path.stat().st_mode

    def undo() -> None:
        path.write_bytes(old)
        path.chmod(mode)

    path.unlink()
    return undo


#: Inputs of the first step whose files mention them
MOVES = ("option:elements", "option:size_gib")
#: They make it another closure, or are no input
_LEFT_ALONE = frozenset({"element-deps", "element-provides", "checks", "__pycache__"})


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_change_of_any_file_reaches_its_step_and_the_later_ones(
    data: st.DataObject, copied: Path, spec: ImageSpec
) -> None:
    before = of(spec, resolve(spec, copied))
    files = sorted(path for path in copied.rglob("*") if path.is_file() and not path.is_symlink())
    path = data.draw(st.sampled_from([path for path in files if _LEFT_ALONE.isdisjoint(path.parts)]))
    change = data.draw(st.sampled_from([content_changed, mode_changed, added_beside, removed]))
    element = path.relative_to(copied).parts[0]
    undo = change(path)
    try:
        now = of(spec, resolve(spec, copied))
    finally:
        undo()
    named = changes(before, now)
    inside = str(path.relative_to(copied / element))
    step = step_of(str(Path(inside).with_name("zz-one-more")) if change is added_beside else inside)
    assert differing(before, now) == steps_from(step)
    # What some files alone mention belongs to the first step with one that does: test_what_only_some_files_mention.
    own = [change for change in named if change.name not in MOVES]
    assert {change.step for change in own} == {step}
    assert all(change.name.startswith(f"element:{element}:") for change in own)
    assert of(spec, resolve(spec, copied)) == before


def test_one_more_element_is_felt_where_its_files_are_and_by_who_asks_for_all(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "mine/finalise.d").mkdir(parents=True)
    (tmp_path / "mine/finalise.d/50-x").write_text("#!/bin/sh\n")
    spec, more = read(DEBIAN), read(DEBIAN | {"element": ("mine",)})
    before, now = of(spec, resolve(spec, copied)), of(more, resolve(more, tmp_path, copied))
    named = changes(before, now)
    assert {change.name for change in named if change.step == IMAGE} == {
        "element:mine:finalise.d",
        "element:mine:finalise.d/50-x",
        "option:element-list",
    }
    (other,) = (change for change in named if change.step != IMAGE)
    assert other.name == "option:elements"
    asking = {
        step_of(file.path)
        for element in resolve(spec, copied)
        for file in element.files
        if file.mentions & {"IMAGE_ELEMENT", "get_image_element_array"}
    }
    assert other.step == min(asking, key=STEPS.index)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """An element of the user's."""
    element = tmp_path / "place/mine"
    (element / "install.d").mkdir(parents=True)
    (element / "install.d/50-x").write_text("#!/bin/sh\n")
    return element


def of_own(own: Path) -> Inputs:
    spec = read(DEBIAN | {"element": ("mine",)})
    return of(spec, resolve(spec, own.parent, elements.OURS, elements.builtin()))


def test_the_order_of_the_elements_is_an_input_of_the_image() -> None:
    """It is an argument of disk-image-create's, which the manifests in the image show; nothing else depends on it."""
    one, two = (
        plan(DEBIAN | {"element": names}).inputs for names in (("local-config", "devuser"), ("devuser", "local-config"))
    )
    assert [change.name for change in changes(one, two)] == ["option:element-list"]
    assert differing(one, two) == {IMAGE}
    assert "local-config devuser" in one[IMAGE]["option:element-list"]


#: Word in a file -> the input that the file's step has then, and a later one has without
MENTIONED = {
    "$DIB_IMAGE_SIZE": "option:size_gib",
    "$IMAGE_ELEMENT": "option:elements",
    "$(get_image_element_array)": "option:elements",
    **{f"${name}": f"environment:{name}" for name in DISK_VARIABLES},
    **{f"${name}": "environment:DIB_BLOCK_DEVICE_CONFIG" for name in sorted(DISK_VARIABLES["DIB_BLOCK_DEVICE_CONFIG"])},
}


@pytest.mark.parametrize("word", MENTIONED)
@pytest.mark.parametrize(
    ("path", "step"),
    [
        ("bin/x", "root"),
        ("environment.d/10-x", "root"),
        ("pre-install.d/50-x", "pre-install"),
        ("static/etc/x", "install"),
        ("finalise.d/50-x", IMAGE),
        ("README.rst", IMAGE),
    ],
)
def test_what_only_some_files_mention_is_felt_from_the_first_of_them(
    word: str, path: str, step: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine" / path
    file.parent.mkdir(parents=True)
    file.write_text(f"#!/bin/sh\necho {word}\n")
    files = elements.files(tmp_path / "mine")
    (found,) = (each for each in files if each.path == path)
    assert word.strip("$()") in found.mentions
    # What comes with us mentions some of it early.
    mine = ResolvedElement("mine", tmp_path / "mine", "", files)
    later = ResolvedElement("later", tmp_path, "", (ElementFile("cleanup.d/10-x", "x", WATCHED),))
    environment = {name: Setting("x", Source.FLAG) for name in DISK_VARIABLES}
    made = local_inputs(read(DEBIAN), (mine, later), environment, {}, KEY)
    assert [each for each in STEPS if MENTIONED[word] in made[each]] == [step]
    # Nothing else moves along.
    moving = {*MENTIONED.values()} - {MENTIONED[word]}
    others = {name for name in moving if name not in made[IMAGE]}
    assert others <= ({"environment:DIB_BLOCK_DEVICE_CONFIG"} if "BLOCK" in word else set())


def test_what_nobody_mentions_is_felt_by_the_image_alone() -> None:
    environment = {name: Setting("x", Source.FLAG) for name in DISK_VARIABLES}
    made = local_inputs(read(DEBIAN), (), environment, {}, KEY)
    assert made[IMAGE].keys() >= set(MENTIONED.values())


@pytest.mark.parametrize("name", ["block-device-mine", "bootloader", "bootloader-mine"])
def test_defaults_of_who_makes_the_disk_are_not_read_earlier(name: str, tmp_path: Path) -> None:
    def step(path: str) -> str:
        files = (ElementFile(path, "x", WATCHED),)
        made = local_inputs(read(DEBIAN), (ResolvedElement(name, tmp_path, "", files),), {}, {}, KEY)
        (found,) = (each for each in STEPS if "option:size_gib" in made[each])
        return found

    assert step("environment.d/10-x") == IMAGE
    assert step("pre-install.d/10-x") == "pre-install"
    assert step("root.d/10-x") == "root"


def test_what_a_link_directly_in_an_element_leads_to_mentions_something_too(tmp_path: Path) -> None:
    (tmp_path / "common").write_text("echo $DIB_IMAGE_SIZE")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/source-repository-x").symlink_to("../common")
    (file,) = elements.files(tmp_path / "mine")
    assert file.mentions == {"DIB_IMAGE_SIZE"}


def test_elements_are_unchanged_until_something_in_them_is_not(own: Path) -> None:
    spec = read(DEBIAN | {"element": ("mine",)})
    closure = resolve(spec, own.parent, elements.OURS, elements.builtin())
    assert elements.are_unchanged(closure)
    (own / "__pycache__").mkdir()
    assert elements.are_unchanged(closure)
    for change in (content_changed, mode_changed, added_beside, removed):
        undo = change(own / "install.d/50-x")
        assert not elements.are_unchanged(closure), change
        undo()
        assert elements.are_unchanged(closure)


def test_lists_of_packages_of_shadowed_elements_count(own: Path, tmp_path: Path) -> None:
    shadowed = tmp_path / "further/mine/package-installs.yaml"
    shadowed.parent.mkdir(parents=True)
    shadowed.write_text("strace:\n")
    spec = read(DEBIAN | {"element": ("mine",)})

    def now() -> Inputs:
        return of(spec, resolve(spec, own.parent, tmp_path / "further", elements.OURS, elements.builtin()))

    before = now()
    shadowed.write_text("ltrace:\n")
    assert differing(before, now()) == steps_from("pre-install")
    (change,) = changes(before, now())
    assert str(change) == "element mine: package-installs.yaml of the element's version 2 changed"
    (shadowed.parent / "install.d").mkdir()
    (shadowed.parent / "install.d/50-x").write_text("never read")
    assert changes(before, now()) == [change]


def test_what_a_link_directly_in_an_element_leads_to_counts(own: Path, tmp_path: Path) -> None:
    """diskimage-builder follows these: ``find -follow -maxdepth 1``, and open()."""
    common = tmp_path / "common"
    (common / "post-install.d").mkdir(parents=True)
    (common / "post-install.d/60-x").write_text("one")
    (common / "packages").write_text("strace:\n")
    (own / "package-installs.yaml").symlink_to("../../common/packages")
    (own / "post-install.d").symlink_to(common / "post-install.d")
    before = of_own(own)
    (common / "packages").write_text("ltrace:\n")
    assert differing(before, of_own(own)) == steps_from("pre-install")
    between = of_own(own)
    (common / "post-install.d/60-x").write_text("two")
    assert [change.name for change in changes(between, of_own(own))] == ["element:mine:post-install.d/60-x"]


def test_a_link_deeper_in_an_element_is_itself_the_content(own: Path, tmp_path: Path) -> None:
    (own / "static/etc").mkdir(parents=True)
    (own / "static/etc/x").symlink_to(tmp_path / "of-the-image")
    before = of_own(own)
    (tmp_path / "of-the-image").write_text("of the host")
    assert of_own(own) == before
    (own / "static/etc/x").unlink()
    (own / "static/etc/x").symlink_to("elsewhere")
    assert differing(before, of_own(own)) == steps_from("install")


def test_names_of_any_bytes(own: Path) -> None:
    before = of_own(own)
    name = os.fsdecode(b"50-\xff\xfe-\xc3\xa4 :\n")
    (own / "install.d" / name).write_text("x")
    now = of_own(own)
    assert differing(before, now) == steps_from("install")
    assert changes(json.loads(json.dumps(before)), json.loads(json.dumps(now))) == changes(before, now)


# --- options, variables, files


OPTIONS = {
    "size": "7",
    "type": "raw",
    "uncompressed": True,
    "compat_compression": True,
    "root_password": "x",
    "package": ("strace",),
    "enforce_mac": True,
}


@pytest.mark.parametrize("option", ["size", "type", "uncompressed", "compat_compression", "package"])
def test_options_that_only_the_image_feels(option: str) -> None:
    old, new = plan(DEBIAN).inputs, plan(DEBIAN | {option: OPTIONS[option]}).inputs
    assert differing(old, new) == {IMAGE}


@pytest.mark.parametrize("option", ["arch", "release"])
def test_options_that_the_bootstrap_feels(option: str) -> None:
    said = {"arch": "arm64", "release": "bookworm"}[option]
    assert differing(plan(DEBIAN).inputs, plan(DEBIAN | {option: said}).inputs) == set(STEPS)


LATE = (
    *("DIB_IMAGE_EXTRA_SIZE", "DIB_JOURNAL_SIZE", "DIB_GRUB_TIMEOUT", "DIB_BOOTLOADER_DEFAULT_CMDLINE"),
    *("DIB_BOOTLOADER_SERIAL_CONSOLE", "DIB_BOOTLOADER_VIRTUAL_TERMINAL", "DIB_BOOTLOADER_USE_SERIAL_CONSOLE"),
)
NOTHING = ("DIB_DEBUG_TRACE", "DIB_QUIET", "DIB_NO_TMPFS", "DIB_MIN_TMPFS", "DIB_IMAGE_CACHE", "DIB_LOCKFILES")


@pytest.mark.parametrize("name", LATE)
def test_variables_of_the_disk_are_felt_by_the_image_alone(name: str) -> None:
    assert differing(plan(DEBIAN).inputs, plan(DEBIAN, {name: "61"}).inputs) == {IMAGE}


def test_a_variable_of_the_disk_that_a_hook_reads_earlier_is_felt_there() -> None:
    """amphora-fips adds to the kernel's command line in environment.d, which all phases read."""
    said, name = DEBIAN | {"fips": True}, "DIB_BOOTLOADER_DEFAULT_CMDLINE"
    assert differing(plan(said).inputs, plan(said, {name: "61"}).inputs) == set(STEPS)


@pytest.mark.parametrize("name", ["DIB_ANYTHING", "DIB_DEBIAN_COMPONENTS", "CLOUD_INIT_DATASOURCES"])
def test_any_other_variable_is_felt_by_all(name: str) -> None:
    assert differing(plan(DEBIAN).inputs, plan(DEBIAN, {name: "61"}).inputs) == set(STEPS)


@pytest.mark.parametrize("name", NOTHING)
def test_variables_that_say_how_to_go_about_it_are_felt_by_none(name: str) -> None:
    assert plan(DEBIAN).inputs == plan(DEBIAN, {name: "1"}).inputs


def test_the_layout_is_felt_by_the_image_alone_even_from_a_file(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    environ = {"DIB_BLOCK_DEVICE_CONFIG": f"file://{layout}"}
    layout.write_text("- local_loop: {name: image0}\n")
    before = plan(DEBIAN, environ).inputs
    layout.write_text("- local_loop: {name: image0, size: 3G}\n")
    assert differing(before, plan(DEBIAN, environ).inputs) == {IMAGE}


@pytest.mark.parametrize("name", ["DIB_APT_KEYRING", "DIB_LOCAL_IMAGE", "DIB_ANYTHING"])
def test_another_file_at_the_same_path_is_another_input(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\0one")
    before = plan(DEBIAN, {name: str(path)}).inputs
    path.write_bytes(b"\0two")
    now = plan(DEBIAN, {name: str(path)}).inputs
    assert differing(before, now) == set(STEPS)
    assert [str(change) for change in changes(before, now)] == [f"file {name} changed"]
    path.unlink()
    path.mkdir()
    (path / "key.asc").write_text("one")
    first = plan(DEBIAN, {name: str(path)}).inputs
    (path / "key.asc").write_text("two")
    assert differing(first, plan(DEBIAN, {name: str(path)}).inputs) == set(STEPS)


@pytest.mark.parametrize("value", ["/", "/usr", "/dev/zero", "/proc", "/etc/passwd/in-the-image", "/no/such/file"])
def test_a_path_that_is_one_in_the_image_is_not_read(value: str) -> None:
    assert "file:DIB_ANYTHING" not in plan(DEBIAN, {"DIB_ANYTHING": value}).inputs["root"]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "file:DIB_ANYTHING" not in plan(DEBIAN, {"DIB_ANYTHING": str(tmp_path / "pipe")}).inputs["root"]


def test_a_keyring_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file") as caught:
        plan(DEBIAN, {"DIB_APT_KEYRING": f"{tmp_path}/none"})
    assert [problem.where for problem in caught.value.problems] == ["DIB_APT_KEYRING"]


@pytest.mark.parametrize(
    ("element", "name"), [("local-config", "authorized_keys"), ("devuser", "id_rsa.pub"), ("devuser", "id_dsa.pub")]
)
def test_keys_that_an_element_takes_from_the_home_directory(element: str, name: str, tmp_path: Path) -> None:
    """A key that was taken back must not come again from the store."""
    said, environ = DEBIAN | {"element": (element,)}, {"HOME": str(tmp_path)}
    without = plan(said, environ).inputs
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / name).write_text("ssh-rsa one")
    one = plan(said, environ).inputs
    (tmp_path / ".ssh" / name).write_text("ssh-rsa two")
    two = plan(said, environ).inputs
    assert differing(without, one) == differing(one, two) == steps_from("pre-install")
    assert [str(change) for change in changes(one, two)] == [f"file ~/.ssh/{name} changed"]
    assert plan(DEBIAN, environ).inputs == plan(DEBIAN).inputs


def test_a_checkout_of_diskimage_builder_counts_with_its_content(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    shutil.copytree(elements.builtin(), checkout / "diskimage_builder/elements", symlinks=True)
    (checkout / "diskimage_builder/lib").mkdir()
    (checkout / ".git").mkdir()
    library = checkout / "diskimage_builder/lib/common-functions"
    library.write_text("one")
    environ = {"DIB_REPO_PATH": str(checkout)}
    before = plan(DEBIAN, environ).inputs
    assert before["root"]["tool:diskimage-builder"].startswith("checkout sha256:")
    (checkout / ".git/index").write_text("x")
    assert plan(DEBIAN, environ).inputs == before
    library.chmod(0o755)
    executable = plan(DEBIAN, environ).inputs
    library.write_text("two")
    assert differing(before, executable) == differing(executable, plan(DEBIAN, environ).inputs) == set(STEPS)


def tools(monkeypatch: pytest.MonkeyPatch, **replaced: Any) -> Inputs:
    with monkeypatch.context() as patch:
        for name, value in replaced.items():
            patch.setattr(content, name, value)
        return content.files(read(DEBIAN), (), {})


def test_what_makes_stages_is_an_input_of_the_first_step_and_the_rest_of_us_of_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = tmp_path / "ours"
    shutil.copytree(content._OURS, ours, ignore=shutil.ignore_patterns("elements", "__pycache__"))
    before = tools(monkeypatch, _OURS=ours)
    assert before == tools(monkeypatch)
    for name in ("build.py", "process.py", "store/stages.py"):
        undo = content_changed(ours / name)
        now = tools(monkeypatch, _OURS=ours)
        undo()
        assert [change.name for change in changes(before, now) if change.step == "root"] == [
            f"tool:diskimage-create {name}"
        ]
    content_changed(ours / "convert.py")
    assert [(change.step, change.name) for change in changes(before, tools(monkeypatch, _OURS=ours))] == [
        (IMAGE, "tool:diskimage-create")
    ]


def test_what_makes_file_systems_is_an_input_of_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what features, mke2fs.conf says; and any layout may ask for any of them."""
    configuration = tmp_path / "mke2fs.conf"
    none = tools(monkeypatch, _MKE2FS=configuration)
    configuration.write_text("one")
    one = tools(monkeypatch, _MKE2FS=configuration)
    configuration.write_text("two")
    two = tools(monkeypatch, _MKE2FS=configuration)
    for old, new in ((none, one), (one, two)):
        assert [(change.step, change.name) for change in changes(old, new)] == [(IMAGE, "tool:mke2fs.conf")]
    which = content.process.which
    for name in ("btrfs", "ext4", "vfat", "xfs"):
        program = tmp_path / f"mkfs.{name}"
        program.write_text("another")

        def elsewhere(asked: str, program: Path = program) -> str | None:
            return str(program) if asked == program.name else which(asked)

        before = tools(monkeypatch)
        with monkeypatch.context() as patch:
            patch.setattr(content.process, "which", elsewhere)
            now = tools(monkeypatch)
        assert now[IMAGE][f"tool:mkfs.{name}"] == content.file_digest(program)
        assert [(change.step, change.name) for change in changes(before, now)] == [(IMAGE, f"tool:mkfs.{name}")]


def test_digests_of_trees(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "a").mkdir(parents=True)
    (tree / "a/x").write_text("1")
    seen = {content.tree_digest(tree)}
    for change in (
        lambda: (tree / "a/x").write_text("2"),
        lambda: (tree / "a/x").chmod(0o755),
        lambda: (tree / "a/x").rename(tree / "a/y"),
        lambda: (tree / "a").rename(tree / "b"),
        lambda: (tree / os.fsdecode(b"\xff")).touch(),
    ):
        change()
        seen.add(content.tree_digest(tree))
    assert len(seen) == 6
    last = content.tree_digest(tree)
    (tree / "__pycache__").mkdir()
    (tree / "__pycache__/x.pyc").touch()
    (tree / "dangling").symlink_to("nowhere")
    assert content.tree_digest(tree) == last


# --- secrets


SECRETS: dict[str, Callable[[str], tuple[dict[str, Any], dict[str, str]]]] = {
    "root password": lambda text: ({"root_password": text}, {}),
    "by name": lambda text: ({}, {"DIB_DEV_USER_PASSWORD": text}),
    "on the command line": lambda text: ({"env": (f"API_TOKEN={text}",)}, {}),
    "in an address": lambda text: ({}, {"DIB_DISTRIBUTION_MIRROR": f"https://me:{text}@mirror.example/debian"}),
    "of any bytes": lambda text: ({}, {"DIB_DEV_USER_PASSWORD": text + os.fsdecode(b"\xff")}),
}


@pytest.mark.parametrize("where", SECRETS)
def test_secrets_are_told_apart_and_never_told(where: str, tmp_path: Path, capsys: Any) -> None:
    cache = {"cache_dir": str(tmp_path)}
    store = Store(tmp_path)
    store.create()
    said = [SECRETS[where](f"canary-{n}") for n in (1, 2)]
    one, two = (plan(DEBIAN | cache | options, environ) for options, environ in said)
    assert one.inputs == plan(DEBIAN | cache | said[0][0], said[0][1]).inputs
    assert differing(one.inputs, two.inputs)
    needs = [reuse.needs(made, STEPS, (), max_age=reuse.timedelta(days=1), offline=True) for made in (one, two)]
    first = needs[0]
    entry = store.add(IMAGE, first.label, first.local, {}, first.asked, lambda made: (made / "qcow2").touch())
    why = reuse.look_up(store, needs[1])
    assert any("changed" in line for line in why.planned())
    shown = [
        *(json.dumps(plans.as_json(made)) + _as_text(made) + repr(made.inputs) for made in (one, two)),
        *((entry.path / name).read_text() for name in ("manifest.json", "qcow2")),
        *why.planned(),
        json.dumps(why.as_json()),
        repr(why),
    ]
    assert "canary" not in "".join(shown)


def test_a_secret_says_nothing_to_who_does_not_know_the_key() -> None:
    assert keyed(KEY, "A", "x") != keyed(b"o" * 32, "A", "x")
    assert keyed(KEY, "A", "x") != keyed(KEY, "B", "x")


def test_a_file_that_a_secret_names_is_not_told_by_a_plain_digest(tmp_path: Path) -> None:
    """It may be as short as a password, and then its SHA-256 could be looked up."""
    path = tmp_path / "password"
    path.write_text("one")
    cache = {"cache_dir": str(tmp_path)}
    Store(tmp_path).create()
    before = plan(DEBIAN | cache, {"DIB_PASSWORD_FILE": str(path)}).inputs
    assert before["root"]["file:DIB_PASSWORD_FILE"].startswith("hmac-sha256:")
    assert content.file_digest(path).removeprefix("sha256:") not in json.dumps(before)
    path.write_text("two")
    assert differing(before, plan(DEBIAN | cache, {"DIB_PASSWORD_FILE": str(path)}).inputs) == set(STEPS)


def test_without_a_key_nothing_is_written_and_secrets_are_told_apart_all_the_same(tmp_path: Path) -> None:
    said = DEBIAN | {"cache_dir": str(tmp_path / "cache"), "root_password": "x"}
    one, two = plan(said).inputs, plan(said).inputs
    assert one != two  # nothing is stored that they could be the same as
    assert not (tmp_path / "cache").exists()


# --- changes and identities


values = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=5)
some_inputs: st.SearchStrategy[Inputs] = st.fixed_dictionaries({}, optional=dict.fromkeys(STEPS, values))


@given(old=some_inputs, new=some_inputs)
def test_changes_are_complete_and_symmetric(old: Inputs, new: Inputs) -> None:
    found = changes(old, new)
    assert changes(new, old) == [Change(change.step, change.name, change.new, change.old) for change in found]
    applied = {step: dict(old.get(step, {})) for step in STEPS}
    for change in found:
        assert change.old != change.new
        assert applied[change.step].get(change.name) == change.old
        if change.new is None:
            del applied[change.step][change.name]
        else:
            applied[change.step][change.name] = change.new
    assert applied == {step: dict(new.get(step, {})) for step in STEPS}
    assert [STEPS.index(change.step) for change in found] == sorted(STEPS.index(change.step) for change in found)


@given(old=some_inputs, new=some_inputs)
def test_identities_differ_from_the_first_step_that_differs(old: Inputs, new: Inputs) -> None:
    first = next((change.step for change in changes(old, new)), None)
    assert differing(old, new) == (steps_from(first) if first else set())
    assert all(identity.startswith("sha256:") for identity in identities(old).values())
    assert len(set(identities(old).values())) == len(STEPS)


@given(local=some_inputs, remote=some_inputs)
def test_merged_inputs_have_all_of_both(local: Inputs, remote: Inputs) -> None:
    both = merged(local, remote)
    assert set(both) == set(STEPS)
    for step in STEPS:
        assert both[step].keys() == local.get(step, {}).keys() | remote.get(step, {}).keys()
        assert both[step].items() >= dict(remote.get(step, {})).items()


@pytest.mark.parametrize(
    ("name", "old", "new", "text"),
    [
        ("option:size_gib", "5", "7", "option size_gib: 5 -> 7"),
        ("environment:DIB_X", None, "a", "environment DIB_X added"),
        ("environment:DIB_X", "a", None, "environment DIB_X removed"),
        ("environment:DIB_X", "a", "b" * 81, "environment DIB_X changed"),
        ("environment:DIB_X", "a", "b\nc", "environment DIB_X changed"),
        ("option:root_password", "not set", "hmac-sha256:0", "option root_password changed"),
        ("element:vm:finalise.d/50-a:b", "sha256:0", "sha256:1", "element vm: finalise.d/50-a:b changed"),
        ("tool:mmdebstrap", "sha256:0", "not installed", "tool mmdebstrap changed"),
        ("apt bookworm-security", "sha256:0", "sha256:1", "apt bookworm-security: new release file"),
        ("git amphora-agent", "a" * 40, "b" * 40, f"git amphora-agent: {'a' * 40} -> {'b' * 40}"),
        ("downloads of element x: install.d/5", "unknown", None, "downloads of element x: install.d/5 removed"),
    ],
)
def test_the_text_of_a_change(name: str, old: str | None, new: str | None, text: str) -> None:
    assert str(Change("root", name, old, new)) == text


def test_a_setting_is_an_input_of_its_own() -> None:
    environment = {"A": Setting("1", Source.FLAG), "B": setting("B_TOKEN", "2", Source.FLAG)}
    made = local_inputs(read(DEBIAN), (), environment, {"install": {"tool:x": "1"}}, KEY)
    assert made["root"]["environment:A"] == "1"
    assert made["root"]["environment:B"] == keyed(KEY, "B", "2")
    assert made["install"] == {"tool:x": "1"}


def test_a_plan_is_current_as_long_as_the_files_that_variables_name_are(tmp_path: Path) -> None:
    named = tmp_path / "named"
    named.write_text("one")
    made = plan(
        DEBIAN, {"DIB_SITE_FILE": str(named), "DIB_SITE_PLACE": str(tmp_path / "later"), "DIB_TOKEN": str(named)}
    )
    assert content.is_current(made)
    named.write_text("two")
    assert not content.is_current(made)
    named.write_text("one")
    assert content.is_current(made)
    (tmp_path / "later").write_text("there now")
    assert not content.is_current(made)
    (tmp_path / "later").unlink()
    named.unlink()
    assert not content.is_current(made)
