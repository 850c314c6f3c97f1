"""Each rule of ``elements lint``, with elements that break it and elements that do not."""

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
from sample_elements import HOOK, read, write

from contract import schema_errors
from diskimage_create import catalogue, elements, process
from diskimage_create.catalogue import lint, showing
from diskimage_create.catalogue.lint import answers, report, selection, shell
from diskimage_create.catalogue.lint.model import RULES, Image, Severity
from diskimage_create.errors import HostError, InputError

ROOT = Path(__file__).parents[2]
BASH = "#!/bin/bash\n"
LIST = "package-installs.yaml"
KEY = "-----BEGIN OPENSSH " + "PRIVATE KEY-----"

#: Rule -> what breaks it (files -> where it is found, as ``file:line``) and what does not
BROKEN: Mapping[str, list[tuple[dict[str, str], list[str]]]] = {
    "EL101": [({"element-deps": ""}, [""]), ({"docs/README.rst": ""}, [""])],
    "EL102": [
        ({"element-deps": "e\n"}, ["element-deps:1"]),
        ({"element-deps": "base\n\nvm\nbase\n base \n"}, ["element-deps:4", "element-deps:5"]),
    ],
    "EL103": [
        ({"element-deps": "base\nghost\n"}, ["element-deps:2"]),
        ({"element-deps": "# what it needs\nbase\n"}, ["element-deps:1"]),
    ],
    "EL104": [
        ({"postinstall.d/10-x": HOOK}, ["postinstall.d"]),
        ({"pre_install.d/10-x": HOOK, "more.d/x": "", "README.rst": "see more.d"}, ["more.d", "pre_install.d"]),
        ({"profile.d/x": "", "install.d/10-x": HOOK + "ls $X/etc/profile.d my-profile.d\n"}, ["profile.d"]),
    ],
    "EL201": [
        ({"install.d/10-x!": HOOK}, ["install.d/10-x"]),
        ({"install.d/10-x": "echo\n"}, ["install.d/10-x"]),
        ({"install.d/x!": HOOK, "install.d/10-y": HOOK + "y=example x.x xx -x\n"}, ["install.d/x"]),
        ({"install.d/e-source-install/10-x!": HOOK}, ["install.d/e-source-install/10-x"]),
    ],
    "EL202": [({"install.d/10-x+": "set -e\n"}, ["install.d/10-x:1"])],
    "EL203": [
        ({"install.d/10-x.sh": HOOK}, ["install.d/10-x.sh"]),
        ({"install.d/10-x~": HOOK, "install.d/10-x": HOOK}, ["install.d/10-x~"]),
        ({"environment.d/10-x y": "export X=1\n"}, ["environment.d/10-x y"]),
        ({"install.d/lib/10-x": HOOK}, ["install.d/lib/10-x"]),
        ({"root.d/e-source-install/10-x": HOOK}, ["root.d/e-source-install/10-x"]),
    ],
    "EL204": [
        ({"install.d/10-x": BASH}, ["install.d/10-x"]),
        ({"install.d/10-x": f"{BASH}set -ux\nset +e\nset -o pipefail\n# set -e\n"}, ["install.d/10-x"]),
        ({"install.d/e-source-install/10-x": "#!/usr/bin/env bash\n"}, ["install.d/e-source-install/10-x"]),
        ({"install.d/10-x": f"{BASH}# lint: EL204\n"}, ["install.d/10-x"]),
    ],
    "EL301": [
        ({LIST: "a: {phase: install.d\nb:\n"}, [f"{LIST}:2"]),
        ({LIST: ""}, [LIST]),
        ({LIST: "- a\n"}, [LIST]),
        ({LIST: "a:\nb: text\n"}, [f"{LIST}:2"]),
        ({LIST: "a:\n  build_only: true\n"}, [f"{LIST}:1"]),
        ({LIST: "a:\n  phase: root.d\n"}, [f"{LIST}:1"]),
        ({LIST: "a:\n  arch: amd64\n  not-arch: i386\n"}, [f"{LIST}:1"]),
        ({LIST: "a:\n\n'b':\n  - when: DIB_X\n"}, [f"{LIST}:3"]),
        ({LIST: "a:\n  when: [A = 1, 2]\n"}, [f"{LIST}:1"]),
        ({"package-installs.json": '{"a": 1}'}, ["package-installs.json"]),
    ],
    "EL302": [
        ({"pkg-map": '{\n  "default": {"a": "b",}\n}'}, ["pkg-map:2"]),
        ({"pkg-map": "[]"}, ["pkg-map:1"]),
        ({"pkg-map": '{\n "distros": {}\n}'}, ["pkg-map:2"]),
        ({"pkg-map": '{"default": {},\n "family": {"debian": "x"}}'}, ["pkg-map:2"]),
        ({"pkg-map": '{"release": {"debian": {"a": "b"}}}'}, ["pkg-map"]),
        ({"pkg-map": '{"default": {"a": 1}}'}, ["pkg-map"]),
    ],
    "EL401": [
        ({"element-deps": "tool\n", "install.d/50-tool": HOOK}, ["install.d/50-tool"]),
        ({"element-deps": "tool\n", "bin/helper": HOOK}, ["bin/helper"]),
        ({"element-deps": "tool\nother-tool\n"}, ["element-deps"]),
    ],
    "EL402": [
        ({"element-deps": "tool\n", "static/etc/tool.conf": "mine\n"}, ["static/etc/tool.conf"]),
        ({"element-deps": "tool\n", "source-repository-tool": "mine\n"}, ["source-repository-tool"]),
    ],
    "EL501": [
        ({"install.d/10-x": f"{HOOK}echo root:secret | chpasswd\n"}, ["install.d/10-x:3"]),
        ({"install.d/10-x": f"{HOOK}useradd -m -p $DIB_PASSWORD me\n"}, ["install.d/10-x:3"]),
        ({"post-root.d/10-x": f"{HOOK}\necho $X | sudo passwd --stdin root\n"}, ["post-root.d/10-x:4"]),
        ({"install.d/10-x": f"{HOOK}printf 'a\\na\\n' | passwd\n"}, ["install.d/10-x:3"]),
        ({"install.d/10-x": f"{HOOK}chpasswd < x # lint: EL502 the wrong rule\n"}, ["install.d/10-x:3"]),
    ],
    "EL502": [
        ({"install.d/10-x": f"{HOOK}cat key >> ~me/.ssh/authorized_keys\n"}, ["install.d/10-x:3"]),
        ({"extra-data.d/10-x": f"{HOOK}cp ~/.ssh/id_ed25519 $TMP_HOOKS_PATH\n"}, ["extra-data.d/10-x:3"]),
        ({"install.d/10-x": f"{HOOK}ssh-keygen -A\n"}, ["install.d/10-x:3"]),
    ],
    "EL503": [
        ({"static/etc/ssl/x.pem": f"{KEY}\nabc\n"}, ["static/etc/ssl/x.pem:1"]),
        ({"source-repository-x": "x git /opt/x https://me:hunter2@git.example/x\n"}, ["source-repository-x:1"]),
        ({"environment.d/10-x": "export DIB_API_TOKEN=abcdef\nexport MY_PASSWORD='x1'\n"},
         ["environment.d/10-x:1", "environment.d/10-x:2"]),
        ({"install.d/10-x": f"{HOOK}pip install -i https://0123456789abcdef0@pypi.example/simple x\n"},
         ["install.d/10-x:3"]),
    ],
}  # fmt: skip

FINE: Mapping[str, list[dict[str, str]]] = {
    "EL101": [{"README.rst": ""}, {"README.md": ""}, {"README": ""}],
    "EL102": [{"element-deps": "base\nvm\n"}, {}],
    "EL103": [{"element-deps": "base\noperating-system\n"}],
    "EL104": [
        {f"{phase}.d/10-x": HOOK for phase in ("root", "extra-data", "pre-finalise", "cleanup", "environment")},
        {"mine.d/x": "", "install.d/10-x": HOOK + 'for file in "$(dirname $0)/../mine.d"/*; do :; done\n'},
        {"init.d/x": ""},  # read by ramdisk-functions
        {"tests/postinstall.d/10-x": HOOK},
    ],
    "EL201": [
        {"install.d/10-x": HOOK, "environment.d/10-x": "export X=1\n", "install.d/data!": "some data\n"},
        {"install.d/10-x": HOOK + "cp first-boot /usr/bin\n", "install.d/first-boot!": HOOK},
        {"install.d/package-installs-x": "vim\n"},
        {"install.d/10-x!": f"{BASH}# lint: EL201 another element makes it executable\n"},
    ],
    "EL202": [{"install.d/10-x": HOOK, "install.d/10-py": "#!/usr/bin/env python3\n", "environment.d/10-x": "X=1\n"}],
    "EL203": [
        {"install.d/10-x_Y": HOOK, "environment.d/10-x.bash": "X=1\n", "install.d/e-source-install/10-x": HOOK},
        {"install.d/10-x": HOOK + "install 20-unit.sh /usr/bin\n", "install.d/20-unit.sh": HOOK},
        {"install.d/e-source-install/unit.service": "[Unit]\n", "install.d/data.txt": ""},
        {"install.d/files/motd": ""},
    ],
    "EL204": [
        {"install.d/10-x": f"{BASH}{line}\n"}
        for line in ("set -e", "set -eux", "  set -uxe", "set -u -e", "set -o errexit", "true; set -u -o errexit")
    ]
    + [
        {"install.d/10-x": "#!/bin/bash -e\n", "install.d/11-x": "#!/bin/sh -ue\n"},
        {"environment.d/10-x": "X=1\n", "install.d/10-py": "#!/usr/bin/python3\n", "bin/tool": BASH},
        {"install.d/10-x": f"{BASH}# lint: EL204, EL501 it looks at each exit status itself\n"},
        {"install.d/10-x": f"{BASH}# dib-lint: disable=setu sete\n"},
    ],
    "EL301": [
        {LIST: "a:\nb: {}\nc:\n  phase: post-install.d\nd:\n  - uninstall: True\n    when: A=1\n  - arch: i386\n"},
        {LIST: '{"a": null}', "package-installs.json": "{}"},
        {LIST: "a:\n  when:\n    - A != x y\n    - B =\n  dib_python_version: 3\n  installtype: source\n"},
    ],
    "EL302": [
        {"pkg-map": '{"default": {"a": "b", "c": ""}, "family": {"debian": {"a": null}}, "distro": {}}'},
        {"pkg-map": '{"release": {"debian": {"trixie": {"a": "b"}}}}'},
    ],
    "EL401": [
        {"element-deps": "tool\n", "install.d/50-mine": HOOK, "post-install.d/50-tool": HOOK},
        {"install.d/50-tool": HOOK},
        {"element-deps": "tool\n", "tests/test_tool": ""},
        {"element-deps": "both-tools\n"},
    ],
    "EL402": [
        {"element-deps": "tool\n", "static/etc/tool.conf": "theirs\n", "static/etc/mine.conf": "mine\n"},
        {"element-deps": "tool\n", "element-provides": "x\n", "pkg-map": "{}"},
    ],
    "EL501": [
        {"install.d/10-x": f"{HOOK}passwd -l root\nusermod --lock root\n# chpasswd\nuseradd -m me\n"},
        {"static/usr/bin/at-boot": f"{HOOK}chpasswd\n", "README.rst": "uses chpasswd"},
        {"install.d/10-x": f"{HOOK}# lint: EL501 what this element is for,\n# see the README\nchpasswd < x\n"},
        {"install.d/10-x": f"{HOOK}chpasswd < x  # lint: EL501 what this element is for\n"},
    ],
    "EL502": [
        {"install.d/10-x": f"{HOOK}rm -f /root/.ssh/authorized_keys\nsystemctl enable ssh-keygen.service\n"},
        {"install.d/10-x": f"{HOOK}ssh-keygen -l -f x\necho AuthorizedKeysFile .ssh/authorized_keys >> x\n"},
    ],
    "EL503": [
        {"install.d/10-x": f"{HOOK}git clone https://$USER:$TOKEN@x.example/y https://me@x.example/z\n"},
        {"environment.d/10-x": "export DIB_PASSWORD=$1\nPASSWORD=\nTOKEN=${TOKEN:-}\nSECRET=$(cat x)\n# TOKEN=abc\n"},
        {"README.rst": f"PASSWORD=secret\n{KEY}\n", "tests/key": KEY},
    ],
}

#: What the element under test may depend on
NEIGHBOURS = {
    "base/README.rst": "",
    "vm/element-provides": "operating-system\n",
    "tool/install.d/50-tool": HOOK,
    "tool/bin/helper": HOOK,
    "tool/static/etc/tool.conf": "theirs\n",
    "tool/source-repository-tool": "theirs\n",
    "other-tool/install.d/50-tool": HOOK,
    "both-tools/element-deps": "tool\nother-tool\n",
}
IMAGE_RULES = ("EL403", "EL404")


def found_in(tmp_path: Path, files: Mapping[str, str], rule: str) -> list[str]:
    """Where an element ``e`` with these files breaks a rule."""
    write(tmp_path, {**NEIGHBOURS, **{f"e/{name}": text for name, text in files.items()}})
    (tmp_path / "e").mkdir(exist_ok=True)
    known = read(tmp_path)
    found = lint.check(known, known.get(["e"]), [RULES[rule]])
    assert {each.rule.id for each in found} <= {rule}
    return [each.where for each in found]


def test_every_rule_is_tried_both_ways() -> None:
    assert BROKEN.keys() == FINE.keys() == RULES.keys() - {*IMAGE_RULES, shell.RULE}


@pytest.mark.parametrize(("rule", "files", "where"), [(id, *case) for id, cases in BROKEN.items() for case in cases])
def test_what_breaks_a_rule_is_found(tmp_path: Path, rule: str, files: dict[str, str], where: list[str]) -> None:
    assert found_in(tmp_path, files, rule) == where


@pytest.mark.parametrize(("rule", "files"), [(id, case) for id, cases in FINE.items() for case in cases])
def test_what_is_fine_is_not(tmp_path: Path, rule: str, files: dict[str, str]) -> None:
    assert found_in(tmp_path, files, rule) == []


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(["default", "a b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["default", "family", "distro", "release", "debian", "phase", "when", "arch", "uninstall", "x"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
texts = (
    anything.map(json.dumps) | st.text(max_size=30) | st.sampled_from(["[" * 100_000, "&a [*a]", "? [a]\n: b", "\0"])
)


@given(text=texts)
@settings(max_examples=300, deadline=None)
def test_nothing_that_an_element_holds_stops_lint_or_show(text: str) -> None:
    names = ("package-installs.yaml", "package-installs.json", "pkg-map", "element-deps", "element-provides", "svc-map")
    with tempfile.TemporaryDirectory() as directory:
        files = {f"e/{name}": text for name in (*names, "README.rst", "install.d/10-x", "environment.d/10-x")}
        known = read(write(Path(directory), files))
        (entry,) = known.get(["e"])
        rules = lint.choose([], [], False)
        assert schema_errors(report.as_json(lint.check(known, [entry], rules), ["e"], rules), "elements-lint") == []
        assert schema_errors(showing.as_json(known, entry, "debian", "trixie"), "elements-show") == []


def test_a_file_behind_a_link_belongs_to_the_element(tmp_path: Path) -> None:
    write(tmp_path, {"shared/10-x": BASH, "e/README.rst": ""})
    (tmp_path / "e/install.d").symlink_to(tmp_path / "shared")
    (tmp_path / "e/loop").symlink_to(tmp_path / "e")
    (tmp_path / "e/post-install.d").mkdir()
    (tmp_path / "e/post-install.d/10-gone").symlink_to("/nowhere")
    assert found_in(tmp_path, {}, "EL204") == ["install.d/10-x"]


def test_names_that_are_no_text_are_no_elements(tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    (tmp_path / "e/element-deps").write_bytes(b"base\n\xff\n")
    assert found_in(tmp_path, {}, "EL103") == ["element-deps:2"]


def test_binary_and_large_files_are_no_text(tmp_path: Path) -> None:
    write(tmp_path, {"e/static/blob": f"\0{KEY}\n", "e/static/large": f"{KEY}\n" + "x" * (1 << 20)})
    (tmp_path / "e/static/latin").write_bytes(b"\xe9 text\n")
    assert found_in(tmp_path, {}, "EL503") == []


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
@settings(max_examples=60, deadline=None)
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
        ("EL502", "local-config", "install.d/62-ssh-key:19"),
    } <= seen
    errors = [each for each in found if each.rule.severity is Severity.ERROR]
    assert len(errors) <= 10
