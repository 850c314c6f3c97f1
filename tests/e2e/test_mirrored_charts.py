"""Images of charts copied between real registries."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from diskimage_create import cli
from registry_servers import INDEX, MANIFEST, Server, registry

CHART = """\
images:
  tags:
    dep_check: {host}/stackanetes/kubernetes-entrypoint:v0.1.1
    api: {host}/kolla/heat-api:3.0.1
    engine: {host}/kolla/heat-engine:3.0.1
  local_registry:
    exclude: [dep_check]
"""
IMAGES = {"stackanetes/kubernetes-entrypoint": "v0.1.1", "kolla/heat-api": "3.0.1", "kolla/heat-engine": "3.0.1"}


@pytest.fixture(autouse=True)
def skopeo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Server]:
    with registry(tmp_path / "source") as running:
        for repository, tag in IMAGES.items():
            running.push_index(repository, tag, ["amd64", "arm64"], labels={"of": repository})
        Path("values.yaml").write_text(CHART.format(host=running.host))
        yield running


@pytest.fixture
def target(tmp_path: Path, source: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with registry(tmp_path / "target") as running:
        monkeypatch.setenv("DISKIMAGE_CREATE_INSECURE_REGISTRY", f"{source.host} {running.host}")
        yield running


def run(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["images", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def manifest(server: Server, repository: str, digest: str) -> Any:
    answer = server.session.get(
        server.url(f"{repository}/manifests/{digest}"), headers={"Accept": f"{INDEX}, {MANIFEST}"}
    )
    answer.raise_for_status()
    return answer.json()


def test_a_chart_is_pinned_mirrored_and_taken_from_there(source: Server, target: Server, capsys: Any) -> None:
    host = source.host.replace(":", "-")
    assert run(capsys, "pin", "values.yaml", "-o", "pinned.yaml", "--lock", "images.lock.yaml")[0] == 0
    status, _, err = run(capsys, "mirror", "pinned.yaml", "--to", f"{target.host}/osh", "-o", "mirror.yaml")
    assert status == 0, err
    assert "3 images copied, 0 were there already" in err
    images = yaml.safe_load(Path("mirror.yaml").read_text())["images"]["tags"]
    digests = {repository: source.digest(repository, tag) for repository, tag in IMAGES.items()}
    assert images["api"] == f"{target.host}/osh/{host}/kolla/heat-api:3.0.1@{digests['kolla/heat-api']}"
    for repository, tag in IMAGES.items():
        assert target.digest(f"osh/{host}/{repository}", tag) == digests[repository]
        index = manifest(target, f"osh/{host}/{repository}", str(digests[repository]))
        assert {entry["platform"]["architecture"] for entry in index["manifests"]} == {"amd64", "arm64"}
        for entry in index["manifests"]:
            for blob in manifest(target, f"osh/{host}/{repository}", entry["digest"])["layers"]:
                assert target.session.head(target.url(f"osh/{host}/{repository}/blobs/{blob['digest']}")).ok
    # What the override names is there, and is what was pinned.
    assert run(capsys, "pin", "mirror.yaml", "-o", "again.yaml")[0] == 0
    assert yaml.safe_load(Path("again.yaml").read_text())["images"]["tags"] == images
    # Once more: nothing is copied, and nothing changes.
    status, _, err = run(capsys, "mirror", "pinned.yaml", "--to", f"{target.host}/osh", "-o", "second.yaml")
    assert status == 0
    assert "0 images copied, 3 were there already" in err
    assert Path("second.yaml").read_text() == Path("mirror.yaml").read_text()
    status, out, err = run(capsys, "mirror", "mirror.yaml", "--to", f"{target.host}/osh")
    assert (status, yaml.safe_load(out)["images"]["tags"]) == (0, images)
    assert "0 images copied, 0 were there already" in err


def test_hosts_can_be_left_out_and_exclusions_kept(source: Server, target: Server, capsys: Any) -> None:
    arguments = ("mirror", "values.yaml", "--to", target.host, "--layout", "strip-host", "--respect-exclude")
    status, out, _ = run(capsys, *arguments)
    assert status == 0
    assert yaml.safe_load(out)["images"]["tags"] == {
        "api": f"{target.host}/kolla/heat-api:3.0.1",
        "engine": f"{target.host}/kolla/heat-engine:3.0.1",
    }
    assert target.digest("kolla/heat-api", "3.0.1") == source.digest("kolla/heat-api", "3.0.1")
    assert target.digest("stackanetes/kubernetes-entrypoint", "v0.1.1") is None


def test_an_image_without_a_tag_gets_one_in_the_target(source: Server, target: Server, capsys: Any) -> None:
    digest = source.digest("kolla/heat-api", "3.0.1")
    Path("values.yaml").write_text(f"images:\n  api: {source.host}/kolla/heat-api@{digest}\n")
    status, out, _ = run(capsys, "mirror", "values.yaml", "--to", target.host, "--layout", "strip-host")
    assert status == 0
    assert yaml.safe_load(out) == {"images": {"api": f"{target.host}/kolla/heat-api@{digest}"}}
    assert target.digest("kolla/heat-api", str(digest)) == digest
    assert target.session.get(target.url("kolla/heat-api/tags/list")).json()["tags"] != ["latest"]


def test_nothing_is_written_when_a_copy_fails(source: Server, target: Server, capsys: Any) -> None:
    Path("values.yaml").write_text(CHART.format(host=source.host).replace("heat-engine:3.0.1", "heat-engine:none"))
    status, out, err = run(capsys, "mirror", "values.yaml", "--to", target.host, "-o", "out.yaml")
    assert (status, out) == (6, "")
    assert f"{source.host}/kolla/heat-engine:none was not copied" in err
    assert "(values.yaml:5)" in err
    assert not Path("out.yaml").exists()


@pytest.mark.parametrize("form", ["helm", "skopeo-sync"])
def test_a_dry_run_asks_nobody(form: str, source: Server, target: Server, capsys: Any) -> None:
    before = source.log.read_text(), target.log.read_text()
    status, _, err = run(capsys, "mirror", "values.yaml", "--to", target.host, "--dry-run", "--emit", form)
    assert (status, err.count("would copy")) == (0, 3)
    assert (source.log.read_text(), target.log.read_text()) == before


def test_skopeo_takes_the_list(source: Server, target: Server, capsys: Any) -> None:
    digest = source.digest("kolla/heat-api", "3.0.1")
    Path("list.txt").write_text(f"{source.host}/kolla/heat-api@{digest}\n{source.host}/kolla/heat-engine:3.0.1\n")
    arguments = ("mirror", "list.txt", "--to", target.host, "--emit", "skopeo-sync", "--dry-run")
    status, out, _ = run(capsys, *arguments)
    assert status == 0
    Path("sync.yaml").write_text(out)
    sync = ["skopeo", "--insecure-policy", "sync", "--all", "--preserve-digests", "--src", "yaml", "--dest", "docker"]
    subprocess.run([*sync, "--dest-tls-verify=false", "sync.yaml", f"{target.host}/synced"], check=True)
    engine = source.digest("kolla/heat-engine", "3.0.1")
    assert target.digest("synced/heat-engine", "3.0.1") == engine
    assert target.digest("synced/heat-api", str(digest)) == digest
