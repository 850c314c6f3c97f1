"""``container image prepare`` between real registries: the examples of TripleO's documentation, and what goes wrong.

The images are those of the small table in ``tripleo_table``. The registry that stands for Docker Hub is its mirror, so
that names are those of the documentation.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import tripleo_table
from contract import schema_errors
from diskimage_create import cli
from registry_servers import Server, certificate, htpasswd, layer, registry

HASH = "35414701c176a6288fc2ad141dad0f73624dcb94_43527485"
LABELS = {"rdo_version": HASH, "version": "1.2.3", "release": "4.el9"}
HUB = "docker.io/tripleomaster/centos-binary-"
needs_skopeo = pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with registry(tmp_path_factory.mktemp("hub")) as running:
        for name in tripleo_table.NAMES:
            for tag in ("current-tripleo", HASH, "1.2.3-4.el9"):
                running.push(f"tripleomaster/centos-binary-{name}", tag, [layer({"name": name.encode()})], LABELS)
        running.push("ceph/daemon", "4.10")
        running.push("ceph/ceph", "latest", labels={"version": "9", "release": "9"})
        yield running


@pytest.fixture
def undercloud(tmp_path: Path) -> Iterator[Server]:
    with registry(tmp_path / "undercloud") as running:
        yield running


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in os.environ:
        if name.startswith("DISKIMAGE_CREATE_") or name == "REGISTRY_AUTH_FILE":
            monkeypatch.delenv(name)


@pytest.fixture
def prepare(hub: Server, tmp_path: Path, capsys: Any) -> Any:
    """Runs it with entries, and with values of the parameters beside them; status, output, messages."""
    tables = tripleo_table.write(tmp_path)

    def run(entries: Any, *options: str, **siblings: Any) -> tuple[int, str, str]:
        if isinstance(entries, str):
            entries = yaml.safe_load(entries)
        values = {"ContainerImagePrepare": entries, "DockerRegistryMirror": f"http://{hub.host}/", **siblings}
        Path("prepare.yaml").write_text(yaml.safe_dump({"parameter_defaults": values}))
        status = cli.main(["container", "image", "prepare", "-e", "prepare.yaml", *tables, *options])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def parameters(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text)["parameter_defaults"]
    return found


def documented(found: Mapping[str, Any]) -> tuple[str, str]:
    """The two parameters that the documentation shows."""
    return found["DockerNeutronMetadataImage"], found["DockerNovaApiImage"]


def tags(server: Server) -> dict[str, list[str]]:
    repositories = server.session.get(server.url("_catalog")).json()["repositories"]
    return {name: server.session.get(server.url(f"{name}/tags/list")).json()["tags"] for name in repositories}


# Where images are pulled from


def test_by_default_images_are_named_by_their_labels(prepare):
    status, out, err = prepare([], "--parameter-prefix", "Docker")
    assert status == 0, err
    found = parameters(out)
    assert documented(found) == (f"{HUB}neutron-metadata-agent:{HASH}", f"{HUB}nova-api:{HASH}")
    assert found["DockerCephDaemonImage"] == "docker.io/ceph/daemon:4.10"
    assert "note: 1 image has not the labels of tag_from_label rdo_version, and keep" in err
    assert "DockerInsecureRegistryAddress" not in found


def test_labels_can_make_a_tag_together_and_ceph_can_be_left_out(prepare):
    entries = [{"tag_from_label": "{version}-{release}", "set": {"ceph_images": False}}]
    status, out, err = prepare(entries)
    assert status == 0, err
    images = [value for name, value in parameters(out).items() if name.endswith("Image")]
    assert {image.rpartition(":")[2] for image in images} == {"1.2.3-4.el9"}
    assert "note:" not in err


def test_without_a_label_the_tag_is_what_it_is_and_nobody_is_asked(prepare, hub):
    before = hub.log.read_text()
    status, out, err = prepare([{"set": {"tag": "whatever"}}])
    assert status == 0, err
    assert parameters(out)["ContainerNovaApiImage"] == f"{HUB}nova-api:whatever"
    assert hub.log.read_text() == before


def test_ceph_can_have_tags_of_its_own(prepare, hub, undercloud):
    entries = """
    - push_destination: HERE
      set:
        namespace: docker.io/tripleomaster
        name_prefix: centos-binary-
        name_suffix: ''
        tag: current-tripleo
      tag_from_label: '{version}-{release}'
      excludes: [ceph]
    - push_destination: HERE
      set:
        ceph_image: ceph
        ceph_namespace: docker.io/ceph
        ceph_tag: latest
      includes: [ceph]
    """.replace("HERE", undercloud.host)
    status, out, err = prepare(entries, "--dry-run")
    assert status == 0, err
    assert parameters(out)["ContainerCephDaemonImage"] == f"{undercloud.host}/ceph/ceph:latest"
    assert parameters(out)["ContainerNovaApiImage"].endswith("/tripleomaster/centos-binary-nova-api:1.2.3-4.el9")


# Where they go


@needs_skopeo
def test_images_are_copied_and_heat_is_told(prepare, hub, undercloud):
    entries = [{"push_destination": undercloud.host, "tag_from_label": "rdo_version"}]
    Path("images.yaml").write_text("old\n")
    options = ("--output-env-file", "images.yaml", "--report", "report.json", "--parameter-prefix", "Docker")
    status, out, err = prepare(entries, *options)
    assert (status, out) == (0, ""), err
    there = f"{undercloud.host}/tripleomaster/centos-binary-"
    found = parameters(Path("images.yaml").read_text())
    assert documented(found) == (f"{there}neutron-metadata-agent:{HASH}", f"{there}nova-api:{HASH}")
    assert found["DockerInsecureRegistryAddress"] == [undercloud.host]
    assert Path("images.yaml.backup").read_text() == "old\n"
    assert f"note: {undercloud.host} has no TLS" in err
    repository = "tripleomaster/centos-binary-nova-api"
    assert undercloud.digest(repository, HASH) == hub.digest(repository, HASH)
    report = json.loads(Path("report.json").read_text())
    assert schema_errors(report, "container-images") == []
    assert {image["status"] for image in report["images"]} == {"copied"}
    # neutron-server sets what neutron-server-ovn sets after it, and ContainerNeutronApiImage besides
    assert sorted(tags(undercloud)) == sorted(
        ["ceph/daemon", *(f"tripleomaster/centos-binary-{name}" for name in tripleo_table.NAMES)]
    )
    status, _, err = prepare(entries, *options)
    assert status == 0, err
    assert {image["status"] for image in json.loads(Path("report.json").read_text())["images"]} == {"present"}
    assert "6 images: 6 there already" in err


@needs_skopeo
def test_a_later_entry_takes_an_image_that_was_built_here(prepare, undercloud):
    built = undercloud.push("mylocal/centos-binary-nova-api", "myhotfix")
    entries = """
    - tag_from_label: rdo_version
      push_destination: HERE
      excludes:
      - nova-api
      set:
        namespace: docker.io/tripleomaster
        name_prefix: centos-binary-
        name_suffix: ''
        tag: current-tripleo
    - push_destination: HERE
      includes:
      - nova-api
      set:
        namespace: mylocal
        tag: myhotfix
    """.replace("HERE", undercloud.host)
    status, out, err = prepare(entries, "--parameter-prefix", "Docker")
    assert status == 0, err
    assert documented(parameters(out)) == (
        f"{undercloud.host}/tripleomaster/centos-binary-neutron-metadata-agent:{HASH}",
        f"{undercloud.host}/mylocal/centos-binary-nova-api:myhotfix",
    )
    assert undercloud.digest("mylocal/centos-binary-nova-api", "myhotfix") == built
    assert "tripleomaster/centos-binary-nova-api" not in tags(undercloud)


def test_a_dry_run_copies_nothing(prepare, undercloud):
    entries = [{"push_destination": f"{undercloud.host}/prefix", "tag_from_label": "rdo_version"}]
    status, out, err = prepare(entries, "--dry-run", "--format", "json")
    assert status == 0, err
    report = json.loads(out)
    assert schema_errors(report, "container-images") == []
    assert {(image["status"], image["why"]) for image in report["images"]} == {("skipped", "a dry run")}
    assert "6 images: 6 not brought: it is a dry run" in err
    api = next(image for image in report["images"] if image["name"] == "centos-binary-nova-api")
    assert api["destination"] == f"{undercloud.host}/prefix/tripleomaster/centos-binary-nova-api:{HASH}"
    assert tags(undercloud) == {}


@needs_skopeo
@pytest.mark.skipif(not shutil.which("buildah") or os.geteuid() != 0, reason="needs buildah, and root for it")
def test_an_image_is_changed_on_its_way_once(prepare, undercloud):
    custom = Path("custom")
    custom.mkdir()
    (custom / "Dockerfile").write_text("FROM whatever\nCOPY new /etc/new\n")
    (custom / "new").write_text("new")
    entries = [
        {"push_destination": undercloud.host, "tag_from_label": "rdo_version"},
        {
            "push_destination": undercloud.host,
            "tag_from_label": "rdo_version",
            "includes": ["nova-compute"],
            "modify_role": "tripleo-modify-image",
            "modify_append_tag": "-hotfix",
            "modify_vars": {"tasks_from": "modify_image.yml", "modify_dir_path": str(custom.absolute())},
        },
    ]
    status, out, err = prepare(entries)
    assert status == 0, err
    repository = "tripleomaster/centos-binary-nova-compute"
    assert parameters(out)["ContainerNovaComputeImage"] == f"{undercloud.host}/{repository}:{HASH}-hotfix"
    assert tags(undercloud)[repository] == [f"{HASH}-hotfix"]
    made = undercloud.digest(repository, f"{HASH}-hotfix")
    status, _, err = prepare(entries, "--report", "report.json")
    assert status == 0, err
    assert undercloud.digest(repository, f"{HASH}-hotfix") == made
    (changed,) = [image for image in json.loads(Path("report.json").read_text())["images"] if image["modified"]]
    assert (changed["name"], changed["status"]) == ("centos-binary-nova-compute", "present")


@needs_skopeo
def test_credentials_reach_registries_and_nothing_else(prepare, tmp_path, undercloud):
    tls = certificate(tmp_path / "tls")
    auth = htpasswd(tmp_path / "auth", "me", "correct-horse")
    with registry(tmp_path / "private", tls, auth, ("me", "correct-horse")) as private:
        for name in tripleo_table.NAMES:
            private.push(f"n/centos-binary-{name}", "current-tripleo", labels=LABELS)
            private.push(f"n/centos-binary-{name}", HASH)
        private.push("ceph/daemon", "4.10")
        values = {"namespace": f"{private.host}/n", "ceph_namespace": f"{private.host}/ceph"}
        entries = [{"push_destination": undercloud.host, "tag_from_label": "rdo_version", "set": values}]
        options = ("--registry-ca", str(tls.ca), "--report", "report.json")

        def run(password: str, *more: str) -> tuple[int, str, str]:
            credentials = {private.host: {"me": password}}
            result: tuple[int, str, str] = prepare(
                entries, *options, *more, ContainerImageRegistryCredentials=credentials
            )
            return result

        status, out, err = run("battery-staple")
        assert (status, out) == (6, "")
        assert "the registry wants other credentials" in err
        assert "battery-staple" not in err
        status, out, err = run("correct-horse")
        assert status == 0, err
        assert "correct-horse" not in out + err + Path("report.json").read_text()
        assert "note: the credentials of Ceph's registry are only written with --output-env-file" in err
        status, _, err = run("correct-horse", "--output-env-file", "images.yaml")
        assert status == 0, err
        assert "correct-horse" not in err
        found = parameters(Path("images.yaml").read_text())
        assert found["ceph_docker_registry_username"] == "me"
        assert found["ceph_docker_registry_password"] == "correct-horse"
        assert Path("images.yaml").stat().st_mode & 0o777 == 0o600
    leaks = [path for path in tmp_path.rglob("*") if path.is_file() and b"correct-horse" in path.read_bytes()]
    assert {path.name for path in leaks} <= {"prepare.yaml", "images.yaml"}


@needs_skopeo
@pytest.mark.parametrize("many", [True, False])
def test_all_architectures_are_copied_if_asked_for(prepare, hub, undercloud, many):
    digest = hub.push_index("several/centos-binary-nova-api", "t", ["amd64", "arm64", "ppc64le"])
    values = {"namespace": "docker.io/several", "tag": "t"}
    entry = {"push_destination": undercloud.host, "includes": ["nova-api"], "set": values, "multi_arch": many}
    status, _, err = prepare([entry])
    assert status == 0, err
    copied = undercloud.digest("several/centos-binary-nova-api", "t")
    assert copied is not None
    assert (copied == digest) is many


# What goes wrong


def test_a_discovered_tag_must_be_there(prepare, hub):
    with_other = {"rdo_version": f"{HASH[:-1]}6"}
    hub.push("wrong/centos-binary-nova-api", "current-tripleo", labels=with_other)
    hub.push("wrong/centos-binary-nova-api", HASH)
    entries = [{"tag_from_label": "rdo_version", "set": {"namespace": "docker.io/wrong"}, "includes": ["nova-api"]}]
    status, out, err = prepare(entries, "--output-env-file", "images.yaml")
    assert (status, out) == (6, "")
    assert f"its labels make the tag {HASH[:-1]}6, and the registry has none" in err
    assert f"hint: there are {HASH}" in err
    assert not Path("images.yaml").exists()


@needs_skopeo
def test_nothing_is_written_unless_every_image_is_there(prepare, hub, undercloud):
    for name in tripleo_table.NAMES[:-1]:
        hub.push(f"some/centos-binary-{name}", "t")
    entries = [{"push_destination": undercloud.host, "set": {"namespace": "docker.io/some", "tag": "t"}}]
    Path("images.yaml").write_text("old\n")
    status, out, err = prepare(entries, "--output-env-file", "images.yaml", "--report", "report.json")
    assert (status, out) == (6, "")
    assert "error: centos-binary-neutron-server-ovn: " in err
    assert err.count("error:") == 1
    assert "6 images: 5 brought, 1 failed" in err
    assert (Path("images.yaml").read_text(), Path("images.yaml.backup").exists()) == ("old\n", False)
    report = json.loads(Path("report.json").read_text())
    assert schema_errors(report, "container-images") == []
    assert [image["name"] for image in report["images"] if image["status"] == "failed"] == [
        "centos-binary-neutron-server-ovn"
    ]
    assert "some/centos-binary-nova-api" in tags(undercloud)


def test_two_images_of_one_name_are_refused(prepare, undercloud):
    Path("table.yaml.j2").write_text(
        "container_images_template:\n- {imagename: a.example.com/n/x:1, params: [A]}\n"
        "- {imagename: b.example.com/n/x:1, params: [B]}\n"
    )
    status, out, err = prepare([{"push_destination": undercloud.host}], "--dry-run")
    assert (status, out) == (2, "")
    assert f"both a.example.com/n/x:1 and b.example.com/n/x:1 would become {undercloud.host}/n/x:1" in err


def test_what_to_do_is_said_once_below_all_that_failed(prepare, tmp_path):
    tls = certificate(tmp_path / "tls")
    auth = htpasswd(tmp_path / "auth", "me", "correct-horse")
    with registry(tmp_path / "private", tls, auth, ("me", "correct-horse")) as private:
        entries = [{"push_destination": private.host, "includes": ["nova-"]}]
        status, out, err = prepare(entries, "--registry-ca", str(tls.ca))
    assert (status, out) == (6, "")
    assert err.count("error: ") == 2
    assert err.rpartition("error: ")[2].count("hint: log in with 'skopeo login'") == err.count("hint: ") == 1
