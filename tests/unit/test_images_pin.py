"""Which images an override replaces, and how tags are looked up and held."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from chart_tree import DISTINCT, references
from chart_tree import write as write_charts
from counting_registry import Counts, counting_registry, digest
from hypothesis import given
from hypothesis import strategies as st

from diskimage_create import cli
from diskimage_create.errors import InputError
from diskimage_create.helm import pinning, selecting
from diskimage_create.helm.model import Kind
from diskimage_create.helm.pinning import Pin
from diskimage_create.references import parse
from diskimage_create.registries import labels

KINDS = (Kind.VALUES, Kind.CONTAINER, Kind.TRIPLEO)
DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.fixture
def registry() -> Iterator[Counts]:
    with counting_registry() as counts:
        yield counts


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


def write(files: dict[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


def run(capsys: Any, *arguments: str | Path, registry: Counts | None = None) -> tuple[int, str, str]:
    more = ["--insecure-registry", registry.host] if registry else []
    status = cli.main(["images", "pin", *map(str, arguments), *more])
    out, err = capsys.readouterr()
    return status, out, err


def override(*paths: str) -> selecting.Override:
    """With ``REFERENCE!`` for every image."""
    selection = selecting.select([Path(path) for path in paths])
    return selecting.override(selection, {image: f"{image.text}!" for image in selection.images}, KINDS)


# What an override replaces


def merged(below: Any, above: Any) -> Any:
    """Helm's way with two files of values: mappings key by key, all else as a whole."""
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {key: merged(below.get(key), value) for key, value in above.items()}
    return above


REFERENCES = st.sampled_from(["quay.io/a/b:1", "docker.io/library/c:2", "localhost:5000/d:x", "registry.test/e/f:3"])
IMAGES = st.dictionaries(st.sampled_from(["api", "db_init", "dep_check", "engine"]), REFERENCES, min_size=1)
LAYOUTS = st.one_of(
    IMAGES.map(lambda images: {**images, "pull_policy": "Always"}),
    IMAGES.map(lambda images: {"tags": images, "pull_policy": "Never", "local_registry": {"active": False}}),
)
CHARTS = st.tuples(LAYOUTS, REFERENCES, st.integers(), st.text("xyz")).map(
    lambda parts: {"images": parts[0], "sidecar": {"image": parts[1], "count": parts[2]}, "name": parts[3]}
)
VALUES = st.one_of(CHARTS, st.dictionaries(st.sampled_from(["heat", "nova", "glance"]), CHARTS, min_size=1))


def replaced(content: Any) -> Any:
    """With ``!`` after each reference."""
    if isinstance(content, dict):
        return {key: replaced(value) for key, value in content.items()}
    return f"{content}!" if isinstance(content, str) and "/" in content else content


@given(VALUES)
def test_helm_replaces_all_references_and_nothing_else(values: Any) -> None:
    write({"values.yaml": yaml.safe_dump(values)})
    made = override("values.yaml")
    assert merged(values, made.data) == replaced(values)
    assert made.left == ()


def test_what_is_in_a_list_or_a_template_stays(capsys: Any, registry: Counts) -> None:
    host = registry.host
    write(
        {
            "heat/Chart.yaml": "name: heat\n",
            "heat/values.yaml": f"images: {{tags: {{api: {host}/a:1}}}}\ncontainers:\n- {{image: {host}/b:1}}\n",
            "heat/templates/job.yaml": f"kind: Job\nspec:\n  image: {host}/c:1\n",
        }
    )
    status, out, err = run(capsys, "heat", registry=registry)
    assert status == 0
    assert yaml.safe_load(out) == {"images": {"tags": {"api": f"{host}/a:1@{digest('/v2/a/manifests/1')}"}}}
    assert "containers.0.image (heat/values.yaml:3) stays" in err
    assert "line 3 (heat/templates/job.yaml:3) stays" in err


def test_several_charts_have_a_section_each() -> None:
    write(
        {
            "charts/heat/Chart.yaml": "name: heat\n",
            "charts/heat/values.yaml": "images: {api: quay.io/a:1}\n",
            "charts/nova/Chart.yaml": "name: nova\n",
            "charts/nova/values.yaml": "images: {tags: {api: quay.io/a:1}}\n",
        }
    )
    heat, nova = {"images": {"api": "quay.io/a:1!"}}, {"images": {"tags": {"api": "quay.io/a:1!"}}}
    assert override("charts").data == {"heat": heat, "nova": nova}
    assert override("charts/nova").data == nova
    assert override("charts/nova/values.yaml", "charts/heat/values.yaml").data == {"heat": heat, "nova": nova}


def test_values_of_sub_charts_are_in_those_of_their_chart() -> None:
    """Where Helm reads them when it installs the chart; what the chart says of them wins."""
    write(
        {
            "site/Chart.yaml": "name: site\n",
            "site/values.yaml": "images: {a: quay.io/a:1}\nheat: {images: {tags: {b: quay.io/b:2}}}\n",
            "site/charts/heat/Chart.yaml": "name: heat\n",
            "site/charts/heat/values.yaml": "images: {tags: {b: quay.io/b:1, c: quay.io/c:1}}\n",
            "site/charts/heat/charts/db/Chart.yaml": "name: db\n",
            "site/charts/heat/charts/db/values.yaml": "images: {d: quay.io/d:1}\n",
        }
    )
    heat = {"images": {"tags": {"b": "quay.io/b:2!", "c": "quay.io/c:1!"}}, "db": {"images": {"d": "quay.io/d:1!"}}}
    assert override("site").data == {"images": {"a": "quay.io/a:1!"}, "heat": heat}
    assert override("site/charts/heat").data["images"] == {"tags": {"b": "quay.io/b:1!", "c": "quay.io/c:1!"}}


def test_an_environment_definition_keeps_its_sections() -> None:
    write({"env.yaml": "heat: {images: {tags: {api: quay.io/a:1}}}\nnova: {images: {tags: {api: quay.io/b:1}}}\n"})
    assert override("env.yaml").data == {
        "heat": {"images": {"tags": {"api": "quay.io/a:1!"}}},
        "nova": {"images": {"tags": {"api": "quay.io/b:1!"}}},
    }


def test_values_of_no_chart_do_not_go_with_charts() -> None:
    write(
        {
            "heat/Chart.yaml": "name: heat\n",
            "heat/values.yaml": "images: {api: quay.io/a:1}\n",
            "other.yaml": "images: {api: quay.io/b:1}\n",
        }
    )
    with pytest.raises(InputError, match=r"images\.api is of no chart.*other\.yaml:1"):
        override("heat", "other.yaml")


def test_alternatives_count_when_they_are_named() -> None:
    alternative = "heat/values_overrides/2025.1-ubuntu_noble.yaml"
    write(
        {
            "heat/Chart.yaml": "name: heat\n",
            "heat/values.yaml": "images: {tags: {api: quay.io/a:1, engine: quay.io/e:1}}\n",
            alternative: "images: {tags: {api: quay.io/a:2}}\n",
        }
    )
    made = override("heat")
    assert made.data == {"images": {"tags": {"api": "quay.io/a:1!", "engine": "quay.io/e:1!"}}}
    assert made.alternatives == (Path(alternative),)
    made = override("heat", alternative)
    assert made.data == {"images": {"tags": {"api": "quay.io/a:2!", "engine": "quay.io/e:1!"}}}
    assert made.alternatives == ()
    assert override(alternative, "heat") == made
    write({"heat/values_overrides/a.yaml": "images: {tags: {api: quay.io/a:3}}\n"})
    assert override("heat", alternative, "heat/values_overrides/a.yaml").data["images"]["tags"]["api"] == "quay.io/a:3!"


def test_files_that_nobody_named_may_not_contradict_each_other() -> None:
    write({"all/a.yaml": "images: {api: quay.io/a:1}\n", "all/b.yaml": "images: {api: quay.io/a:2}\n"})
    with pytest.raises(InputError, match=r"images\.api is quay\.io/a:2, and quay\.io/a:1 in all/a\.yaml:1"):
        override("all")
    assert override("all/b.yaml", "all/a.yaml").data == {"images": {"api": "quay.io/a:1!"}}


def test_parameters_of_tripleo_stay_parameters() -> None:
    write({"env.yaml": "parameter_defaults:\n  ContainerHeatApiImage: quay.io/a:1\n  Other: 1\n"})
    assert override("env.yaml").data == {"parameter_defaults": {"ContainerHeatApiImage": "quay.io/a:1!"}}


# Looking up


def test_112_images_of_80_charts_are_asked_for_once_each_and_16_at_once(registry: Counts, capsys: Any) -> None:
    write_charts(Path("charts"))
    for path in Path("charts").rglob("*.yaml"):
        path.write_text(path.read_text().replace("quay.io", registry.host))
    registry.gather = 16
    status, out, _ = run(capsys, "charts", "--lock", "lock.yaml", registry=registry)
    assert status == 0
    assert (len(registry.asked), len(set(registry.asked))) == (DISTINCT, DISTINCT)
    assert registry.most >= 16
    locked = yaml.safe_load(Path("lock.yaml").read_text())["images"]
    assert list(locked) == sorted(name.replace("quay.io", registry.host) for name in references())
    assert len(yaml.safe_load(out)) == 80
    first = Path("lock.yaml").read_text()
    assert run(capsys, "charts", "--lock", "lock.yaml", registry=registry)[1] == out
    assert Path("lock.yaml").read_text() == first


def test_names_of_one_image_are_one_question(registry: Counts, capsys: Any) -> None:
    write({"a.yaml": f"images: {{a: {registry.host}/a:1, b: {registry.host}/a:1, c: '{registry.host}/b@{DIGEST}'}}\n"})
    status, out, _ = run(capsys, "a.yaml", registry=registry)
    assert status == 0
    assert registry.asked == ["/v2/a/manifests/1"]
    images = yaml.safe_load(out)["images"]
    assert images["a"] == images["b"] == f"{registry.host}/a:1@{digest('/v2/a/manifests/1')}"
    assert images["c"] == f"{registry.host}/b@{DIGEST}"
    assert not Path("images.lock.yaml").exists()  # who wants to see what comes out wants no files


def test_unknown_tags_are_named_with_their_keys(registry: Counts, capsys: Any) -> None:
    write({"a.yaml": f"images:\n  a: {registry.host}/a:no-1\n  b: {registry.host}/a:no-1\n  c: {registry.host}/c:1\n"})
    arguments = ("a.yaml", "-o", "out.yaml", "--lock", "lock.yaml")
    status, _, err = run(capsys, *arguments, registry=registry)
    assert status == 1
    assert f"{registry.host}/a:no-1: the registry has no such image, for images.a (a.yaml:2), images.b" in err
    assert not Path("out.yaml").exists()
    assert not Path("lock.yaml").exists()
    status, _, err = run(capsys, *arguments, "--keep-going", registry=registry)
    assert status == 1
    assert "no such image" in err
    assert list(yaml.safe_load(Path("out.yaml").read_text())["images"]) == ["c"]
    assert list(yaml.safe_load(Path("lock.yaml").read_text())["images"]) == [f"{registry.host}/c:1"]


def test_a_registry_that_does_not_answer_is_no_finding(capsys: Any) -> None:
    with counting_registry() as gone:
        pass
    write({"a.yaml": f"images: {{a: {gone.host}/a:1}}\n"})
    status, out, err = run(capsys, "a.yaml", "--insecure-registry", gone.host)
    assert (status, out) == (6, "")
    assert "images.a (a.yaml:1)" in err


# The lock


def test_drift_is_told_and_nothing_is_written(registry: Counts, capsys: Any) -> None:
    write({"a.yaml": f"images: {{a: {registry.host}/a:1, b: {registry.host}/b:1}}\n"})
    assert run(capsys, "a.yaml", "-o", "out.yaml", registry=registry)[0] == 0
    status, out, _ = run(capsys, "a.yaml", "--check", registry=registry)
    assert (status, out) == (0, "")
    assert run(capsys, "a.yaml", "--check", "--lock", "other.yaml", registry=registry)[0] == 2
    lock = Path("images.lock.yaml")
    moved = lock.read_text().replace(digest("/v2/a/manifests/1"), DIGEST)
    lock.write_text(moved)
    Path("a.yaml").write_text(f"images: {{a: {registry.host}/a:1, c: {registry.host}/c:1}}\n")
    Path("out.yaml").unlink()
    status, out, _ = run(capsys, "a.yaml", "--check", "-o", "out.yaml", registry=registry)
    assert status == 1
    assert out.splitlines() == [
        f"{registry.host}/a:1: was {DIGEST}, is {digest('/v2/a/manifests/1')}, for images.a (a.yaml:1)",
        f"{registry.host}/c:1: not in the lock, for images.c (a.yaml:1)",
        f"{registry.host}/b:1: in the lock, but nothing names it",
    ]
    assert lock.read_text() == moved
    assert not Path("out.yaml").exists()


PINS = st.builds(Pin, st.sampled_from([DIGEST, DIGEST[:-1] + "0"]), st.none() | st.sampled_from(["1.20", "yes", "a"]))


@given(st.dictionaries(st.sampled_from(["a", "quay.io/b:1", f"quay.io/c@{DIGEST}", "x:yes"]).map(parse), PINS))
def test_a_lock_is_read_as_it_was_written(pins: dict[Any, Pin]) -> None:
    Path("lock.yaml").write_text(pinning.lock_text(pins))
    assert pinning.read_lock(Path("lock.yaml")) == {str(reference): pin for reference, pin in pins.items()}


@pytest.mark.parametrize(
    "text", ["", "schema: 2\nimages: {}\n", "schema: 1\nimages: {a: {digest: x}}\n", "schema: 1\nimages: {a: {}}\n"]
)
def test_a_lock_that_is_none(text: str, capsys: Any) -> None:
    write({"a.yaml": "images: {a: quay.io/a:1}\n", "lock.yaml": text})
    assert run(capsys, "a.yaml", "--check", "--lock", "lock.yaml")[0] == 2


def test_a_lock_that_is_not_there(capsys: Any) -> None:
    write({"a.yaml": "images: {a: quay.io/a:1}\n"})
    status, _, err = run(capsys, "a.yaml", "--check")
    assert status == 2
    assert "images.lock.yaml" in err


# What is wrong


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("images: {a: 'quay.io/A:1', b: 'x y'}\n", ["'quay.io/A:1' is no reference", "'x y' is no reference"]),
        ("images: {a: [}\n", ["is no YAML"]),
        ("images:\n  a: quay.io/a:1\n  a: quay.io/a:2\n", ["key 'a' is there twice"]),
        ("other: 1\n", ["no image is named"]),
    ],
)
def test_nothing_is_asked_about_what_is_wrong(text: str, found: list[str], capsys: Any) -> None:
    write({"a.yaml": text})
    status, out, err = run(capsys, "a.yaml", "-o", "out.yaml")
    assert (status, out, err.count("error: ")) == (2, "", len(found))
    assert [each for each in found if each not in err] == []
    assert not Path("out.yaml").exists()


def test_an_input_is_never_replaced(capsys: Any) -> None:
    write({"d/a.yaml": "images: {a: quay.io/a:1}\n"})
    assert run(capsys, "d/a.yaml", "-o", "./d/../d/a.yaml")[0] == 2
    assert Path("d/a.yaml").read_text() == "images: {a: quay.io/a:1}\n"


def test_what_is_read_is_never_replaced_even_without_images(capsys: Any) -> None:
    pinned = f"images: {{a: quay.io/a@{DIGEST}}}\n"
    files = {"heat/Chart.yaml": "name: heat\n", "heat/values.yaml": pinned, "more.yaml": "pods: 1\n"}
    write(files)
    Path("link.yaml").symlink_to("heat/values.yaml")
    for output in ("heat/Chart.yaml", "more.yaml", "link.yaml"):
        for option in ("-o", "--lock"):
            status, out, err = run(capsys, "heat", "more.yaml", option, output)
            assert (status, out) == (2, "")
            assert f"{output} is read, and would be replaced (--{'lock' if option == '--lock' else 'output'})" in err
    assert {name: Path(name).read_text() for name in files} == files
    assert Path("link.yaml").is_symlink()


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (["-o", "no/out.yaml"], "--output"),
        (["-o", "a.yaml/out.yaml"], "--output"),
        (["-o", "d"], "--output"),
        (["-o", "out.yaml", "--lock", "no/lock.yaml"], "--lock"),
        (["-o", "out.yaml", "--lock", "d/../out.yaml"], "--lock"),
        (["--lock", "d"], "--lock"),
    ],
)
def test_outputs_are_looked_at_before_a_registry_is(
    options: list[str], where: str, registry: Counts, capsys: Any
) -> None:
    write({"a.yaml": f"images: {{a: '{registry.host}/a:1'}}\n", "d/other": ""})
    status, out, err = run(capsys, "a.yaml", *options, registry=registry)
    assert (status, out, registry.asked) == (2, "", [])
    assert f"({where})" in err
    assert not Path("out.yaml").exists()


def test_a_dash_is_standard_output(capsys: Any) -> None:
    write({"a.yaml": f"images: {{a: quay.io/a@{DIGEST}}}\n"})
    status, out, _ = run(capsys, "a.yaml", "-o", "-")
    assert (status, yaml.safe_load(out)) == (0, {"images": {"a": f"quay.io/a@{DIGEST}"}})
    assert [path.name for path in Path().iterdir()] == ["a.yaml"]


def test_a_lock_that_is_compared_with_may_be_any_file(capsys: Any) -> None:
    write({"a.yaml": f"images: {{a: quay.io/a@{DIGEST}}}\n"})
    status, _, err = run(capsys, "a.yaml", "--check", "--lock", "a.yaml")
    assert status == 2
    assert "replaced" not in err


@pytest.mark.parametrize("by", ["tag", "label:", "label:{a", "label:a}", "label:{}", "label:{a}/{b}"])
def test_what_images_cannot_be_pinned_by(by: str, capsys: Any) -> None:
    write({"a.yaml": "images: {a: quay.io/a:1}\n"})
    status, _, err = run(capsys, "a.yaml", "--by", by)
    assert status == 2
    assert "(--by)" in err


def test_labels_make_no_digests(capsys: Any) -> None:
    write({"a.yaml": "images: {a: quay.io/a:1}\n"})
    assert run(capsys, "a.yaml", "--by", "label:version", "--format", "digest")[0] == 2


# Tags of labels


@pytest.mark.parametrize(
    ("template", "tag"),
    [("rdo_version", "3541_4352"), ("{version}-{release}", "1.2-7"), ("v{version}", "v1.2"), ("{version}", "1.2")],
)
def test_labels_make_a_tag(template: str, tag: str) -> None:
    assert labels.tag(template, {"rdo_version": "3541_4352", "version": "1.2", "release": "7"}) == tag


@pytest.mark.parametrize("template", ["missing", "{version}-{missing}", "odd", "{odd}"])
def test_labels_that_make_no_tag(template: str) -> None:
    with pytest.raises(labels.NoSuchTag, match=r"missing|cannot be a tag"):
        labels.tag(template, {"version": "1", "odd": "a b"})
