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
from test_farm import OPTIONS, job

from diskimage_create.errors import HostError, InputError, Interrupted, RemoteError
from diskimage_create.farm import attempt, child, jobs
from diskimage_create.farm.site import Site
from diskimage_create.model import Artifact
from publishing import record_beside

URL = "s3://images/nightly"


def message(made: jobs.Job) -> Any:
    return json.loads(json.dumps(attempt.message(made, OPTIONS, "key", URL, "topic")))


def test_places_and_other_variables_of_the_user_do_not_travel(tmp_path: Path) -> None:
    made = job(tmp_path, "a", work_dir=str(tmp_path), env=("SITE=1",))
    environ = {"DIB_SITE": "1", "AWS_SECRET_ACCESS_KEY": "s3cret", "PATH": "/x", "HOME": "/y", "http_proxy": "http://z"}
    made = jobs.Job(replace(made.request, environ=environ), made.plan)
    told = message(made)
    assert told["request"]["environ"] == {"DIB_SITE": "1"}
    assert not {"cache_dir", "work_dir", "logfile"} & told["request"]["options"].keys()
    assert "s3cret" not in json.dumps(told)
    assert told["options"]["shared"] == f"{URL}/.store"


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
    (tmp_path / "work/diskimage-create-x/out").mkdir(parents=True)
    site = Site(tmp_path / "cache", tmp_path / "work")
    with site.alone():
        assert os.listdir(site.work_dir) == ["lock"]


@pytest.mark.subprocess("removes what a job has left")
def test_a_worker_that_stops_waits_for_its_jobs(tmp_path: Path) -> None:
    site = Site(tmp_path / "cache", tmp_path / "work")
    ended: list[Path] = []

    def work() -> None:
        with site.job("key") as (directory, children):
            with suppress(Interrupted):
                children.pause(60)
            time.sleep(0.2)
            ended.append(directory)

    with site.alone():
        thread = threading.Thread(target=work)
        thread.start()
        while not (site.work_dir / "key").exists():
            time.sleep(0.01)
        site.stop()
        assert ended == [site.work_dir / "key"]
        assert os.listdir(site.work_dir) == ["lock"]
        thread.join()
