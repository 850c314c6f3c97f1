"""What a job tells a worker, and what a worker keeps for itself."""

from __future__ import annotations

import json
import os
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from samples import HOST
from test_farm import OPTIONS, job

from diskimage_create.errors import HostError, InputError, Interrupted, RemoteError
from diskimage_create.farm import attempt, child, jobs
from diskimage_create.farm.site import Site
from diskimage_create.model import Artifact, BuildPlan
from diskimage_create.prepare import prepare
from publishing import record_beside

LOCK = ".diskimage-create-worker"
URL = "s3://images/nightly"


def message(made: jobs.Job) -> Any:
    (made,) = attempt.settled([made])
    return json.loads(json.dumps(attempt.message(made, OPTIONS, "key", URL, "topic")))


def test_places_and_other_variables_of_the_user_do_not_travel(tmp_path: Path) -> None:
    made = job(tmp_path, "a", work_dir=str(tmp_path), env=("SITE=1",))
    environ = {"DIB_SITE": "1", "AWS_SECRET_ACCESS_KEY": "s3cret", "PATH": "/x", "HOME": "/y", "http_proxy": "http://z"}
    environ["DIB_REPO_PATH"] = "/checkout"
    made = jobs.Job(replace(made.request, environ=environ), made.plan)
    told = message(made)
    assert told["request"]["environ"] == {"DIB_SITE": "1"}
    assert not {"cache_dir", "work_dir", "logfile"} & told["request"]["options"].keys()
    assert "s3cret" not in json.dumps(told)
    assert told["options"]["shared"] == f"{URL}/.store"


def there(told: Any, tmp_path: Path) -> BuildPlan:
    """What a worker of another architecture, with settings of its own, makes of a job."""
    site = Site(tmp_path / "there/cache", tmp_path / "there")
    (tmp_path / "there/job/out").mkdir(parents=True)
    asked = attempt._request(told, site, tmp_path / "there/job")
    request, _ = jobs.from_json({**told, "request": asked})
    return prepare(replace(request, host=replace(HOST, arch="arm64")))


def test_the_image_that_was_asked_for_is_made_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = job(tmp_path, "a", profile="amphora", os="debian")
    made = jobs.Job(
        replace(made.request, environ={"AMP_element_sequence": "vm", "HOME": str(tmp_path)}),
        made.plan,
    )
    made = jobs.Job(made.request, prepare(made.request))
    monkeypatch.setenv("DIB_SITE", "the worker's")
    monkeypatch.setenv("DIB_DISTRIBUTION_MIRROR", "http://mirror.example.com/debian")
    monkeypatch.setenv("AMP_element_sequence", "base")
    plan = there(message(made), tmp_path)
    assert plan.spec.arch == made.plan.spec.arch == "amd64"
    assert plan.spec.elements == made.plan.spec.elements
    assert "DIB_SITE" not in plan.environment
    assert plan.environment["DIB_DISTRIBUTION_MIRROR"].value == "http://mirror.example.com/debian"
    assert jobs.same_everywhere(plan) == jobs.same_everywhere(made.plan)


def test_an_image_of_a_matrix_has_its_name(tmp_path: Path) -> None:
    made = job(tmp_path, "a")
    made = jobs.Job(replace(made.request, suffix="-trixie"), made.plan)
    made = jobs.Job(made.request, prepare(made.request))
    assert made.name == "a-trixie"
    assert there(message(made), tmp_path).spec.output == tmp_path / "there/job/out/a-trixie"


def test_secrets_are_keyed_by_each_machine(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("s3cret")
    made = job(tmp_path, "a", env=(f"DIB_SITE_TOKEN={key}",))
    assert "hmac-" in str(made.plan.inputs)
    assert "hmac-" not in str(jobs.same_everywhere(made.plan))


def test_another_element_on_a_worker_is_refused(tmp_path: Path) -> None:
    asked = message(job(tmp_path, "a"))["same"]
    child._refuse_others(asked, asked)
    child._refuse_others(None, asked)
    other = {**asked, "element:vm": "sha256:0", "element:more": "sha256:1"}
    with pytest.raises(InputError) as raised:
        child._refuse_others(asked, other)
    assert sorted(problem.message for problem in raised.value.problems) == [
        "element more is another one on this worker",
        "element vm is another one on this worker",
    ]


def done(tmp_path: Path) -> dict[str, Any]:
    image = tmp_path / "a.raw"
    image.write_bytes(b"image")
    record_beside(image, "raw")
    sha256 = json.loads((tmp_path / "a.raw.json").read_text())["artifacts"][0]["sha256"]
    return {"event": "done", "artifacts": jobs.made_as_json([Artifact("raw", image, sha256, 5)])}


def test_an_image_is_published_once(tmp_path: Path) -> None:
    told = {"artifacts": f"file://{tmp_path}/images"}
    said: list[str] = []
    for _ in range(2):
        assert attempt._published(told, done(tmp_path), lambda: None, said.append)["event"] == "done"
    assert said == ["a.raw: published", "a.raw: present"]


def test_what_is_not_ours_any_more_is_not_published(tmp_path: Path) -> None:
    def lost() -> None:
        raise RemoteError("given to another worker")

    told = {"artifacts": f"file://{tmp_path}/images"}
    outcome = attempt._published(told, done(tmp_path), lost, pytest.fail)
    assert outcome["event"] == "failed"
    assert not (tmp_path / "images").exists()


def test_the_log_of_a_build_that_counts_is_kept(tmp_path: Path) -> None:
    def lost() -> None:
        raise RemoteError("given to another worker")

    (tmp_path / "out").mkdir()
    told = {"artifacts": f"file://{tmp_path}/images", "name": "a"}
    attempt._keep_log(told, tmp_path, lambda: None)  # there is none
    (tmp_path / "out/a.log").write_text("ours")
    attempt._keep_log(told, tmp_path, lambda: None)
    (tmp_path / "out/a.log").write_text("of a worker that hung")
    attempt._keep_log(told, tmp_path, lost)
    assert (tmp_path / "images/a.log").read_text() == "ours"


def test_who_has_a_task() -> None:
    scheduler = SimpleNamespace(
        tasks={
            "a": SimpleNamespace(processing_on=SimpleNamespace(address="tcp://x:1")),
            "b": SimpleNamespace(processing_on=None),
        }
    )
    assert [attempt.holder(key, scheduler) for key in "abc"] == ["tcp://x:1", None, None]


@pytest.mark.subprocess("removes what a job has left")
def test_a_working_directory_belongs_to_one_worker(tmp_path: Path) -> None:
    site = Site(tmp_path / "cache", tmp_path / "work")
    with site.alone(), pytest.raises(HostError, match="another worker"), Site(tmp_path, tmp_path / "work").alone():
        pass


@pytest.mark.subprocess("removes what a job has left")
def test_what_a_killed_worker_left_is_removed(tmp_path: Path) -> None:
    site = Site(tmp_path / "cache", tmp_path / "work")
    with site.alone():
        (tmp_path / "work/diskimage-create-x/out").mkdir(parents=True)
        (tmp_path / "others").mkdir()
        (tmp_path / "work/diskimage-create-y").symlink_to(tmp_path / "others")
    with site.alone():
        assert os.listdir(site.work_dir) == [LOCK]
    assert (tmp_path / "others").is_dir()


def test_what_is_no_workers_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "srv/precious").mkdir(parents=True)
    for site, why in (
        (Site(tmp_path / "cache", tmp_path / "srv"), "holds what is no worker's"),
        (Site(tmp_path / "work/cache", tmp_path / "work"), "would be in the worker's directory"),
        (Site(tmp_path / "work", tmp_path / "work"), "would be in the worker's directory"),
    ):
        with pytest.raises(HostError, match=why), site.alone():
            pass
    assert os.listdir(tmp_path) == ["srv"]
    assert os.listdir(tmp_path / "srv") == ["precious"]


@pytest.mark.subprocess("removes what a job has left")
def test_a_worker_that_stops_waits_for_its_jobs(tmp_path: Path) -> None:
    site = Site(tmp_path / "cache", tmp_path / "work")
    begun, ended = threading.Event(), []

    def work() -> None:
        with site.job("an:image") as (directory, children):
            begun.set()
            with suppress(Interrupted):
                children.pause(60)
            time.sleep(0.2)
            ended.append(directory)

    with site.alone():
        thread = threading.Thread(target=work)
        thread.start()
        assert begun.wait(60)
        site.stop()
        assert [path.parent for path in ended] == [site.work_dir]
        assert ":" not in ended[0].name
        assert os.listdir(site.work_dir) == [LOCK]
        thread.join()
