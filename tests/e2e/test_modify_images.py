"""Images that are changed on their way from one registry to another, by buildah, and then run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from building import leftovers
from image_bases import (
    Storage,
    deb_repository,
    make_package,
    make_rpm,
    output_of,
    rpm_repository,
)

from diskimage_create import process
from diskimage_create.containers.buildah import private_storage
from diskimage_create.containers.model import Modification, PreparedImage
from diskimage_create.containers.modify import modify_all, problems
from diskimage_create.errors import HostError
from diskimage_create.references import Reference
from diskimage_create.registries import Access, Registries
from diskimage_create.registries.copying import Copied
from registry_servers import MANIFEST, Server, registry

ROLE = "tripleo-modify-image"
#: What docker calls its own manifests
DOCKERS = "application/vnd.docker.distribution.manifest.v2+json"


@dataclass(frozen=True)
class Site:
    """Two registries, one of them full, and the directory of this test run."""

    source: Server
    destination: Server
    node: Storage
    work: Path

    def image(self, name: str, base: str, append_tag: str = "-x", role: str = ROLE, **variables: Any) -> PreparedImage:
        source = Reference(self.source.host, f"tripleo/{base}", "1")
        destination = Reference(self.destination.host, f"tripleo/{name}", f"1{append_tag}")
        return PreparedImage(name, source, destination, modification=Modification(role, variables, append_tag))

    def modify(self, *images: PreparedImage, **more: Any) -> dict[str, Copied]:
        for image in images:
            assert image.modification is not None
            assert problems(image.modification) == []
        hosts = frozenset({self.source.host, self.destination.host})
        with Registries(Access(insecure=hosts)) as registries:
            made = modify_all(images, registries, 2, lambda _: None, **more)
        return {image.name: outcome for image, outcome in zip(images, made, strict=True)}

    def run(self, outcome: Copied, *command: str) -> str:
        return self.node.run(self.node.pull(str(outcome.copy.destination)), *command)


@pytest.fixture(scope="module")
def site(host_images: Storage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    work = tmp_path_factory.mktemp("modify")
    with registry(work / "source") as source, registry(work / "destination") as destination:
        for base, kind in (("rpm", "oci"), ("deb", "v2s2")):
            target = f"docker://{source.host}/tripleo/{base}:1"
            options = ("--quiet", "--tls-verify=false", "--format", kind)
            host_images.buildah("push", *options, f"localhost/{base}:1", target)
        source.push("tripleo/empty", "1")
        yield Site(source, destination, Storage(work / "node"), work)


@pytest.fixture(scope="module")
def delivered(site: Site) -> dict[str, str]:
    """Directories of packages: newer ones, and older ones than those of the images."""
    for name, version in (("newer", "2.0"), ("older", "0.9")):
        directory = site.work / name
        directory.mkdir()
        make_package(directory, "thing", f"{version}-1")
        make_rpm(directory, "thing", version, "1")
    return {name: str(site.work / name) for name in ("newer", "older")}


@pytest.fixture(scope="module")
def dockerfiles(site: Site) -> dict[str, str]:
    good, bad = site.work / "good", site.work / "bad"
    for directory, command in ((good, "/tmp/customize.sh"), (bad, "echo this cannot work; exit 7")):
        directory.mkdir()
        (directory / "Dockerfile").write_text(
            f"FROM docker.io/tripleomaster/nova-compute:latest\nUSER root\n"
            f'COPY customize.sh /tmp/\nRUN {command}\nUSER "nobody"\n'
        )
        script = directory / "customize.sh"
        script.write_text("#!/bin/sh\necho customized > /etc/customized\n")
        script.chmod(0o755)
    return {"good": str(good), "bad": str(bad)}


@pytest.fixture(scope="module")
def project(site: Site) -> Mapping[str, Any]:
    """A repository as Gerrit has them: a released version, and a change that is on no branch."""
    source = site.work / "git" / "demo"
    (source / "src/demo").mkdir(parents=True)
    (source / "pyproject.toml").write_text(
        '[project]\nname = "demo"\nversion = "1.1"\n'
        '[build-system]\nrequires = ["uv_build"]\nbuild-backend = "uv_build"\n'
    )
    module = source / "src/demo/__init__.py"
    module.write_text("STATE = 'released'\n")
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    git = ("git", "-C", source)
    output_of(*git, "init", "--quiet", "--initial-branch=master")
    for number, state in enumerate(("released", "patched", "extended")):
        (source / "src/demo/more.py").write_text("MORE = True\n") if state == "extended" else module.write_text(
            f"STATE = {state!r}\n"
        )
        output_of(*git, "add", ".")
        output_of(*git, *identity, "commit", "--quiet", "-m", state)
        if number:
            output_of(*git, "update-ref", f"refs/changes/12/1234/{number}", "HEAD")
            output_of(*git, "reset", "--quiet", "--hard", "HEAD~1")
    return {
        "repository_url": f"{source.parent}/{{project}}",
        "refspecs": [
            {"project": "demo", "refspec": "refs/changes/12/1234/1"},
            {"project": "demo", "refspec": "refs/changes/12/1234/2"},
        ],
    }


@pytest.fixture(scope="module")
def made(
    site: Site, delivered: dict[str, str], dockerfiles: dict[str, str], project: Mapping[str, Any]
) -> dict[str, Copied]:
    """Everything at once, good and bad, as a deployment does it."""
    both = {"rpms_path": delivered["newer"], "debs_path": delivered["newer"]}
    yum = rpm_repository(site.work / "yum", [("thing", "3.0", "1"), ("new", "1.0", "1")])
    apt = deb_repository(site.work / "apt", [("thing", "3.0-1"), ("new", "1.0-1")])
    demo = f"{site.source.host}/tripleo/deb:1"
    return site.modify(
        site.image("rpm-install", "rpm", tasks_from="rpm_install.yml", **both),
        site.image("deb-install", "deb", tasks_from="deb_install.yml", debs_path=delivered["newer"]),
        site.image("rpm-older", "rpm", tasks_from="rpm_install.yml", rpms_path=delivered["older"]),
        site.image("deb-older", "deb", tasks_from="rpm_install.yml", debs_path=delivered["older"]),
        site.image("deb-without", "deb", tasks_from="rpm_install.yml", rpms_path=delivered["newer"]),
        site.image("rpm-update", "rpm", tasks_from="yum_update.yml", yum_repos_dir_path=str(yum)),
        site.image("rpm-one", "rpm", tasks_from="yum_update.yml", yum_repos_dir_path=str(yum), update_repo="own"),
        site.image("deb-update", "deb", tasks_from="yum_update.yml", apt_sources_dir_path=str(apt)),
        site.image("docker-good", "rpm", tasks_from="modify_image.yml", modify_dir_path=dockerfiles["good"]),
        site.image("docker-bad", "rpm", tasks_from="modify_image.yml", modify_dir_path=dockerfiles["bad"]),
        site.image("dev", "rpm", tasks_from="dev_install.yml", source_image=demo, **project),
        site.image("empty", "empty", tasks_from="rpm_install.yml", **both),
        site.image("missing", "missing", tasks_from="rpm_install.yml", **both),
    )


def content(server: Server, path: str) -> Any:
    answer = server.session.get(server.url(path), headers={"Accept": f"{MANIFEST}, {DOCKERS}"})
    answer.raise_for_status()
    return answer.json()


GOOD = ("rpm-install", "deb-install", "rpm-update", "rpm-one", "deb-update", "docker-good", "dev")


@pytest.mark.parametrize("name", GOOD)
def test_an_image_is_changed_and_stored(site: Site, made: dict[str, Copied], name: str) -> None:
    outcome = made[name]
    assert (outcome.status, outcome.why) == ("copied", "")
    assert outcome.digest == site.destination.digest(f"tripleo/{name}", "1-x")
    assert outcome.size > 0


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("rpm-install", "/usr/share/thing", "2.0-1"),
        ("rpm-update", "/usr/share/thing", "3.0-1"),
        ("rpm-one", "/usr/share/thing", "3.0-1"),
        ("docker-good", "/etc/customized", "customized"),
    ],
)
def test_what_was_changed_is_in_it(site: Site, made: dict[str, Copied], name: str, file: str, content: str) -> None:
    assert site.run(made[name], "cat", file).strip() == content


@pytest.mark.parametrize(("name", "version"), [("deb-install", "2.0-1"), ("deb-update", "3.0-1")])
def test_debian_packages_are_in_it(site: Site, made: dict[str, Copied], name: str, version: str) -> None:
    assert site.run(made[name], "dpkg-query", "--show", "--showformat=${Version}", "thing") == version


def test_projects_are_installed_with_their_changes(site: Site, made: dict[str, Copied]) -> None:
    code = "import demo, demo.more; print(demo.STATE, demo.more.MORE)"
    assert site.run(made["dev"], "python3", "-c", code).split() == ["patched", "True"]


@pytest.mark.parametrize("name", GOOD)
def test_all_else_of_it_is_as_it_was(site: Site, made: dict[str, Copied], name: str) -> None:
    """Its user, its labels, its layers: what nodes have of the source they need not fetch again."""
    source = str(made[name].copy.source).rpartition("/")[2].partition(":")[0]
    changed = content(site.destination, f"tripleo/{name}/manifests/1-x")
    base = content(site.source, f"tripleo/{source}/manifests/1")
    assert changed["layers"][: len(base["layers"])] == base["layers"]
    assert changed["mediaType"] == base["mediaType"]
    config = content(site.destination, f"tripleo/{name}/blobs/{changed['config']['digest']}")["config"]
    assert config["User"] == "nobody"
    assert config["Labels"]["modified_append_tag"] == "-x"
    assert config["Labels"]["version"] == "1"
    left = "find /mnt /run /tmp /var/cache/apt /var/cache/dnf /var/lib/apt/lists -newer /etc/hostname -type f"
    assert site.run(made[name], "sh", "-c", f"{left} 2>/dev/null || :").split() in ([], ["/tmp/customize.sh"])


@pytest.mark.parametrize(
    ("name", "step", "shown"),
    [
        ("rpm-older", "installing the packages failed", "package thing-1.0-1.noarch (which is newer than"),
        ("deb-older", "are not what is installed", "thing.all 0.9-1 was delivered, and the image has 1.0-1"),
        ("deb-without", "it is made of deb packages, and there is no debs_path", ""),
        ("docker-bad", "building from the Dockerfile failed", "this cannot work"),
        ("empty", "looking at the packages of the image failed", "/bin/sh"),
        ("missing", "the registry has no such image", ""),
    ],
)
def test_a_failure_is_named_and_leaves_nothing(
    site: Site, made: dict[str, Copied], name: str, step: str, shown: str
) -> None:
    outcome = made[name]
    assert outcome.status == "failed"
    assert step in outcome.why
    assert shown in outcome.why
    answer = site.destination.session.get(site.destination.url(f"tripleo/{name}/tags/list"))
    assert not (answer.json().get("tags") if answer.ok else None)


def test_what_is_there_already_is_left_alone(site: Site, made: dict[str, Copied], delivered: dict[str, str]) -> None:
    again = site.image("rpm-install", "rpm", tasks_from="rpm_install.yml", rpms_path=delivered["older"])
    outcome = site.modify(again)["rpm-install"]
    assert outcome.status == "present"
    assert outcome.digest == made["rpm-install"].digest


def test_nothing_is_left_on_the_host(made: dict[str, Copied], site: Site) -> None:
    assert [name for name in leftovers() if "diskimage-create-" in name] == []


@pytest.mark.parametrize(("on_host", "installed"), [("1.0", "1.0-1"), ("2.0", "3.0-1")])
def test_packages_that_are_as_on_the_host_are_not_updated(
    site: Site, made: dict[str, Copied], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_host: str, installed: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    if not output_of("rpm", "--eval", "%_dbpath").startswith(str(tmp_path)):
        pytest.skip("rpm of this host keeps its database where a test may not write")
    output_of("rpm", "--initdb")
    output_of("rpm", "--install", "--justdb", "--nodeps", make_rpm(tmp_path, "thing", on_host, "1"))
    variables = {"yum_repos_dir_path": str(site.work / "yum.repos.d"), "compare_host_packages": True}
    image = site.image(f"compared-{on_host}", "rpm", tasks_from="yum_update.yml", **variables)
    outcome = site.modify(image)[image.name]
    assert (outcome.status, outcome.why) == ("copied", "")
    assert site.run(outcome, "cat", "/usr/share/thing").strip() == installed


@pytest.fixture
def role(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An Ansible role as TripleO has them: it changes ``source_image`` by buildah, and tags the result."""
    if process.which("ansible-playbook") is None:
        pytest.skip("ansible-core is not installed")
    tasks = tmp_path / "roles" / "add-greeting" / "tasks"
    tasks.mkdir(parents=True)
    script = """
        set -eu
        container=$(buildah from --pull-never {{ source_image }})
        echo '{{ greeting }}' | buildah run $container -- sh -c 'cat > /tmp/greeting'
        buildah config --label modified_append_tag={{ modified_append_tag }} $container
        {{ 'true' if works else 'echo it is broken >&2; exit 3' }}
        buildah commit --quiet $container {{ target_image }}{{ modified_append_tag }}
    """
    (tasks / "main.yml").write_text(json.dumps([{"name": "greet", "ansible.builtin.shell": script}]))
    monkeypatch.setenv("ANSIBLE_ROLES_PATH", str(tmp_path / "roles"))
    return "add-greeting"


def test_a_role_of_somebody_elses_changes_images(site: Site, role: str) -> None:
    good = site.image("by-role", "deb", "-r", role, greeting="good day", works=True)
    bad = site.image("by-bad-role", "deb", "-r", role, greeting="", works=False)
    made = site.modify(good, bad)
    assert (made["by-role"].status, made["by-role"].why) == ("copied", "")
    assert site.run(made["by-role"], "cat", "/tmp/greeting").strip() == "good day"
    assert made["by-bad-role"].status == "failed"
    assert "the role add-greeting failed (ansible-playbook: exit status 2)" in made["by-bad-role"].why
    assert "it is broken" in made["by-bad-role"].why


def test_without_ansible_a_role_is_refused_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "tool_path", lambda: "/nowhere")
    with pytest.raises(HostError, match="modify_role add-greeting is an Ansible role, and ansible-playbook is not"):
        site.modify(site.image("by-role", "deb", "-n", "add-greeting"))


@pytest.mark.parametrize(("cleanup", "kept"), [("partial", False), ("none", True)])
def test_images_may_be_left_on_the_host(
    site: Site, delivered: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cleanup: Any, kept: bool
) -> None:
    storage = Storage(tmp_path / "host")
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(storage.configuration))
    image = site.image(f"left-{cleanup}", "rpm", tasks_from="rpm_install.yml", rpms_path=delivered["newer"])
    older = site.image(f"bad-{cleanup}", "rpm", tasks_from="rpm_install.yml", rpms_path=delivered["older"])
    made = site.modify(image, older, cleanup=cleanup)
    assert [outcome.status for outcome in made.values()] == ["copied", "failed"]
    assert storage.containers == []
    assert str(image.destination) in storage.images
    sources = [name for name in storage.images if name != str(image.destination)]
    assert bool(sources) is kept


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_an_interruption_stops_everything_and_leaves_nothing(
    site: Site, tmp_path: Path, signum: signal.Signals
) -> None:
    directory = tmp_path / "slow"
    directory.mkdir()
    (directory / "Dockerfile").write_text("FROM x\nUSER root\nRUN exec sleep 600.1357\n")
    code = f"""
import signal
from diskimage_create.cli import stop_on_signals
from diskimage_create import process
from diskimage_create.containers.model import Modification, PreparedImage
from diskimage_create.containers.modify import modify_all
from diskimage_create.references import Reference
from diskimage_create.registries import Access, Registries

stop_on_signals()
variables = {{"tasks_from": "modify_image.yml", "modify_dir_path": {str(directory)!r}}}
change = Modification("tripleo-modify-image", variables, "-i")
source = Reference({site.source.host!r}, "tripleo/deb", "1")
images = [
    PreparedImage(name, source, Reference({site.destination.host!r}, "tripleo/" + name, "1-i"), modification=change)
    for name in ("one", "two", "three")
]
with Registries(Access(insecure=frozenset({{source.registry, {site.destination.host!r}}}))) as registries:
    modify_all(images, registries, 2, print)
"""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = {**os.environ, "TMPDIR": str(scratch)}
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        deadline = time.monotonic() + 120
        while not _sleepers():
            assert child.poll() is None, child.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        child.send_signal(signum)
        printed, _ = child.communicate(timeout=60)
    if signum == signal.SIGKILL:
        assert len(list(scratch.iterdir())) == 1
        while _sleepers():  # the kernel kills them one after the other
            assert time.monotonic() < deadline
            time.sleep(0.1)
        with private_storage(Access(), scratch):
            pass
    else:
        assert child.returncode == 1
        assert "Interrupted" in printed
    assert _sleepers() == []
    assert list(scratch.iterdir()) == []
    for name in ("one", "two", "three"):
        assert site.destination.digest(f"tripleo/{name}", "1-i") is None


def _sleepers() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if path.read_bytes() == b"sleep\x00600.1357\x00":
                found.append(str(path))
    return found
