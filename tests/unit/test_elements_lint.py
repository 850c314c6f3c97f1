"""Each rule of ``elements lint``, with elements that break it and elements that do not."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_elements import HOOK, NEIGHBOURS, read, write

from contract import schema_errors
from diskimage_create.catalogue import lint, showing
from diskimage_create.catalogue.lint import report, shell
from diskimage_create.catalogue.lint.model import RULES

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
@settings(max_examples=300)
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
