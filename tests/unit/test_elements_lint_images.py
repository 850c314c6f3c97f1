"""What ``elements lint`` chooses to look at, images, shellcheck, reports; and all elements that are installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_elements import HOOK, NEIGHBOURS, read, write

from diskimage_create import catalogue, elements, process
from diskimage_create.catalogue import lint
from diskimage_create.catalogue.lint import answers, report, selection, shell
from diskimage_create.catalogue.lint.model import RULES, Image, Severity
from diskimage_create.errors import HostError, InputError

ROOT = Path(__file__).parents[2]
BASH = "#!/bin/bash\n"
IMAGE_RULES = ("EL403", "EL404")


# Images


def images(tmp_path: Path, *elements: str, files: Mapping[str, str] | None = None) -> list[tuple[str, str, str]]:
    """Rule, element and file of what is wrong with an image of these elements."""
    known = read(write(tmp_path, {**NEIGHBOURS, **(files or {})}))
    rules = [RULES[id] for id in IMAGE_RULES]
    found = lint.check(known, [], rules, [Image("the image", elements)])
    return [(each.rule.id, each.entry.name, each.where) for each in found]


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        (["base", "stackuser", "vm"], [("EL403", "stackuser", "")]),
        (["os-collect-config", "stackuser"], [("EL403", "os-collect-config", "")]),
        (["heat-cfntools", "os-collect-config"], []),
        (["base", "vm"], []),
    ],
)
def test_images_for_heat_have_its_tools(tmp_path: Path, elements: list[str], expected: list[object]) -> None:
    files = {f"{name}/README.rst": "" for name in ("stackuser", "os-collect-config", "heat-cfntools")}
    assert images(tmp_path, *elements, files=files) == expected


def test_two_elements_of_an_image_with_one_hook(tmp_path: Path) -> None:
    """Where an element brings them both along, it is that one's mistake (EL401)."""
    assert images(tmp_path, "other-tool", "tool") == [("EL404", "other-tool", "install.d/50-tool")]
    assert images(tmp_path, "both-tools", "other-tool", "tool") == []
    assert images(tmp_path, "tool", "vm") == []


places_in = st.sampled_from(["install.d", "bin", "static", "tests", "static/etc", "install.d/a-source-install"])
elements_of_two = st.lists(
    st.tuples(st.sampled_from("ab"), places_in, st.sampled_from(["10-x", "y", ".hidden"])), max_size=6, unique=True
)


@pytest.mark.subprocess("runs diskimage-builder's generate_hooks")
@given(files=elements_of_two)
@settings(max_examples=60)
def test_files_clash_where_diskimage_builder_refuses_them(files: list[tuple[str, str, str]]) -> None:
    library = elements.builtin().parent / "lib"
    script = """
        _LIB=${1:?}; TMP_HOOKS_PATH=${2:?}; root=${3:?}
        . "$_LIB/common-functions"
        get_image_element_array() { echo "[a]=$root/a [b]=$root/b"; }
        generate_hooks
    """
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "elements")
        for name in "ab":
            (root / name).mkdir(parents=True)
        write(root, {f"{element}/{place}/{name}": f"of {element}\n" for element, place, name in files})
        done = subprocess.run(
            ["bash", "-c", script, "bash", library, Path(directory, "hooks"), root],
            stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=60,
        )  # fmt: skip
        known = read(root)
        found = lint.check(known, [], [RULES["EL404"]], [Image("the image", ("a", "b"))])
    assert done.returncode in (0, 1)
    assert bool(found) == (done.returncode == 1)


def test_names_are_an_image_when_an_operating_system_is_among_them(tmp_path: Path) -> None:
    known = read(write(tmp_path, NEIGHBOURS))
    alone = selection.of_names(known, ["tool"], own_directories=False, everything=False)
    assert alone.images == ()
    (image,) = selection.of_names(known, ["vm", "tool"], own_directories=False, everything=False).images
    # As disk-image-create adds it
    assert image.elements == ("base", "tool", "vm")


def test_without_names_it_is_what_the_user_can_mend(tmp_path: Path) -> None:
    mine, local = write(tmp_path / "mine", {"mine/x": ""}), write(tmp_path / "local", {"local/x": ""})
    environ = {"DIB_LOCAL_ELEMENTS_PATH": str(local)}
    known = catalogue.read(catalogue.where(environ))
    own = {e.name for e in selection.of_names(known, [], own_directories=False, everything=False).entries}
    assert {"local", "base", "amphora-agent"} < own
    assert not own & {"vm", "hadoop", "os-collect-config"}
    everything = selection.of_names(known, [], own_directories=False, everything=True).entries
    assert len(everything) == len(known.used)
    given = catalogue.read(catalogue.where(environ, [str(mine)]))
    chosen = selection.of_names(given, [], own_directories=True, everything=False).entries
    assert [entry.name for entry in chosen] == ["mine"]


# shellcheck


@pytest.mark.subprocess("asks shellcheck")
def test_what_shellcheck_says(tmp_path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    files = {
        "e/install.d/10-array": f"{HOOK}x=(a b)\nls ${{x[@]}}\n",
        "e/install.d/20-disabled": f"{HOOK}x=(a b)\n# shellcheck disable=SC2068\nls ${{x[@]}}\n",
        "e/install.d/30-broken": f"{HOOK}if true; then\n",
        "e/install.d/40-dib": f"{HOOK}eval declare -A found=($(get_image_element_array))\nls\n",
        "e/install.d/50-style": f"{HOOK}ls $HOME\n",
        "e/install.d/60-python": "#!/usr/bin/python3\nif True:\n    pass\n",
        "e/environment.d/10-x": "x=(a b)\nls ${x[@]}\n",
        "e/bin/tool": "#!/bin/sh\nif [ a ]; fi\n",
    }
    known = read(write(tmp_path, files))
    found = lint.check(known, known.get(["e"]), [RULES[shell.RULE]])
    assert [(each.where, each.found.message.split(":")[0]) for each in found] == [
        ("bin/tool:2", "SC1049"),
        ("environment.d/10-x:2", "SC2068"),
        ("install.d/10-array:4", "SC2068"),
        ("install.d/30-broken:3", "SC1073"),
    ]


@pytest.mark.subprocess("asks shellcheck")
def test_shellcheck_is_asked_about_a_script_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    asked: list[str] = []
    real = process.run

    def run(argv: Sequence[str], **more: object) -> process.Completed:
        asked.extend(Path(path).name for path in argv[argv.index("--") + 1 :])
        return real(argv, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(process, "run", run)
    bad = "x=(a b)\nls ${x[@]}\n"
    root = write(
        tmp_path / "e", {"e/install.d/10-x": HOOK + bad, "e/install.d/20-x": HOOK, "e/environment.d/10-e": bad}
    )
    place = tmp_path / "cache/answers.json"

    def ask(expected: set[str], place: Path | None = place) -> None:
        asked.clear()
        known = read(root)
        found = lint.check(known, known.get(["e"]), [RULES[shell.RULE]], answers=place)
        assert [each.where for each in found] == ["environment.d/10-e:2", "install.d/10-x:4"]
        assert set(asked) == expected

    everything = {"10-x", "20-x", "10-e"}
    ask(everything)
    ask(set())
    ask(everything, None)
    write(root, {"e/install.d/20-x": HOOK + "ls\n"})
    ask({"20-x"})
    ask(set())
    for damaged in ("{", "[]", json.dumps({**json.loads(place.read_text()), "remarks": {"x": [["1", 2, "y"]]}})):
        place.write_text(damaged)
        ask(everything)
    monkeypatch.setenv("SHELLCHECK_OPTS", "--exclude=SC1000")
    ask(everything)
    ask(set())
    # What cannot be kept is asked again; that is all.
    (tmp_path / "file").touch()
    for _ in range(2):
        ask(everything, tmp_path / "file/answers.json")


def test_answers_are_kept_in_the_users_cache() -> None:
    assert answers.default_place({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path("/c/image-create/shellcheck.json")
    assert answers.default_place({"HOME": "/h"}) == Path("/h/.cache/image-create/shellcheck.json")
    assert answers.default_place({}) is None


def test_shellcheck_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "which", lambda _name: None)
    assert shell.RULE not in {rule.id for rule in lint.choose([], [], None)}
    with pytest.raises(HostError, match="shellcheck is not installed"):
        lint.choose([], [], True)


# Choosing rules, and reports


def test_rules_are_chosen_by_their_ids() -> None:
    assert [rule.id for rule in lint.choose(["el102,EL101", "EL301"], ["EL301"], False)] == ["EL101", "EL102"]
    assert [rule.id for rule in lint.choose([], [], False)] == sorted(RULES.keys() - {shell.RULE})
    with pytest.raises(InputError) as caught:
        lint.choose(["EL10"], ["xyz"], False)
    (only, skip) = caught.value.problems
    assert (only.where, skip.where) == ("--only", "--skip")
    assert (only.hint or "").startswith("did you mean EL10")
    assert "--list-rules" in (skip.hint or "")


def test_only_hints_are_no_reason_to_fail(tmp_path: Path) -> None:
    known = read(write(tmp_path, {"stackuser/install.d/10-x": BASH}))
    hint = lint.check(known, [], [RULES["EL403"]], [Image("the image", ("stackuser",))])
    assert [each.rule.severity for each in hint] == [Severity.HINT]
    assert report.is_clean(hint)
    warning = lint.check(known, known.get(["stackuser"]), [RULES["EL204"]])
    assert [each.rule.severity for each in warning] == [Severity.WARNING]
    assert not report.is_clean([*hint, *warning])


def test_findings_for_github_keep_to_its_syntax(tmp_path: Path) -> None:
    known = read(write(tmp_path / "a,b:c%", {"e/element-deps": "gh%ost\n", "e/README.rst": ""}))
    text = report.as_github(lint.check(known, known.get(["e"]), [RULES["EL103"]]))
    assert text.startswith("::error file=")
    assert "/a%2Cb%3Ac%25/e/element-deps,line=1,title=EL103 " in text
    assert text.endswith("::there is no element gh%25ost")


def test_the_page_is_what_the_rules_say() -> None:
    """``scripts/update-lint-rules`` writes it."""
    assert (ROOT / "docs/elements-lint.md").read_text(encoding="utf-8") == report.page()


def test_every_rule_explains_itself() -> None:
    for rule in RULES.values():
        assert len(rule.explanation.split()) >= 20, rule.id
        assert not rule.title.endswith(".")


# Real elements


@pytest.mark.subprocess("asks shellcheck")
def test_our_own_elements_are_clean() -> None:
    """What is an exception says so in the element, with the reason."""
    known = catalogue.read(catalogue.where({}))
    own = [entry for entry in known.used.values() if entry.own]
    assert len(own) >= 20
    assert report.as_text(lint.check(known, own, lint.choose([], [], None))) == ""


@pytest.mark.subprocess("asks shellcheck")
def test_everything_that_is_installed_can_be_checked() -> None:
    """More than 200 real elements; what is found in them was looked at, and is as it says."""
    known = catalogue.read(catalogue.where({}))
    found = lint.check(known, list(known.used.values()), lint.choose([], [], None))
    seen = {(each.rule.id, each.entry.name, each.where) for each in found}
    assert {
        ("EL103", "deploy-kexec", "element-deps:1"),
        ("EL104", "ilo", "ramdisk-install.d"),
        ("EL201", "enable-serial-console", "cleanup.d/99-fix-grub"),
        ("EL204", "ironic-python-agent-tls", "pre-finalise.d/10-configure-ipa-tls"),
        ("EL501", "devuser", "install.d/50-devuser:20"),
        ("EL502", "devuser", "install.d/50-devuser:39"),
    } <= seen
    errors = [each for each in found if each.rule.severity is Severity.ERROR]
    assert len(errors) <= 10
