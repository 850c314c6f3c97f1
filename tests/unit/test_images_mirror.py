"""What images are called in a registry of one's own, and what is written about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from diskimage_create import cli
from diskimage_create.helm.mirroring import Target, target
from diskimage_create.references import Reference, parse

DIGEST = "sha256:" + "0123456789abcdef" * 4
HEAT = """\
images:
  tags:
    dep_check: quay.io/airshipit/kubernetes-entrypoint:v1.0.0
    api: docker.io/kolla/heat-api:3.0.1
    engine: docker.io/kolla/heat-api:3.0.1
    test: xrally
  local_registry:
    active: false
    exclude: [dep_check]
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))


def run(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["images", "mirror", *arguments, "--dry-run"])
    out, err = capsys.readouterr()
    return status, out, err


# Names


@pytest.mark.parametrize(
    ("source", "kept", "stripped"),
    [
        ("quay.io/a/b:1", "m.test:5000/ns/quay.io/a/b:1", "m.test:5000/ns/a/b:1"),
        ("nginx", "m.test:5000/ns/docker.io/library/nginx", "m.test:5000/ns/library/nginx"),
        (f"quay.io/a:1@{DIGEST}", f"m.test:5000/ns/quay.io/a:1@{DIGEST}", f"m.test:5000/ns/a:1@{DIGEST}"),
        ("localhost:5001/a:1", "m.test:5000/ns/localhost-5001/a:1", "m.test:5000/ns/a:1"),
        ("[fd00::1]:5000/a:1", "m.test:5000/ns/fd00--1-5000/a:1", "m.test:5000/ns/a:1"),
        ("MyHost/a:1", "m.test:5000/ns/myhost/a:1", "m.test:5000/ns/a:1"),
        ("m.test:5000/ns/quay.io/a:1", "m.test:5000/ns/quay.io/a:1", "m.test:5000/ns/quay.io/a:1"),
        ("m.test:5000/nsx/a:1", "m.test:5000/ns/m.test-5000/nsx/a:1", "m.test:5000/ns/nsx/a:1"),
    ],
)
def test_an_image_has_a_name_in_the_target(source: str, kept: str, stripped: str) -> None:
    for keep_host, expected in ((True, kept), (False, stripped)):
        assert str(target("m.test:5000/ns", keep_host=keep_host).name(parse(source))) == expected


HOSTS = st.sampled_from([None, "docker.io", "quay.io", "localhost", "localhost:5001", "m.test", "[::1]:5000", "A.b"])
NAMES = st.from_regex(r"\A[a-z0-9]+([._-][a-z0-9]+)?(/[a-z]+)?\Z")
SOURCES = st.builds(Reference, HOSTS, NAMES, st.sampled_from([None, "1", "latest"]), st.sampled_from([None, DIGEST]))
TARGETS = st.builds(Target, st.sampled_from(["m.test", "localhost:5001"]), st.sampled_from(["", "a"]), st.booleans())


@given(SOURCES, TARGETS)
def test_a_name_in_the_target_is_one_and_stays(source: Reference, to: Target) -> None:
    name = to.name(source)
    assert parse(str(name)) == name
    assert (name.registry, name.tag, name.digest) == (to.host, source.tag, source.digest)
    assert to.has(name)
    assert to.name(name) == name


@pytest.mark.parametrize("to", ["", "registry", "registry/ns", "http://m.test", "m.test/NS", "m.test/a:1", "a b.c"])
def test_what_is_no_target(to: str, capsys: Any) -> None:
    Path("values.yaml").write_text(HEAT)
    status, out, err = run(capsys, "values.yaml", "--to", to)
    assert (status, out) == (2, "")
    assert "(--to)" in err


# Overrides


def test_an_override_takes_all_images_from_the_target(capsys: Any) -> None:
    Path("values.yaml").write_text(HEAT)
    status, out, err = run(capsys, "values.yaml", "--to", "m.test/osh", "-o", "out.yaml")
    assert status == 0
    assert yaml.safe_load(out) == {
        "images": {
            "tags": {
                "dep_check": "m.test/osh/quay.io/airshipit/kubernetes-entrypoint:v1.0.0",
                "api": "m.test/osh/docker.io/kolla/heat-api:3.0.1",
                "engine": "m.test/osh/docker.io/kolla/heat-api:3.0.1",
                "test": "m.test/osh/docker.io/library/xrally",
            }
        }
    }
    assert err.count("would copy docker.io/kolla/heat-api:3.0.1 to m.test/osh/docker.io/kolla/heat-api:3.0.1\n") == 1
    assert not Path("out.yaml").exists()
    Path("mirrored.yaml").write_text(out)
    status, again, err = run(capsys, "mirrored.yaml", "--to", "m.test/osh")
    assert (status, again, err) == (0, out, "")


def test_what_has_a_digest_is_copied_by_it(capsys: Any) -> None:
    Path("values.yaml").write_text(f"images:\n  a: quay.io/a:1@{DIGEST}\n  b: quay.io/b@{DIGEST}\n  c: quay.io/c\n")
    status, out, err = run(capsys, "values.yaml", "--to", "m.test")
    assert status == 0
    images = {"a": f"m.test/quay.io/a:1@{DIGEST}", "b": f"m.test/quay.io/b@{DIGEST}", "c": "m.test/quay.io/c"}
    assert yaml.safe_load(out) == {"images": images}
    assert err.splitlines() == [
        f"would copy quay.io/a@{DIGEST} to m.test/quay.io/a:1",
        f"would copy quay.io/b@{DIGEST} to m.test/quay.io/b:digest-{DIGEST.partition(':')[2]}",
        "would copy quay.io/c:latest to m.test/quay.io/c:latest",
    ]


def test_what_a_chart_excludes_is_left_out_when_it_says_so(capsys: Any) -> None:
    Path("heat/values_overrides").mkdir(parents=True)
    Path("heat/Chart.yaml").write_text("name: heat\n")
    Path("heat/values.yaml").write_text(HEAT)
    Path("heat/values_overrides/a.yaml").write_text("images: {tags: {dep_check: quay.io/b:1, api: quay.io/a:1}}\n")
    for paths in (["heat"], ["heat/values_overrides/a.yaml"]):
        status, out, err = run(capsys, *paths, "--to", "m.test", "--respect-exclude")
        assert status == 0
        assert "dep_check" not in yaml.safe_load(out)["images"]["tags"]
        assert "api" in yaml.safe_load(out)["images"]["tags"]
        assert "entrypoint" not in err
        assert "dep_check" in run(capsys, *paths, "--to", "m.test")[1]


def test_two_images_cannot_have_one_name(capsys: Any) -> None:
    Path("values.yaml").write_text(
        f"images:\n  a: quay.io/x/y:1\n  b: docker.io/x/y:1\n  c: quay.io/z:1@{DIGEST}\n  d: quay.io/z:1\n"
    )
    status, out, err = run(capsys, "values.yaml", "--to", "m.test", "--layout", "strip-host")
    assert (status, out) == (2, "")
    assert "docker.io/x/y:1 and quay.io/x/y:1 would both be m.test/x/y:1" in err
    assert "images.b (values.yaml:3), images.a (values.yaml:2)" in err
    assert f"quay.io/z:1 and quay.io/z@{DIGEST} would both be m.test/z:1" in err
    assert run(capsys, "values.yaml", "--to", "m.test")[0] == 2  # of quay.io/z:1, still
    Path("values.yaml").write_text("images:\n  a: quay.io/x/y:1\n  b: docker.io/x/y:1\n")
    assert run(capsys, "values.yaml", "--to", "m.test")[0] == 0


def test_what_an_override_cannot_replace_is_listed(capsys: Any) -> None:
    Path("values.yaml").write_text("images: {a: quay.io/a:1}\nextraContainers:\n- name: b\n  image: quay.io/b:1\n")
    Path("list.txt").write_text("quay.io/c:1\n")
    status, out, err = run(capsys, "values.yaml", "list.txt", "--to", "m.test")
    assert status == 1
    assert yaml.safe_load(out) == {"images": {"a": "m.test/quay.io/a:1"}}
    assert "extraContainers.0.image still is quay.io/b:1, and should be m.test/quay.io/b:1 (values.yaml:4)" in err
    assert "line 1 still is quay.io/c:1, and should be m.test/quay.io/c:1 (list.txt:1)" in err
    for source in ("a", "b", "c"):
        assert f"would copy quay.io/{source}:1 to" in err


# Other forms


def test_an_environment_file_for_tripleo(capsys: Any) -> None:
    Path("env.yaml").write_text(
        "parameter_defaults:\n  ContainerHeatApiImage: quay.io/tripleo/heat-api:1\n  Other: []\n"
    )
    arguments = ("env.yaml", "--to", "192.168.24.1:8787", "--layout", "strip-host", "--emit", "tripleo-env")
    heat = {"ContainerHeatApiImage": "192.168.24.1:8787/tripleo/heat-api:1"}
    status, out, _ = run(capsys, *arguments)
    assert (status, yaml.safe_load(out)) == (0, {"parameter_defaults": heat})
    out = run(capsys, *arguments, "--insecure-registry", "192.168.24.1:8787")[1]
    more = {"DockerInsecureRegistryAddress": ["192.168.24.1:8787"]}
    assert yaml.safe_load(out) == {"parameter_defaults": heat | more}
    Path("values.yaml").write_text("images: {a: quay.io/a:1}\n")
    status, _, err = run(capsys, "values.yaml", "--to", "m.test", "--emit", "tripleo-env")
    assert status == 1
    assert "images.a still is quay.io/a:1" in err


def test_a_list_for_skopeo(capsys: Any) -> None:
    Path("list.txt").write_text(
        f"quay.io/b:2\nquay.io/b:1.20\nnginx\nlocalhost:5001/c:1@{DIGEST}\nlocalhost:5001/c@{DIGEST}\nquay.io/b:2\n"
    )
    arguments = ("list.txt", "--to", "m.test", "--emit", "skopeo-sync", "--insecure-registry", "localhost:5001")
    status, out, _ = run(capsys, *arguments)
    assert status == 0
    assert yaml.safe_load(out) == {
        "docker.io": {"images": {"library/nginx": ["latest"]}},
        "localhost:5001": {"images": {"c": [DIGEST]}, "tls-verify": False},
        "quay.io": {"images": {"b": ["1.20", "2"]}},
    }


def test_no_tag_and_latest_are_one_image(capsys: Any) -> None:
    Path("list.yaml").write_text("images: {a: docker.io/library/nginx, b: 'nginx:latest'}\n")
    status, out, err = run(capsys, "list.yaml", "--to", "h:1")
    assert (status, err.count("would copy")) == (0, 1)
    assert yaml.safe_load(out) == {
        "images": {"a": "h:1/docker.io/library/nginx", "b": "h:1/docker.io/library/nginx:latest"}
    }
