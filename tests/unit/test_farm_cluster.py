"""Jobs on a cluster: which worker can take which, and what the client makes of what becomes of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("distributed", reason="distributed is not installed")

from distributed import Client, LocalCluster

from diskimage_create import cli
from diskimage_create.architectures import Runs
from diskimage_create.errors import RemoteError
from diskimage_create.farm import Failed, Unbuilt, attempt, cluster, jobs, placement
from diskimage_create.farm.cluster import Cluster

GIB = 2**30
NATIVE, EMULATED = Runs.NATIVE, Runs.EMULATED
AMD64 = placement.offered(2, {"amd64": NATIVE, "i386": NATIVE}, 16 * GIB, True)
EMULATING = placement.offered(2, {"amd64": NATIVE, "arm64": EMULATED}, 16 * GIB, True)
ARM64 = placement.offered(1, {"arm64": NATIVE}, 16 * GIB, True)


def test_an_emulator_is_for_what_nobody_runs_natively() -> None:
    assert placement.needed("arm64", GIB, [EMULATING])["emulated-arm64"] == 1
    wanted = placement.needed("arm64", GIB, [EMULATING, ARM64])
    assert wanted["native-arm64"] == 1
    assert [placement.can(worker, wanted) for worker in (EMULATING, ARM64)] == [False, True]


def test_names_of_one_architecture_are_one() -> None:
    assert placement.needed("aarch64", GIB, [ARM64]) == placement.needed("arm64", GIB, [ARM64])


@pytest.mark.parametrize(
    ("arch", "memory", "workers", "why"),
    [
        ("amd64", GIB, [], "there are no workers"),
        ("amd64", GIB, [{}], "diskimage-create worker"),
        ("ppc64le", GIB, [AMD64, ARM64], "programs of ppc64le run on no worker"),
        ("amd64", GIB, [placement.offered(1, {"amd64": NATIVE}, GIB, False)], "no worker has loop devices"),
        ("amd64", 20 * GIB, [AMD64], "no worker has 20 GiB of memory"),
        ("arm64", 20 * GIB, [ARM64, {**AMD64, "memory": 30.0 * GIB}], "no worker has all of it: arm64"),
    ],
)
def test_why_nobody_can_take_it(arch: str, memory: int, workers: Any, why: str) -> None:
    with pytest.raises(LookupError, match=why):
        placement.needed(arch, memory, workers)


@given(st.lists(st.sampled_from([AMD64, EMULATING, ARM64]), max_size=4), st.lists(st.sampled_from(["amd64", "arm64"])))
def test_no_more_is_submitted_than_there_are_slots(workers: list[Any], wanted: list[str]) -> None:
    running: list[placement.Resources] = []
    for arch in wanted:
        try:
            asked = placement.needed(arch, GIB, workers)
        except LookupError:
            continue
        if placement.has_room(asked, running, workers):
            running.append(asked)
    assert len(running) <= sum(worker["build"] for worker in workers)
    on_arm = sum(1 for asked in running if "native-arm64" in asked)
    assert on_arm <= sum(worker["build"] for worker in workers if "native-arm64" in worker)


def test_no_more_is_submitted_than_there_is_memory_for() -> None:
    worker = placement.offered(4, {"amd64": NATIVE}, 11 * GIB, True)
    asked = placement.needed("amd64", 5 * GIB, [worker])
    assert placement.has_room(asked, [asked], [worker])
    assert not placement.has_room(asked, [asked] * 2, [worker])
    small = placement.needed("amd64", GIB, [worker])
    assert placement.has_room(asked, [small] * 2, [worker])
    assert not placement.has_room(small, [small] * 4, [worker])


# --- the client's part, with a scheduler and workers in this process


def job(name: str, arch: str = "amd64", types: tuple[str, ...] = ("qcow2",)) -> Any:
    spec = SimpleNamespace(arch=arch, tmpfs=False, types=types, output=Path("/x", name))
    return SimpleNamespace(name=name, plan=SimpleNamespace(spec=spec, environment={}))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, memory_limit=0, dashboard_address=":0",
        resources=placement.offered(1, {"amd64": NATIVE}, 16 * GIB, True), protocol="tcp", host="127.0.0.1",
    ) as made:  # fmt: skip
        yield made.scheduler_address


class Builds:
    """Stands in for what workers do: notes what runs beside what."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **results: Any) -> None:
        self.begun: list[str] = []
        self.most = 0
        self._running, self._lock = 0, threading.Lock()
        monkeypatch.setattr(attempt, "settled", list)
        monkeypatch.setattr(cluster.bundle, "bring", lambda *_: None)
        monkeypatch.setattr(attempt, "message", lambda job, *_: {"name": job.name})
        monkeypatch.setattr(cluster.order, "made_of", lambda jobs: {job.name: frozenset() for job in jobs})
        monkeypatch.setattr(cluster.order, "in_order", lambda jobs: list(jobs))
        BUILDS.clear()
        BUILDS.append(self)
        self.results = results
        monkeypatch.setattr(attempt, "run", run)

    def run(self, message: Mapping[str, Any]) -> Any:
        with self._lock:
            self.begun.append(message["name"])
            self._running += 1
            self.most = max(self.most, self._running)
        time.sleep(0.1)
        with self._lock:
            self._running -= 1
        result = self.results.get(message["name"], {"event": "done", "artifacts": []})
        if isinstance(result, Exception):
            raise result
        return result


BUILDS: list[Builds] = []


def run(message: Mapping[str, Any]) -> Any:
    return BUILDS[0].run(message)


def build(address: str, *wanted: Any, keep_going: bool = True) -> dict[str, Any]:
    place = Cluster(address, "file:///images")
    found = cluster.build_all(wanted, None, place, lambda *_: None, keep_going=keep_going)  # type: ignore[arg-type]
    return {outcome.job.name: outcome for outcome in found}


FAILED = {"event": "failed", **jobs.error_as_json(Failed(4, []))}


def test_all_are_built_as_many_at_once_as_there_are_slots(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    builds = Builds(monkeypatch)
    outcomes = build(address, *(job(str(number)) for number in range(7)))
    assert sorted(builds.begun) == sorted(outcomes) == [str(number) for number in range(7)]
    assert builds.most == 2
    assert {outcome.at for outcome in outcomes.values()} == {"file:///images/"}
    assert all(outcome.error is None for outcome in outcomes.values())


def test_one_that_fails_does_not_keep_others_from_being_built(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Builds(monkeypatch, a=FAILED, b=RuntimeError("oh"))
    outcomes = build(address, job("a"), job("b"), job("c"), job("d", arch="s390x"))
    assert [outcomes[name].error and outcomes[name].error.exit_code for name in "abcd"] == [4, 4, None, 3]
    assert "RuntimeError: oh" in str(outcomes["b"].error)
    assert "programs of s390x run on no worker" in str(outcomes["d"].error)


def test_what_would_stay_on_a_worker_is_refused(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Builds(monkeypatch)
    outcomes = build(address, job("a", types=("tar", "docker")), job("b"))
    assert outcomes["a"].error.exit_code == 2
    assert outcomes["b"].error is None
    monkeypatch.setattr(cluster.order, "made_of", lambda _: {"a": frozenset(), "b": frozenset({"a"})})
    outcomes = build(address, job("a"), job("b"))
    assert "made of a" in str(outcomes["b"].error)


def test_without_keep_going_nothing_begins_after_a_failure(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    builds = Builds(monkeypatch, **{str(number): FAILED for number in range(2)})
    outcomes = build(address, *(job(str(number)) for number in range(6)), keep_going=False)
    assert len(builds.begun) < 6
    assert [type(outcomes[name].error) for name in "45"] == [Unbuilt, Unbuilt]
    builds = Builds(monkeypatch)
    outcomes = build(address, job("a"), job("b", arch="s390x"), keep_going=False)
    assert builds.begun == []
    assert isinstance(outcomes["a"].error, Unbuilt)


def test_a_kind_of_image_whose_workers_go_waits_for_them_and_then_fails(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Builds(monkeypatch)
    monkeypatch.setattr(cluster, "_PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(cluster, "_LOOK_SECONDS", 0.2)
    with Client(address, set_as_default=False) as client:
        made = cluster._Run(client, Cluster(address, "file:///images"), None, lambda *_: None, None)  # type: ignore[arg-type]
        started = time.monotonic()
        (outcome,) = made.all([job("a", arch="s390x")], keep_going=True)
    assert time.monotonic() - started > 1.0
    assert outcome.error is not None
    assert outcome.error.exit_code == 3


def test_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    Builds(monkeypatch)
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 1.0)
    with pytest.raises(RemoteError, match="no scheduler answers"):
        build("tcp://127.0.0.1:9", job("a"))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--scheduler", "tcp://x:1"], "it needs --artifacts: the images stay on no worker (--scheduler)"),
        (["--artifacts", "file:///x"], "it says nothing without --scheduler (--artifacts)"),
        (
            ["--scheduler", "tcp://x:1", "--artifacts", "file:///x", "-j", "3"],
            "it says nothing with --scheduler (--jobs)",
        ),
        (
            ["--scheduler", "tcp://x:1", "--artifacts", "file:///x", "--attest"],
            "the images of a cluster are not on this machine (--attest, --sign, --report, --keep-failed)",
        ),
        (
            ["--scheduler", "tcp://x:1", "--artifacts", "gopher://x/y"],
            "gopher:// is no place for images (gopher://x/y)",
        ),
    ],
)
def test_what_says_nothing_of_a_cluster(
    arguments: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["-i", "debian", "-o", str(tmp_path / "x"), "-c", str(tmp_path / "cache")]
    assert cli.main([*base, *arguments]) == 2
    assert f"error: {problem}\n" in capsys.readouterr().err
    assert not list(tmp_path.glob("x*"))
