"""Real builds. Each image is built once per run and shared by all tests that look at it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import image_bases
import pytest
from building import REPRODUCIBLE, Built, leftovers, run_build
from image_bases import Storage


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the builds of this run are made."""
    if os.geteuid() != 0:
        pytest.skip("real builds need root")
    return tmp_path_factory.mktemp("builds")


#: Of what modules make, what others use, too: images, and what was stored of builds
SHARED = frozenset({"bookworm", "trixie", "cache"})


@pytest.fixture(scope="module", autouse=True)
def room(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[None]:
    """Removes what a module has made when all its tests have passed: a run has gigabytes of it."""
    failed = request.session.testsfailed
    before = made(tmp_path_factory)
    yield
    mounts = Path("/proc/self/mounts").read_text()
    if request.session.testsfailed == failed and str(tmp_path_factory.getbasetemp()) not in mounts:
        for path in made(tmp_path_factory) - before:
            shutil.rmtree(path, ignore_errors=True)


def made(tmp_path_factory: pytest.TempPathFactory) -> set[Path]:
    """The directories of builds and of modules' own, without what is shared."""
    top = tmp_path_factory.getbasetemp()
    directories = {path for path in top.iterdir() if not path.name.startswith(("builds", "images"))}
    return directories | {path for path in top.glob("builds*/*") if path.name not in SHARED}


@pytest.fixture(scope="session")
def bookworm(builds: Path) -> Built:
    """The Debian 12 amphora, as qcow2 and as tar; its stages and itself are in the store of the run."""
    directory = builds / "bookworm"
    directory.mkdir()
    built = run_build(directory, "-i", "debian", "-d", "bookworm", "-t", "qcow2,tar", env=REPRODUCIBLE)
    assert built.returncode == 0, built.stderr[-4000:]
    return built


@pytest.fixture(scope="session")
def trixie(builds: Path) -> Built:
    """The Debian amphora of the default release, made reproducible."""
    directory = builds / "trixie"
    directory.mkdir()
    built = run_build(directory, "-i", "debian", "-s", "3", "-t", "raw", env=REPRODUCIBLE)
    assert built.returncode == 0, built.stderr[-4000:]
    return built


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Fails a test that leaves something behind."""
    yield
    assert leftovers() == set()


@pytest.fixture(scope="session")
def host_images(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """A storage that stands in for the host's, with two small images to change; made once per run."""
    image_bases.skip_where_none_can_be_made()
    work = tmp_path_factory.mktemp("images")
    storage = Storage(work / "storage")
    image_bases.make_bases(storage, work)
    return storage
