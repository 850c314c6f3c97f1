"""Which images are found in which files, and where."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import chart_tree
import pytest

from diskimage_create.helm import placeholders
from diskimage_create.helm.model import Found, Kind, Layout
from diskimage_create.helm.reading import read


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(files: Mapping[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)


def of(text: str, name: str = "file.yaml") -> Found:
    write({name: text})
    return read([name])


def texts(found: Found) -> list[str]:
    return [each.text for each in found.images]


def places(found: Found) -> list[tuple[str, int, str]]:
    return [(".".join(map(str, each.place)), each.line, each.text) for each in found.images]


# values


def test_values_of_2017() -> None:
    found = of("images:\n  api: docker.io/kolla/heat-api:3.0.1\n  x: null\n  pull_policy: Never\n  sizes: {a: b}\n")
    assert places(found) == [("images.api", 2, "docker.io/kolla/heat-api:3.0.1")]
    (section,) = found.sections
    assert (section.layout, section.place) == (Layout.FLAT, ("images",))
    assert [key.text for key in section.keys] == ["api", "x"]
    assert section.pull_policy is not None
    assert (section.pull_policy.text, section.pull_policy.line) == ("Never", 4)


def test_values_of_today() -> None:
    text = (
        "images:\n  tags:\n    db_init: quay.io/airshipit/heat:2025.1\n    test: null\n  pull_policy: Always\n"
        "  local_registry:\n    active: false\n    exclude: [dep_check]\n  other: quay.io/x/y:1\n"
    )
    found = of(text)
    assert places(found) == [("images.tags.db_init", 3, "quay.io/airshipit/heat:2025.1")]
    (image,) = found.images
    assert (image.kind, image.key, image.chart, image.error) == (Kind.VALUES, "db_init", None, None)
    assert str(image.reference) == image.text
    (section,) = found.sections
    assert section.layout is Layout.TAGS
    assert [word.text for word in section.keys] == ["db_init", "test"]
    assert [(word.text, word.line) for word in section.excluded] == [("dep_check", 8)]


def test_one_environment_for_several_charts() -> None:
    text = (
        "global: {region: here}\n"
        "heat:\n  images:\n    tags: {api: quay.io/a/heat:1}\n    pull_policy: Always\n"
        "nova:\n  images: {api: quay.io/a/nova:1}\n"
        "conf:\n  images: {x: 'a/b:c'}\n"
        "glance:\n  bootstrap:\n    structured:\n      images: {cirros: {name: x:y, image_file: a/b}}\n"
        "outer:\n  inner:\n    images: {tags: {z: quay.io/a/z:1}}\n"
    )
    found = of(text)
    assert [(each.chart, each.text) for each in found.images] == [
        ("heat", "quay.io/a/heat:1"),
        ("nova", "quay.io/a/nova:1"),
        ("inner", "quay.io/a/z:1"),
    ]
    assert [section.chart for section in found.sections] == ["heat", "nova", "inner"]


def test_what_is_no_text_is_no_reference() -> None:
    found = of("images:\n  tags: {a: 1.20, b: [x], c: {d: e}, d: true}\n")
    assert [(each.key, each.text, each.reference) for each in found.images] == [
        ("a", "1.20", None),
        ("b", "", None),
        ("c", "", None),
        ("d", "true", None),
    ]
    assert all(each.error and not each.unfinished for each in found.images)


@pytest.mark.parametrize("text", ["images: 3", "images: {tags: }", "3", "[]", "", "a: [[{}]]"])
def test_what_has_another_form_has_no_images(text: str) -> None:
    found = of(text)
    assert found.images == ()
    assert found.problems == ()


def test_anchors_aliases_and_merge_keys() -> None:
    text = (
        "base: &base\n  api: quay.io/a/b:1\n  db: quay.io/a/c:1\n"
        "heat:\n  images:\n    tags:\n      <<: *base\n      db: quay.io/a/d:2\n"
        "nova:\n  images:\n    tags: *base\n"
    )
    found = of(text)
    assert places(found) == [
        ("heat.images.tags.api", 2, "quay.io/a/b:1"),
        ("heat.images.tags.db", 8, "quay.io/a/d:2"),
        ("nova.images.tags.api", 2, "quay.io/a/b:1"),
        ("nova.images.tags.db", 3, "quay.io/a/c:1"),
    ]
    assert found.problems == ()


def test_a_key_that_is_there_twice_is_a_problem_and_the_last_one_counts() -> None:
    found = of("images:\n  tags:\n    a: quay.io/a/b:1\n    a: quay.io/a/b:2\n")
    assert texts(found) == ["quay.io/a/b:2"]
    assert [str(problem) for problem in found.problems] == ["key 'a' is there twice (file.yaml:4)"]


def test_several_documents_in_one_file() -> None:
    found = of("images: {a: quay.io/a/b:1}\n---\nimages: {a: quay.io/a/b:2}\n...\n")
    assert [(each.text, each.line, each.document) for each in found.images] == [
        ("quay.io/a/b:1", 1, 0),
        ("quay.io/a/b:2", 3, 1),
    ]


# placeholders


def test_placeholders_are_masked() -> None:
    text = (
        "port: %%%REPLACE_API_PORT%%%\nimages:\n  tags:\n    a: %%%REPLACE_REGISTRY%%%/heat:1\n"
        "    b: quay.io/a/b:%%%REPLACE_TAG%%%\n    %%%REPLACE_KEY%%%: '%%%REPLACE_ALL%%%'\n    c: quay.io/a/c:1\n"
    )
    found = of(text)
    assert found.problems == ()
    assert [(each.text, each.unfinished) for each in found.images] == [
        ("%%%REPLACE_REGISTRY%%%/heat:1", True),
        ("quay.io/a/b:%%%REPLACE_TAG%%%", True),
        ("%%%REPLACE_ALL%%%", True),
        ("quay.io/a/c:1", False),
    ]
    assert found.images[2].place == ("images", "tags", "%%%REPLACE_KEY%%%")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("%%%REPLACE_R%%%/heat:1", "placeholder.invalid/heat:1"),
        ("%%%REPLACE_R%%%:5000/heat:1", "placeholder.invalid:5000/heat:1"),
        ("quay.io/%%%REPLACE_N%%%/heat:1", "quay.io/placeholder/heat:1"),
        ("quay.io/a/b:{{ .Values.tag }}", "quay.io/a/b:placeholder"),
        ("{{ .Values.a }}/{{ .Values.b }}:1", "placeholder.invalid/placeholder:1"),
        ("quay.io/A B/%%%REPLACE_N%%%", None),
    ],
)
def test_the_other_parts_of_an_unfinished_name(text: str, expected: str | None) -> None:
    reference = placeholders.stand_in(text)
    assert (str(reference) if reference else None) == expected


# containers


def test_images_of_containers() -> None:
    text = (
        "conf:\n  glance:\n    image: service/storage/image\n  sidecar: {image: 'quay.io/a/b:1'}\n"
        "  short: {image: 'cirros:1'}\n"
        "pod:\n  extraContainers:\n    - name: side\n      image: nginx\n      imagePullPolicy: sometimes\n"
        "    - {image: 'Not valid'}\n"
        "other: {image: service/storage/image}\n"
        "exporter: {image: 'prom/exporter:v1'}\n"
        "test: {image: '{{ .Values.x }}'}\n"
        "image: quay.io/a/top\n"
    )
    found = of(text)
    assert [(each.text, each.key, each.line) for each in found.images] == [
        ("quay.io/a/top", "image", 15),
        ("quay.io/a/b:1", "sidecar", 4),
        ("nginx", "side", 9),
        ("Not valid", "1", 11),
        ("prom/exporter:v1", "exporter", 13),
    ]
    assert {each.kind for each in found.images} == {Kind.CONTAINER}
    assert [(policy.text, policy.line) for policy in found.pull_policies] == [("sometimes", 10)]


def test_manifests_of_kubernetes() -> None:
    text = (
        "kind: Deployment\nspec:\n  template:\n    spec:\n      initContainers: [{name: i, image: a/b}]\n"
        "      containers:\n      - name: c\n        image: c:1\n---\nkind: Service\n"
    )
    assert [(each.text, each.key) for each in of(text).images] == [("a/b", "i"), ("c:1", "c")]


# TripleO's files, and lists


def test_container_images_of_tripleo() -> None:
    text = (
        "container_images:\n- image_source: kolla\n  imagename: 192.168.24.1:8787/tripleo/heat-api:current-tripleo\n"
        "- imagename: null\n- {}\n"
    )
    (image,) = of(text).images
    assert (image.kind, image.place, image.line) == (Kind.TRIPLEO, ("container_images", 0, "imagename"), 3)
    assert texts(of("- imagename: quay.io/a/b:1\n")) == ["quay.io/a/b:1"]


def test_environments_of_tripleo() -> None:
    text = (
        "parameter_defaults:\n  ContainerHeatApiImage: quay.io/a/heat-api:1\n  DockerNovaImage: quay.io/a/nova:1\n"
        "  ContainerImageRegistryLogin: true\n  ContainerNovaComputeImageX: no\n  ContainerEmptyImage: ''\n"
        "resource_registry:\n  ContainerOtherImage: ../a.yaml\n"
    )
    assert [(each.key, each.text) for each in of(text).images] == [
        ("ContainerHeatApiImage", "quay.io/a/heat-api:1"),
        ("DockerNovaImage", "quay.io/a/nova:1"),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("images.txt", "# ours\nquay.io/a/b:1\n\n  localhost:5000/c:2   # c\n"),
        ("images", "quay.io/a/b:1\nlocalhost:5000/c:2\n"),
        ("images.yaml", "# ours\n- quay.io/a/b:1\n\n- localhost:5000/c:2\n"),
        ("list.txt", "---\n- quay.io/a/b:1\n- 'localhost:5000/c:2'\n"),
        ("more.yaml", "images:\n- quay.io/a/b:1\n- localhost:5000/c:2\n"),
    ],
)
def test_lists(name: str, text: str) -> None:
    found = of(text, name)
    assert texts(found) == ["quay.io/a/b:1", "localhost:5000/c:2"]
    assert {each.kind for each in found.images} == {Kind.LIST}
    lines = text.splitlines()
    assert all(each.text in lines[each.line - 1] for each in found.images)


# charts

CHART = {
    "heat/Chart.yaml": "name: heat\nversion: 1.0.0\n",
    "heat/values.yaml": "images:\n  tags: {api: quay.io/a/heat:1}\n",
    "heat/values_overrides/2025.1-ubuntu_noble.yaml": "images: {tags: {api: quay.io/a/heat:2}}\n",
    "heat/values_overrides/deeper/x.yaml": "images: {tags: {api: quay.io/a/heat:3}}\n",
    "heat/templates/job.yaml": "spec:\n  image: {{ .Values.images.tags.api }}\n",
    "heat/ci/other.yaml": "images: {x: [broken\n",
    "heat/README.md": "image: quay.io/a/readme:1\n",
}


def test_a_chart() -> None:
    write(CHART)
    found = read(["heat"])
    assert [(str(each.file), each.text, each.chart) for each in found.images] == [
        ("heat/values.yaml", "quay.io/a/heat:1", "heat"),
        ("heat/values_overrides/2025.1-ubuntu_noble.yaml", "quay.io/a/heat:2", "heat"),
        ("heat/values_overrides/deeper/x.yaml", "quay.io/a/heat:3", "heat"),
    ]
    (chart,) = found.charts
    assert (chart.name, chart.complete, len(chart.templates)) == ("heat", True, 1)
    assert chart.images is not None
    assert found.problems == ()


@pytest.mark.parametrize(
    "name", ["heat/values_overrides/2025.1-ubuntu_noble.yaml", "./heat/values_overrides/deeper/x.yaml"]
)
def test_a_file_of_a_chart_alone_knows_its_chart(name: str, tmp_path: Path) -> None:
    write(CHART)
    for path in (name, tmp_path / name):
        found = read([path])
        assert len(found.images) == 1
        (chart,) = found.charts
        assert (chart.name, chart.complete) == ("heat", False)
        assert chart.images is not None
        assert [key.text for key in chart.images.keys] == ["api"]


def test_a_tree_of_charts() -> None:
    tree = {f"charts/{name}": text for name, text in CHART.items()}
    tree["charts/nova/Chart.yaml"] = "not: a: chart"  # the directory's name will do
    tree["charts/nova/values.yaml"] = "images: {tags: {api: quay.io/a/nova:1}}\n"
    tree["charts/nova/charts/sub/Chart.yaml"] = "name: sub\n"
    tree["charts/nova/charts/sub/values.yaml"] = "images: {tags: {api: quay.io/a/sub:1}}\n"
    tree["charts/values_overrides/nova/2025.1.yaml"] = "images: {tags: {api: quay.io/a/nova:2}}\n"
    tree["charts/playbook.yaml"] = "- hosts: {{ all }}\n"
    tree["charts/.git/x/Chart.yaml"] = "name: hidden\n"
    write(tree)
    found = read(["charts"])
    assert [(each.text, each.chart) for each in found.images] == [
        ("quay.io/a/heat:1", "heat"),
        ("quay.io/a/heat:2", "heat"),
        ("quay.io/a/heat:3", "heat"),
        ("quay.io/a/nova:1", "nova"),
        ("quay.io/a/sub:1", "sub"),
        ("quay.io/a/nova:2", "nova"),
    ]
    assert [chart.name for chart in found.charts] == ["heat", "nova", "sub"]
    assert found.problems == ()
    assert texts(read(["charts", "charts/nova", "charts/nova/values.yaml"])) == texts(found)


def test_a_directory_without_charts() -> None:
    write({"env/b.yaml": "- quay.io/a/b:1\n", "env/sub/a.yml": "- quay.io/a/a:1\n", "env/notes.txt": "what: ever\n"})
    assert texts(read(["env"])) == ["quay.io/a/b:1", "quay.io/a/a:1"]


def test_what_is_written_into_templates() -> None:
    template = (
        "{{/* image: quay.io/a/comment:1\n     image: quay.io/a/comment:2 */}}\n"
        "# image: quay.io/a/comment:3\n"
        "image: {{ .Values.images.tags.api }}\n"
        'image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"\n'
        "- image: 'quay.io/a/b:1'  # always\n"
        "  image: busybox\n"
        "  image: true\n"
        "  image: quay.io/a/c:{{ .Values.tag }}\n"
        '  image: {{ .Values.other | default "quay.io/a/d:1" | quote }}\n'
        "  image: {{ .Values.repository }}:v1\n"
        "  images: quay.io/a/e:1\n"
        "  image:\n"
        '  "image": quay.io/a/f:1\n'
    )
    write({**CHART, "heat/templates/job.yaml": template, "heat/templates/bin/_x.sh.tpl": "image: busybox\n"})
    found = [each for each in read(["heat"]).images if each.kind is Kind.TEMPLATE]
    assert [(each.line, each.text) for each in found] == [
        (6, "quay.io/a/b:1"),
        (7, "busybox"),
        (9, "quay.io/a/c:{{ .Values.tag }}"),
        (10, "quay.io/a/d:1"),
        (11, "{{ .Values.repository }}:v1"),
        (14, "quay.io/a/f:1"),
    ]


# what cannot be read


def test_what_is_broken_is_told_and_the_rest_is_read() -> None:
    write(
        {
            "broken.yaml": "images:\n  a: quay.io/a/x:1\n b: {{ .Values.x }}\n",
            "good.yaml": "- quay.io/a/b:1\n",
            "bytes.yaml": "",
            "deep.yaml": "[" * 500,
            "list.txt": "quay.io/a/c:1\n",
        }
    )
    Path("bytes.yaml").write_bytes(b"a: \xff\n")
    found = read(["broken.yaml", "good.yaml", "missing.yaml", "bytes.yaml", "deep.yaml", "list.txt", "nul\0.yaml"])
    assert texts(found) == ["quay.io/a/b:1", "quay.io/a/c:1"]
    where = [problem.where for problem in found.problems]
    assert where == ["broken.yaml:3", "missing.yaml", "bytes.yaml", "deep.yaml", "nul\0.yaml"]
    assert "No such file" in found.problems[1].message


def test_broken_values_of_a_chart_are_told_once() -> None:
    write({**CHART, "heat/values.yaml": "images: [\n"})
    for paths in (["heat"], ["heat/values.yaml"], ["heat/values_overrides/2025.1-ubuntu_noble.yaml"]):
        assert len(read(paths).problems) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read() -> None:
    write({"x/secret.yaml": "- quay.io/a/b:1\n", "x/closed/a.yaml": "- quay.io/a/b:1\n"})
    Path("x/secret.yaml").chmod(0)
    Path("x/closed").chmod(0)
    problems = read(["x"]).problems
    Path("x/closed").chmod(0o700)
    assert [problem.where for problem in problems] == ["x/closed", "x/secret.yaml"]
    assert all("Permission denied" in problem.message for problem in problems)


def test_the_same_tree_is_always_read_in_the_same_order(tmp_path: Path) -> None:
    top = chart_tree.write(tmp_path / "tree", charts=6, total=50)
    found = read([top])
    assert found == read([top])
    assert len(found.images) == 50
    assert texts(found) == chart_tree.references()[:50]
    assert len(found.charts) == 6
    assert found.problems == ()
