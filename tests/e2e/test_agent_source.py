"""The agent from a git repository: ``--git-branch``, the repository and the constraints named by the environment."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from building import Built, run_build

LOCK = Path(__file__).parents[2] / "elements/amphora-agent/install.d/amphora-agent-pypi-install/octavia.lock"
BRANCH = "stable/test"


def git(repository: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    command = ["git", "-C", str(repository), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository of octavia with a branch, made from its source distribution."""
    directory = tmp_path_factory.mktemp("octavia")
    release = re.search(r"^octavia==(\S+)", LOCK.read_text(), re.MULTILINE)
    assert release is not None
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "octavia"]
    subprocess.run([*pip, f"octavia=={release[1]}"], cwd=directory, check=True)
    (archive,) = directory.glob("octavia-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(directory, filter="data")
    repository = directory / archive.name.removesuffix(".tar.gz")
    git(repository, "init", "--quiet", "--initial-branch", BRANCH)
    git(repository, "add", "--all", "--force")
    git(repository, "commit", "--quiet", "--message", "the release")
    git(repository, "tag", "--annotate", "--message", "the release", release[1])
    return repository


@pytest.fixture(scope="module")
def from_source(builds: Path, repository: Path) -> Built:
    directory = builds / "from-source"
    directory.mkdir()
    constraints = directory / "upper-constraints.txt"
    constraints.write_text("\n".join(re.findall(r"^[a-z0-9.-]+==[^ ]+", LOCK.read_text(), re.MULTILINE)) + "\n")
    sources = {
        "DIB_REPOLOCATION_amphora_agent": str(repository),
        "DIB_REPOLOCATION_upper_constraints": f"file://{constraints}",
    }
    built = run_build(directory, "-i", "debian", "-d", "bookworm", "-g", BRANCH, "-t", "raw", env=sources)
    assert built.returncode == 0, built.stderr[-4000:]
    return built


def test_the_agent_of_the_branch_is_in_the_image(from_source: Built, repository: Path, tmp_path: Path) -> None:
    from diskimage_create.validate.image import open_image

    with open_image(from_source.path("raw"), workspace=tmp_path) as view:
        reference = view.root.read_text("/opt/amphora-agent.gitref")
    assert (reference or "").strip() == git(repository, "rev-parse", "HEAD")
    assert from_source.record("raw")["environment"]["DIB_REPOREF_amphora_agent"] == BRANCH


def test_nothing_of_its_source_is_left(from_source: Built) -> None:
    checks = {check["id"]: check["status"] for check in from_source.record("raw")["validation"]["checks"]}
    assert checks["build-dependencies"] == checks["agent-files"] == checks["agent-entry-points"] == "pass"
