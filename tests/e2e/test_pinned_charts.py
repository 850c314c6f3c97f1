"""Charts pinned to what real registries have."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from diskimage_create import cli
from registry_servers import Server, registry

#: OpenStack-Helm's heat chart of 2017
HEAT = """\
images:
  dep_check: {host}/stackanetes/kubernetes-entrypoint:v0.1.1
  db_init: {host}/stackanetes/stackanetes-kolla-toolbox:newton
  db_sync: {host}/kolla/ubuntu-source-heat-api:3.0.1
  ks_user: {host}/stackanetes/stackanetes-kolla-toolbox:newton
  api: {host}/kolla/ubuntu-source-heat-api:3.0.1
  engine: {host}/kolla/ubuntu-source-heat-engine:3.0.1
  pull_policy: "IfNotPresent"
"""
IMAGES = {
    "stackanetes/kubernetes-entrypoint": "v0.1.1",
    "stackanetes/stackanetes-kolla-toolbox": "newton",
    "kolla/ubuntu-source-heat-api": "3.0.1",
    "kolla/ubuntu-source-heat-engine": "3.0.1",
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with registry(tmp_path / "registry") as running:
        for repository, tag in IMAGES.items():
            running.push_index(repository, tag, ["amd64", "arm64"], labels={"version": tag, "release": "7"})
        yield running


@pytest.fixture
def chart(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DISKIMAGE_CREATE_INSECURE_REGISTRY", server.host)
    Path("heat.yaml").write_text(HEAT.format(host=server.host))
    return "heat.yaml"


def run(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["images", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def pinned(server: Server, repository: str) -> str:
    tag = IMAGES[repository]
    return f"{server.host}/{repository}:{tag}@{server.digest(repository, tag)}"


def test_a_chart_is_pinned_to_indexes_and_drift_is_seen(server: Server, chart: str, capsys: Any) -> None:
    status, _, _ = run(capsys, "pin", chart, "-o", "pinned.yaml")
    assert status == 0
    api = pinned(server, "kolla/ubuntu-source-heat-api")
    toolbox = pinned(server, "stackanetes/stackanetes-kolla-toolbox")
    assert yaml.safe_load(Path("pinned.yaml").read_text()) == {
        "images": {
            "dep_check": pinned(server, "stackanetes/kubernetes-entrypoint"),
            "db_init": toolbox,
            "db_sync": api,
            "ks_user": toolbox,
            "api": api,
            "engine": pinned(server, "kolla/ubuntu-source-heat-engine"),
        }
    }
    asked = [line for line in server.log.read_text().splitlines() if '"HEAD /v2/kolla/ubuntu-source-heat-api' in line]
    assert len([line for line in asked if "python-requests" in line]) == 2  # pin's, and this test's own
    assert run(capsys, "pin", chart, "--check")[0] == 0
    assert run(capsys, "lint", "--require-digest", "pinned.yaml")[0] == 0
    # The digests are kept where they are known: nothing can move any more.
    assert run(capsys, "pin", "pinned.yaml", "-o", "again.yaml", "--lock", "again.lock.yaml")[0] == 0
    assert Path("again.yaml").read_text() == Path("pinned.yaml").read_text()

    was = server.digest("kolla/ubuntu-source-heat-engine", "3.0.1")
    server.push("kolla/ubuntu-source-heat-engine", "3.0.1", labels={"moved": "yes"})
    lock = Path("images.lock.yaml").read_text()
    status, out, _ = run(capsys, "pin", chart, "--check", "-o", "new.yaml")
    assert status == 1
    now = server.digest("kolla/ubuntu-source-heat-engine", "3.0.1")
    name = f"{server.host}/kolla/ubuntu-source-heat-engine:3.0.1"
    assert out == f"{name}: was {was}, is {now}, for images.engine (heat.yaml:7)\n"
    assert (Path("images.lock.yaml").read_text(), Path("new.yaml").exists()) == (lock, False)


def test_an_unknown_tag_is_named_with_its_keys(server: Server, chart: str, capsys: Any) -> None:
    Path(chart).write_text(Path(chart).read_text().replace(":newton", ":neutron"))
    status, out, err = run(capsys, "pin", chart)
    assert (status, out) == (1, "")
    assert f"{server.host}/stackanetes/stackanetes-kolla-toolbox:neutron" in err
    assert "images.db_init (heat.yaml:3), images.ks_user (heat.yaml:5)" in err
    status, out, _ = run(capsys, "pin", chart, "--keep-going", "--format", "digest")
    assert status == 1
    images = yaml.safe_load(out)["images"]
    repository = "kolla/ubuntu-source-heat-api"
    assert images["api"] == f"{server.host}/{repository}@{server.digest(repository, '3.0.1')}"
    assert set(images) == {"dep_check", "db_sync", "api", "engine"}


def test_labels_make_tags(server: Server, chart: str, capsys: Any) -> None:
    arguments = ("pin", chart, "--by", "label:{version}-{release}")
    status, _, err = run(capsys, *arguments)
    assert status == 1
    assert "its labels say 3.0.1-7, and the registry has no such tag" in err
    for repository, tag in IMAGES.items():
        server.push_index(repository, f"{tag}-7", ["amd64"])
    status, out, _ = run(capsys, *arguments, "--lock", "lock.yaml")
    assert status == 0
    assert yaml.safe_load(out)["images"]["api"] == f"{server.host}/kolla/ubuntu-source-heat-api:3.0.1-7"
    assert run(capsys, *arguments, "--lock", "lock.yaml", "--check")[0] == 0
    status, _, err = run(capsys, "pin", chart, "--by", "label:commit")
    assert status == 1
    assert "it has no label commit" in err


def test_charts_become_sections_that_split_into_overrides(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    host = server.host
    for name, layout in {"heat": "images: {{api: {}}}\n", "nova": "images: {{tags: {{api: {}}}}}\n"}.items():
        (tmp_path / "charts" / name).mkdir(parents=True)
        (tmp_path / "charts" / name / "Chart.yaml").write_text(f"name: {name}\n")
        reference = f"{host}/kolla/ubuntu-source-heat-api:3.0.1"
        (tmp_path / "charts" / name / "values.yaml").write_text(layout.format(reference))
    out = tmp_path / "pinned.yaml"
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "pin", str(tmp_path / "charts"), "-o", str(out), "--insecure-registry", host)[0] == 0
    assert cli.main(["values", "split", str(out), "-o", str(tmp_path / "values")]) == 0
    api = pinned(server, "kolla/ubuntu-source-heat-api")
    assert yaml.safe_load((tmp_path / "values/heat.yaml").read_text()) == {"images": {"api": api}}
    assert yaml.safe_load((tmp_path / "values/nova.yaml").read_text()) == {"images": {"tags": {"api": api}}}


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", [["pin"], ["pin", "--check", "--lock", "lock.yaml"], ["mirror"]])
def test_a_signal_ends_the_waiting_for_a_registry_that_does_not_answer(
    signum: int, command: list[str], tmp_path: Path
) -> None:
    (tmp_path / "lock.yaml").write_text("schema: 1\nimages: {}\n")
    (tmp_path / "out.yaml").write_text("old")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        (tmp_path / "list.txt").write_text("".join(f"{host}/a/b:{number}\n" for number in range(100)))
        more = ["--to", host.replace("127.0.0.1", "localhost")] if command == ["mirror"] else []
        arguments = ["images", *command, *more, "list.txt", "-o", "out.yaml", "--insecure-registry", host]
        process = subprocess.Popen(
            [sys.executable, "-m", "diskimage_create", *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True
        )
        try:
            silent.settimeout(60)
            connection, _ = silent.accept()
            process.send_signal(signum)
            err = process.communicate(timeout=20)[1]  # less than a registry is waited for
            connection.close()
        finally:
            process.kill()
            process.wait()
    assert process.returncode == 130
    assert "error: interrupted by" in err
    assert (tmp_path / "out.yaml").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.txt", "lock.yaml", "out.yaml"]
