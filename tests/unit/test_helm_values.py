"""One environment definition taken apart into values for each chart, and the amphora's override."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from diskimage_create import cli, files
from diskimage_create.errors import InputError
from diskimage_create.helm import amphora, values

ENVIRONMENT = """\
global:
  region: RegionOne
  registry: &registry {host: quay.io, port: 443}
keystone: &keystone
  replicas: 3
  global:
    registry: {port: 5000}
    region: null
heat:
  <<: *keystone
  replicas: 1
  flags: {debug: "yes", release: "1.20", mode: "0755", day: '2024-01-01', version: 1e3}
ceph:
"""


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    path = tmp_path / "environment.yaml"
    path.write_text(ENVIRONMENT)
    return path


def run(capsys: Any, *arguments: str | Path) -> tuple[int, str, str]:
    status = cli.main(["values", *map(str, arguments)])
    out, err = capsys.readouterr()
    return status, out, err


def everything(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()} if directory.exists() else {}


# What Helm would make of it


#: What a reader may take for something else than text where it is plain
AMBIGUOUS = re.compile(r"[-+.:~=<A-Za-z0-9_ ]*", re.ASCII)


def seen(node: yaml.Node | None) -> Any:
    """A document as readers of YAML see it, whatever they take a plain scalar for: its spelling, and if it is plain."""
    if isinstance(node, yaml.MappingNode):
        return {key.value: seen(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [seen(item) for item in node.value]
    assert isinstance(node, yaml.ScalarNode)
    if node.tag.endswith(":null"):
        return None
    return (node.style is None and AMBIGUOUS.fullmatch(node.value) is not None, node.value)


def read(text: str) -> Any:
    """A document without anchors and aliases, as readers of YAML see it."""
    assert not any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader))
    return seen(yaml.compose(text, yaml.SafeLoader))


def merged(below: Any, above: Any) -> Any:
    """Helm's way with two files of values: mappings key by key, all else as a whole (``mergeMaps``)."""
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: merged(below.get(key), value) for key, value in above.items()}
    return above


def expected(text: str) -> dict[str, Any]:
    """Chart -> what Helm has of a file with ``global`` alone, and one with the chart's section."""
    whole = seen(yaml.compose(text, yaml.SafeLoader))
    shared = whole.pop("global", None)
    below = {"global": shared} if shared is not None else {}
    return {f"{chart}.yaml": merged(below, section or {}) for chart, section in whole.items()}


CHARTS = st.from_regex(r"\A[a-z][a-z0-9-]{0,6}\Z")
STYLES = st.sampled_from([None, None, "'", '"', "|", ">"])
TRICKY = ["yes", "1.20", "0755", "0o755", "1e3", "2024-01-01", "1_000", "null", "~", "", "010:20", ".inf", "0x1f", "-"]
TEXTS = st.one_of(st.sampled_from(TRICKY), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))


def scalar(text: str, style: str | None) -> yaml.Node:
    tag = yaml.SafeLoader("").resolve(yaml.ScalarNode, text, (style is None, True))
    return yaml.ScalarNode(tag, text, style=style)


KEYS = st.builds(
    scalar, st.text("abcd.-_", min_size=1, max_size=3).map("k{}".format), st.sampled_from([None, "'", '"'])
)
SCALARS = st.builds(scalar, TEXTS, STYLES)


def mapping(pairs: list[tuple[yaml.Node, yaml.Node]], flow: bool | None = None) -> yaml.Node:
    unique = {key.value: (key, value) for key, value in pairs}
    return yaml.MappingNode("tag:yaml.org,2002:map", list(unique.values()), flow_style=flow)


NODES = st.recursive(
    SCALARS,
    lambda nodes: st.one_of(
        st.builds(mapping, st.lists(st.tuples(KEYS, nodes), max_size=4), st.booleans()),
        st.lists(nodes, max_size=4).map(lambda items: yaml.SequenceNode("tag:yaml.org,2002:seq", items)),
        # The same node twice: an anchor and an alias
        nodes.map(lambda node: yaml.SequenceNode("tag:yaml.org,2002:seq", [node, node])),
    ),
    max_leaves=12,
)
MAPPINGS = st.builds(mapping, st.lists(st.tuples(KEYS, NODES), max_size=4))


@st.composite
def environments(draw: st.DrawFn) -> str:
    """The text of an environment definition, some of its content shared through anchors."""
    shared = draw(MAPPINGS)
    sections = {"global": draw(st.one_of(MAPPINGS, st.just(shared)))} if draw(st.booleans()) else {}
    for chart in draw(st.lists(CHARTS, min_size=1, max_size=4, unique=True)):
        own = draw(st.one_of(MAPPINGS, st.just(shared)))
        more = [(scalar("global", None), draw(st.one_of(MAPPINGS, st.just(shared))))] if draw(st.booleans()) else []
        sections[chart] = mapping([*own.value, *more])
    return yaml.serialize(mapping([(scalar(name, None), node) for name, node in sections.items()]), allow_unicode=True)


@given(text=environments())
def test_helm_merges_from_a_file_what_the_definition_says(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "environment.yaml"
    path.write_text(text, encoding="utf-8", newline="")
    parts = values.split(path)
    assert {name: read(part) for name, part in parts.texts.items()} == expected(text)
    assert values.split(path) == parts
    (umbrella,) = values.split(path, umbrella=True).texts.values()
    assert {f"{chart}.yaml": section for chart, section in read(umbrella).items()} == expected(text)


def test_strings_stay_strings_and_numbers_keep_their_spelling(environment: Path) -> None:
    heat = values.split(environment).texts["heat.yaml"]
    assert yaml.safe_load(heat)["flags"] | {"version": None} == {
        "debug": "yes", "release": "1.20", "mode": "0755", "day": "2024-01-01", "version": None
    }  # fmt: skip
    assert "version: 1e3\n" in heat  # a string to PyYAML, a number to Helm


# The files


def test_every_chart_gets_its_section_and_what_is_for_all(environment: Path, tmp_path: Path, capsys: Any) -> None:
    status, out, _ = run(capsys, "split", environment, "-o", tmp_path / "out")
    assert (status, out) == (0, "")
    read = {name: yaml.safe_load(text) for name, text in everything(tmp_path / "out").items()}
    common = {"region": "RegionOne", "registry": {"host": "quay.io", "port": 443}}
    special = {"region": None, "registry": {"host": "quay.io", "port": 5000}}
    assert read["keystone.yaml"] == {"replicas": 3, "global": special}
    assert read["heat.yaml"]["replicas"] == 1
    assert read["heat.yaml"]["global"] == special
    assert read["ceph.yaml"] == {"global": common}
    assert len(read) == 3


def test_a_section_of_nothing_is_an_empty_mapping(tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "e.yaml").write_text("ceph:\nnova: ~\nglance: {}\nglobal:\n")
    assert run(capsys, "split", tmp_path / "e.yaml", "-o", tmp_path / "out")[0] == 0
    assert {text.splitlines()[-1] for text in everything(tmp_path / "out").values()} == {"{}"}
    assert set(everything(tmp_path / "out")) == {"ceph.yaml", "nova.yaml", "glance.yaml"}


def test_an_umbrella_chart_gets_one_file(environment: Path, tmp_path: Path, capsys: Any) -> None:
    charts = tmp_path / "charts", tmp_path / "umbrella"
    assert run(capsys, "split", environment, "-o", charts[0])[0] == 0
    status, out, _ = run(capsys, "split", environment, "-o", charts[1], "--umbrella", "--print-args")
    assert (status, out) == (0, f"--values {charts[1]}/umbrella.yaml\n")
    (whole,) = (yaml.safe_load(text) for text in everything(charts[1]).values())
    parts = {name.removesuffix(".yaml"): yaml.safe_load(text) for name, text in everything(charts[0]).items()}
    assert whole == parts


def test_the_arguments_for_helm(environment: Path, tmp_path: Path, capsys: Any) -> None:
    out = run(capsys, "split", environment, "-o", tmp_path / "my values", "--print-args")[1]
    names = ("keystone", "heat", "ceph")
    assert out.splitlines() == [f"--values '{tmp_path}/my values/{name}.yaml'" for name in names]


def test_the_same_again_and_what_went_away(environment: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    run(capsys, "split", environment, "-o", out)
    first = everything(out)
    assert run(capsys, "split", environment, "-o", out)[0] == 0
    assert everything(out) == first
    environment.write_text("heat: {}\n")
    assert run(capsys, "split", environment, "-o", out)[0] == 0
    assert set(everything(out)) == {"heat.yaml"}


def test_files_of_others_are_left_alone(environment: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "heat.yaml").write_text("mine: 1\n")
    (out / "notes.txt").write_text("mine\n")
    before = everything(out)
    status, _, err = run(capsys, "split", environment, "-o", out)
    assert status == 2
    assert "heat.yaml, notes.txt" in err
    assert everything(out) == before
    assert run(capsys, "split", environment, "-o", out, "--force")[0] == 0
    after = everything(out)
    assert after["notes.txt"] == "mine\n"
    assert yaml.safe_load(after["heat.yaml"])["replicas"] == 1
    assert len(after) == 4


def test_the_definition_is_not_replaced_by_a_file_of_its_name(tmp_path: Path, capsys: Any) -> None:
    definition = tmp_path / "heat.yaml"
    definition.write_text("heat: {a: 1}\n")
    status, _, err = run(capsys, "split", definition, "-o", tmp_path, "--force")
    assert (status, everything(tmp_path)) == (2, {"heat.yaml": "heat: {a: 1}\n"})
    assert "heat.yaml is the definition" in err


@pytest.mark.parametrize("options", [(), ("--force",), ("--umbrella",)])
def test_the_definition_is_not_removed_as_a_file_of_an_earlier_run(
    options: tuple[str, ...], tmp_path: Path, capsys: Any
) -> None:
    (tmp_path / "first.yaml").write_text("heat: {a: 1}\n")
    run(capsys, "split", tmp_path / "first.yaml", "-o", tmp_path / "out", "--umbrella")
    before = everything(tmp_path / "out")
    assert run(capsys, "split", tmp_path / "out" / "umbrella.yaml", "-o", tmp_path / "out", *options)[0] == 2
    assert everything(tmp_path / "out") == before


def test_what_a_killed_run_has_left_is_in_nobodys_way(environment: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "out" / f"{files.TEMPORARY}x1y2").mkdir(parents=True)
    assert run(capsys, "split", environment, "-o", tmp_path / "out")[0] == 0


def test_all_files_or_none(environment: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    (out / "ceph.yaml").mkdir(parents=True)  # the last one cannot be written
    status, _, err = run(capsys, "split", environment, "-o", out, "--force")
    assert (status, [path.name for path in out.iterdir()]) == (2, ["ceph.yaml"])
    assert "ceph.yaml is a directory" in err
    (tmp_path / "file").touch()
    assert run(capsys, "split", environment, "-o", tmp_path / "file")[0] == 2


# What is wrong


WRONG = {
    "section: 5\n": ["section section must be a mapping, and is '5' (FILE:1)"],
    "a: {}\nb: [1]\nglobal: x\n": [
        "section b must be a mapping, and is a list (FILE:2)",
        "section global must be a mapping, and is 'x' (FILE:3)",
    ],
    "a: {}\nb:\n  c: 1\n  c: 2\na: {}\n": ["key 'c' is there twice (FILE:4)", "key 'a' is there twice (FILE:5)"],
    "../x: {}\n": ["'../x' cannot be the name of a chart (FILE:1)"],
    "a/b: {}\n.: {}\n..: {}\n.git: {}\n-o: {}\n'': {}\n\"a\\nb\": {}\n": [
        f"{name!r} cannot be the name of a chart (FILE:{line})"
        for line, name in enumerate(["a/b", ".", "..", ".git", "-o", "", "a\nb"], start=1)
    ],
    f"{'a' * 251}: {{}}\n": [f"'{'a' * 251}' cannot be the name of a chart (FILE:1)"],
    "a: {}\n---\nb: {}\n": ["is no YAML: expected a single document in the stream but found another document (FILE:2)"],
    "": ["the file is empty (FILE:1)"],
    "- a\n": ["the file is no mapping of charts (FILE:1)"],
    "text\n": ["the file is no mapping of charts (FILE:1)"],
    "global: {a: 1}\n": ["there is no section of a chart (FILE:1)"],
    "a: {b: *c}\n": ["is no YAML: found undefined alias (FILE:1)"],
    "a: {? [b] : c}\n": ["a key is no text (FILE:1)"],
}


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_nothing_is_written_of_what_is_wrong(text: str, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "e.yaml"
    path.write_text(text)
    status, _, err = run(capsys, "split", path, "-o", tmp_path / "out")
    errors = err.replace(str(path), "FILE").replace("YAML: while composing a node ", "YAML: ")
    found = "".join(line for line in errors.splitlines(keepends=True) if not line.startswith("hint: "))
    assert found.replace("error: ", "").splitlines() == "\n".join(WRONG[text]).splitlines()
    assert status == 2
    assert not (tmp_path / "out").exists()


def test_a_definition_that_is_not_there(tmp_path: Path, capsys: Any) -> None:
    assert run(capsys, "split", tmp_path / "no.yaml", "-o", tmp_path / "out")[0] == 2


def test_charts_that_there_are_not(environment: Path, tmp_path: Path, capsys: Any) -> None:
    charts = tmp_path / "charts"
    for name in ("keystone", "heat-api"):
        (charts / name).mkdir(parents=True)
        (charts / name / "Chart.yaml").write_text(f"name: {name}\n")
    (charts / "heat").mkdir()  # holds no chart
    arguments = ("split", environment, "-o", tmp_path / "out", "--charts-dir")
    status, _, err = run(capsys, *arguments, charts)
    assert status == 1
    assert f"there is no chart heat ({environment}:9)\nhint: did you mean heat-api?" in err
    assert f"there is no chart ceph ({environment}:13)" in err
    assert not (tmp_path / "out").exists()
    (charts / "heat" / "Chart.yaml").write_text("name: heat\n")
    (charts / "ceph-0.1.0.tgz").touch()
    assert run(capsys, *arguments, charts)[0] == 0
    assert run(capsys, *arguments, tmp_path / "none")[0] == 2


# The amphora


@pytest.mark.parametrize("owner", ["0f1e2d3c4b5a69788796a5b4c3d2e1f0", "12345678901234567890123456789012", "12e34"])
def test_the_amphora_of_the_octavia_chart(owner: str, capsys: Any) -> None:
    status, out, _ = run(capsys, "amphora", "--tag", "1.20", "--owner-id", owner)
    assert status == 0
    worker = read(out)["conf"]["octavia"]["controller_worker"]
    assert worker == {"amp_image_tag": (False, "1.20"), "amp_image_owner_id": (False, owner)}
    assert list(yaml.safe_load(out)) == ["conf"]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text("0123456789abcdef-", min_size=1, max_size=64))
def test_any_tag_that_can_be_one_is_read_back(tag: str, owner: str) -> None:
    try:
        text = amphora.override(tag, owner)
    except InputError:
        assert "$" in tag or not tag.isprintable() or tag != tag.strip() or not 0 < len(tag) <= 255
    else:
        worker = {"amp_image_tag": tag, "amp_image_owner_id": owner}
        assert yaml.safe_load(text) == {"conf": {"octavia": {"controller_worker": worker}}}


def test_all_that_is_wrong_with_an_amphora_at_once(capsys: Any) -> None:
    status, out, err = run(capsys, "amphora", "--tag", "a$b", "--owner-id", "two words")
    assert (status, out, err.count("error: ")) == (2, "", 2)


def test_a_record_says_which_amphora_it_is(tmp_path: Path, capsys: Any) -> None:
    record = {
        "schema": 1,
        "artifacts": [{"type": "qcow2", "path": "a.qcow2", "sha256": "0" * 64, "bytes": 1}],
        "fingerprint": f"sha256:{'1' * 64}",
        **{
            "packages": [],
            "resolved_elements": [{"name": "amphora-agent", "digest": "sha256:0"}],
            "inputs": {},
            "environment": {},
            "tools": {},
        },
    }
    path = tmp_path / "a.qcow2.json"
    arguments = ("amphora", "--tag", "a", "--owner-id", "b")
    plain = run(capsys, *arguments)[1]
    path.write_text(json.dumps(record))
    status, out, _ = run(capsys, *arguments, "--record", path)
    comment = f"# a.qcow2, sha256 {'0' * 64}, made of the inputs sha256:{'1' * 64}\n"
    assert (status, out) == (0, comment + plain)
    path.write_text(json.dumps(record | {"resolved_elements": []}))
    status, out, err = run(capsys, *arguments, "--record", path)
    assert (status, out) == (2, "")
    assert "the image is no amphora" in err
    path.write_text("{}")
    assert run(capsys, *arguments, "--record", path)[0] == 2
    assert run(capsys, *arguments, "--record", tmp_path / "none")[0] == 2
