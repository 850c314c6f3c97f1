"""The rules of ``images lint``: what breaks each, and what does not."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import chart_tree
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diskimage_create.helm import lint
from diskimage_create.helm.lint import RULES, Context, Finding, Severity, report, versions
from diskimage_create.helm.reading import read

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def check(files: Mapping[str, str], *paths: str, require_digest: bool = False, defaults: str = "") -> list[Finding]:
    """What is wrong with files, which can be read."""
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    found = read(paths or ["."])
    assert found.problems == ()
    known = read([defaults]).sections if defaults else ()
    return lint.check(Context(found, known, require_digest=require_digest))


def rules(found: list[Finding]) -> list[str]:
    return [each.rule.id for each in found]


def of(text: str, *, require_digest: bool = False) -> list[str]:
    """The rules that one image of a chart breaks."""
    return rules(check({"x.yaml": f"images:\n  tags:\n    x: {text}\n"}, require_digest=require_digest))


DIGEST = f"sha256:{'0' * 64}"


# names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # as it should be
        ("quay.io/stackanetes/stackanetes-kolla-toolbox:newton", []),
        ("docker.io/kolla/ubuntu-source-heat-api:3.0.1", []),
        ("quay.io/airshipit/heat:2025.1-ubuntu_noble", []),
        ("docker.io/library/rabbitmq:3.13-management", []),
        ("localhost:5000/heat:1", []),
        (f"quay.io/a/b@{DIGEST}", []),
        ("%%%REPLACE_IMAGE%%%", []),
        ("%%%REPLACE_REGISTRY%%%/heat:1", []),
        ("'{{ .Values.registry }}/heat:1'", []),
        ("null", []),
        # IMG001
        ("'quay.io/a/b:c d'", ["IMG001"]),
        ("QUAY.io/A/b:1", ["IMG001"]),
        ("quay.io//b:1", ["IMG001"]),
        ("'quay.io/a/b:'", ["IMG001"]),
        ("''", ["IMG001"]),
        ("1.20", ["IMG001"]),
        ("[a]", ["IMG001"]),
        ("quay.io/a/b@sha256:0", ["IMG001"]),
        # IMG002, IMG003
        ("airshipit/heat:1", ["IMG002"]),
        ("rabbitmq:3", ["IMG002"]),
        ("airshipit/%%%REPLACE_NAME%%%:1", ["IMG002"]),
        ("quay.io/a/b", ["IMG003"]),
        ("quay.io/a/%%%REPLACE_NAME%%%", ["IMG003"]),
        ("quay.io/a/b:%%%REPLACE_TAG%%%", []),
        ("heat", ["IMG002", "IMG003"]),
        # IMG004, IMG101
        ("quay.io/a/b:latest", ["IMG004"]),
        ("%%%REPLACE_REGISTRY%%%/heat:latest", ["IMG004"]),
        (f"quay.io/a/b:latest@{DIGEST}", []),
        ("quay.io/a/b:latest-ubuntu_noble", ["IMG101"]),
        ("quay.io/a/b:current-tripleo", ["IMG101"]),
        ("quay.io/a/b:master", ["IMG101"]),
        ("quay.io/a/b:Main_noble", ["IMG101"]),
        ("quay.io/a/b:v1.unstable", ["IMG101"]),
        (f"quay.io/a/b:master@{DIGEST}", []),
        ("quay.io/a/b:v1.2.3-headless", []),
        ("quay.io/a/b:maintenance", []),
        # IMG103
        ("docker.io/rabbitmq:3", ["IMG103"]),
        ("index.docker.io/rabbitmq:3", ["IMG103"]),
        ("docker.io/rabbitmq", ["IMG003", "IMG103"]),
        ("quay.io/rabbitmq:3", []),
    ],
)
def test_names(text: str, expected: list[str]) -> None:
    assert of(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quay.io/a/b:1", ["IMG003"]),
        ("quay.io/a/b", ["IMG003"]),
        (f"quay.io/a/b:1@{DIGEST}", []),
        (f"quay.io/a/b@{DIGEST}", []),
        ("%%%REPLACE_IMAGE%%%", []),
    ],
)
def test_digests_can_be_required(text: str, expected: list[str]) -> None:
    assert of(text, require_digest=True) == expected


def test_a_finding_says_where_and_what() -> None:
    (found,) = check({"x.yaml": "heat:\n  images:\n    tags:\n      api: quay.io/a/b:latest\n"})
    assert report.as_text([found]) == (
        "x.yaml:4: IMG004 error: quay.io/a/b:latest is whatever was pushed last (heat.images.tags.api)"
    )
    assert found.broken.chart == "heat"
    listed = check({"y.yaml": "container_images:\n- imagename: quay.io/a/b:latest\n"}, "y.yaml")
    assert [each.place for each in listed] == ["container_images[0].imagename"]


component = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(component, min_size=2, max_size=4), st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){0,2}", fullmatch=True))
def test_a_spelled_out_name_with_a_version_breaks_no_rule(parts: list[str], tag: str) -> None:
    """The name in full, under a number, whichever registry and repository."""
    assert of(f'"{parts[0]}.example/{"/".join(parts[1:])}:{tag}"') == []


# releases


@pytest.mark.parametrize(
    ("name", "tag", "expected"),
    [
        ("2024.1-ubuntu_jammy", "2024.1-ubuntu_jammy", False),
        ("2024.1-ubuntu_jammy", "2023.2-ubuntu_jammy", True),
        ("2024.1-ubuntu_jammy", "2024.1-ubuntu_focal", True),
        ("2024.1-ubuntu_jammy", "v1.0", False),
        ("2024.1-ubuntu_jammy", "caracal-22.04", False),
        ("2024.1-ubuntu_jammy", "zed-ubuntu_jammy", True),
        ("loci-2025.1-ubuntu_noble", "2025.1-ubuntu_noble", False),
        ("loci-2025.1-ubuntu_noble", "2025.1-ubuntu_24.04", False),
        ("2025.1-debian_bookworm", "2025.1-debian_trixie", True),
        ("2025.1-ubuntu_noble", "2025.1-rocky_9", True),
        ("rocky-opensuse_15", "rocky-opensuse_15", False),
        ("rocky-opensuse_15", "stein-opensuse_15", True),
        ("train-centos_7", "train-centos7", False),
        ("tls", "2025.1-ubuntu_noble", False),
        ("values", "2025.1", False),
    ],
)
def test_tags_of_another_release_than_the_file_says(name: str, tag: str, expected: bool) -> None:
    found = check({f"{name}.yaml": f"images: {{tags: {{x: 'quay.io/a/b:{tag}'}}}}\n"})
    assert rules(found) == ["IMG204"] * expected


def test_releases_and_distributions_in_a_name() -> None:
    assert versions.releases("2025.1-ubuntu_noble") == versions.releases("epoxy") == {"2025.1"}
    assert versions.releases("rocky_9-rocky") == {"rocky"}
    assert versions.releases("v12025.1.2") == set()
    assert versions.distributions("ubuntu_noble") == versions.distributions("ubuntu2404") - {"ubuntu 2404"} | {
        "ubuntu 24.04"
    }
    assert versions.distributions("opensuse_leap_15.4") == {"opensuse 15.4"}


# sections


CHART = {
    "heat/Chart.yaml": "name: heat\n",
    "heat/values.yaml": (
        "images:\n  tags: {db_init: 'quay.io/a/b:1', heat_api: 'quay.io/a/b:1'}\n  pull_policy: IfNotPresent\n"
    ),
}
OVERRIDE = "images:\n  tags:\n    heat_apo: quay.io/a/b:2\n"


@pytest.mark.parametrize("text", ["always", "ifNotPresent", "OnFailure", "true", "''"])
def test_unknown_pull_policies(text: str) -> None:
    (found,) = check({"x.yaml": f"images: {{tags: {{}}, pull_policy: {text}}}\n"})
    assert (found.rule.id, found.place) == ("IMG203", "images.pull_policy")


@pytest.mark.parametrize("text", ["Always", "IfNotPresent", "Never", "null", "'{{ .Values.x }}'", "%%%REPLACE_P%%%"])
def test_known_pull_policies(text: str) -> None:
    assert check({"x.yaml": f"images: {{tags: {{}}, pull_policy: {text}}}\n"}) == []


def test_the_pull_policy_that_was_meant_is_named() -> None:
    (found,) = check({"x.yaml": "containers: [{image: 'quay.io/a/b:1', imagePullPolicy: ifnotpresent}]\n"})
    assert found.broken.message == "'ifnotpresent' is no pull policy: did you mean IfNotPresent?"
    assert found.place == "containers[0].imagePullPolicy"


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("heat/values_overrides/x.yaml", ["."]),
        ("heat/values_overrides/x.yaml", ["heat/values_overrides/x.yaml"]),
        ("values_overrides/heat/x.yaml", ["."]),
        ("values_overrides/heat/x.yaml", ["values_overrides", "heat"]),
    ],
)
def test_keys_that_the_chart_does_not_have(name: str, paths: list[str]) -> None:
    (found,) = check({**CHART, name: OVERRIDE}, *paths)
    assert found.rule.id == "IMG201"
    assert found.broken.message == "heat has no image heat_apo: did you mean heat_api?"
    assert (str(found.broken.file), found.broken.line, found.place) == (name, 3, "images.tags.heat_apo")


def test_keys_of_a_chart_in_one_environment_for_several() -> None:
    text = (
        "heat:\n  images: {tags: {heat_apo: 'quay.io/a/b:2', heat_api: 'quay.io/a/b:2'}}\n"
        "nova:\n  images: {tags: {x: 'a.b/c:1'}}\n"
    )
    found = check({**CHART, "env.yaml": text}, "heat", "env.yaml")
    assert [each.place for each in found] == ["heat.images.tags.heat_apo"]


def test_keys_of_given_defaults() -> None:
    files = {"defaults.yaml": CHART["heat/values.yaml"], "x.yaml": OVERRIDE, "good.yaml": CHART["heat/values.yaml"]}
    found = check(files, "x.yaml", "good.yaml", "defaults.yaml", defaults="./defaults.yaml")
    assert [(each.rule.id, str(each.broken.file)) for each in found] == [("IMG201", "x.yaml")]
    assert found[0].broken.message == "the chart has no image heat_apo: did you mean heat_api?"


def test_defaults_of_one_chart_say_nothing_of_another() -> None:
    files = {**CHART, "nova/Chart.yaml": "name: nova\n", "nova/values.yaml": "images: {tags: {x: 'quay.io/a/b:1'}}\n"}
    assert check(files, "nova", defaults="heat/values.yaml") == []


def test_a_section_of_the_other_layout_is_not_read() -> None:
    text = "images: {db_init: 'quay.io/a/b:2'}\n"
    (found,) = check({**CHART, "heat/values_overrides/x.yaml": text})
    assert found.broken.message == "heat does not read this: its images are in images.tags"


def test_keys_that_a_local_registry_leaves_out() -> None:
    values = CHART["heat/values.yaml"] + "  local_registry: {exclude: [db_init, db_inti]}\n"
    found = check({**CHART, "heat/values.yaml": values})
    assert [each.place for each in found] == ["images.local_registry.exclude[1]"]
    assert check({"x.yaml": "images: {local_registry: {exclude: [a]}}\n"}, "x.yaml") == []


# charts


def with_template(text: str, values: str = "{}", name: str = "job.yaml") -> list[Finding]:
    shutil.rmtree("c", ignore_errors=True)
    return check({"c/Chart.yaml": "name: c\n", "c/values.yaml": values, f"c/templates/{name}": text}, "c")


def test_an_image_in_a_template() -> None:
    values = "images: {tags: {}}"
    (found,) = with_template("spec:\n  image: quay.io/a/b:1\n", values)
    assert (found.rule.id, str(found.broken.file), found.broken.line) == ("IMG205", "c/templates/job.yaml", 2)
    assert rules(with_template("image: nginx:latest\n", values)) == ["IMG002", "IMG004", "IMG205"]
    assert with_template("image: {{ .Values.images.tags.x }}\n", values) == []


@pytest.mark.parametrize(
    "text",
    [
        "  - image: {{ .Values.image }}\n",
        '{{ tuple . "x" | include "helm-toolkit.snippets.image" | indent 10 }}\n',
        '{{ $job | include "helm-toolkit.manifests.job_ks_user" }}\n',
        "x: {{ .Values.images.tags.x }}\n",
    ],
)
def test_a_chart_that_runs_images_without_a_section(text: str) -> None:
    (found,) = with_template(text)
    assert (found.rule.id, str(found.broken.file)) == ("IMG206", "c/values.yaml")
    assert with_template(text, name="_job.yaml") == with_template(text, name="bin/job.yaml") == []
    assert "IMG206" not in rules(with_template(text, "images: {tags: {}}"))


def test_a_chart_without_values() -> None:
    files = {"c/Chart.yaml": "name: c\n", "c/templates/x.yaml": "image: {{ .Values.x }}\n"}
    assert [str(each.broken.file) for each in check(files)] == ["c/Chart.yaml"]
    assert check({"d/Chart.yaml": "name: d\n", "d/templates/x.yaml": "kind: ConfigMap\n"}, "d") == []


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("image: {{ .Values.images.tags.db_init }}", "images.tags.db_init"),
        ("image: {{ .Values.images.ks_user | quote }}", "images.tags.ks_user"),
        ('x: {{ index $envAll.Values.images.tags "ks_service" }}', "images.tags.ks_service"),
        ('{{ $job | include "helm-toolkit.manifests.job_db_init_mysql" }}', "images.tags.db_init"),
        ('{{ $job | include "helm-toolkit.manifests.job_db_sync" }}', "images.tags.db_sync"),
        ('{{ include "helm-toolkit.manifests.job_ks_endpoints" . }}', "images.tags.ks_endpoints"),
        ('{{ include "helm-toolkit.snippets.kubernetes_entrypoint_init_container" . }}', "images.tags.dep_check"),
        ("imagePullPolicy: {{ .Values.images.pull_policy }}", "images.pull_policy"),
    ],
)
def test_a_standard_key_that_jobs_need(text: str, missing: str) -> None:
    (found,) = with_template(text, "images:\n  tags:\n    x_api: quay.io/a/b:1\n")
    assert (found.rule.id, found.place) == ("IMG207", missing)
    key = missing.rpartition(".")[2]
    there = "  pull_policy: Always\n" if key == "pull_policy" else f"    {key}: quay.io/a/b:1\n"
    assert with_template(text, f"images:\n  tags:\n    x_api: quay.io/a/b:1\n{there}") == []


def test_standard_keys_of_2017_and_of_the_service() -> None:
    flat = "images: {api: 'quay.io/a/b:1'}"
    (found,) = with_template("image: {{ .Values.images.db_init }}", flat)
    assert found.place == "images.db_init"
    sync = '{{ $job | include "helm-toolkit.manifests.job_db_sync" }}'
    assert with_template(sync, "images: {tags: {heat_db_sync: 'quay.io/a/b:1'}}") == []
    assert rules(with_template(sync.replace("db_sync", "ks_user"), "images: {tags: {x_ks_user: 'a.b/c:1'}}")) == [
        "IMG207"
    ]
    assert with_template("{{/* .Values.images.tags.db_init */}}", "images: {tags: {}}") == []


def test_a_tree_of_sound_charts_has_no_findings(tmp_path: Path) -> None:
    found = read([chart_tree.write(tmp_path / "tree", charts=8, total=64)])
    assert len(found.images) == 64
    assert lint.check(Context(found)) == []


def test_the_seed_of_all_charts() -> None:
    """What OpenStack-Helm's first description of images shows is sound."""
    text = (
        "images:\n  dep_check: quay.io/stackanetes/kubernetes-entrypoint:v0.1.1\n"
        "  db_init: quay.io/stackanetes/stackanetes-kolla-toolbox:newton\n"
        "  db_sync: docker.io/kolla/ubuntu-source-heat-api:3.0.1\n"
        '  engine: docker.io/kolla/ubuntu-source-heat-engine:3.0.1\n  pull_policy: "IfNotPresent"\n'
    )
    assert check({"heat.yaml": text}) == []


# the rules themselves


def test_the_page_is_what_the_rules_say() -> None:
    """``scripts/update-lint-rules`` writes it."""
    assert (ROOT / "docs/images-lint.md").read_text(encoding="utf-8") == report.page()


def test_every_rule_explains_itself() -> None:
    for rule in RULES.values():
        assert len(rule.explanation.split()) >= 20, rule.id
        assert not rule.title.endswith(".")
    errors = {rule.id for rule in RULES.values() if rule.severity is Severity.ERROR}
    assert errors == {"IMG001", "IMG002", "IMG003", "IMG004", "IMG203"}
    assert RULES.keys() - errors == {"IMG101", "IMG103", "IMG201", "IMG204", "IMG205", "IMG206", "IMG207"}
