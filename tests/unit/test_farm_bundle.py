"""What jobs take along to workers: the same image is made of it there."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from samples import HOST
from test_farm import OPTIONS, job

from diskimage_create.errors import InputError, RemoteError
from diskimage_create.farm import attempt, bundle, jobs
from diskimage_create.prepare import prepare


@pytest.fixture
def elements(tmp_path: Path) -> Path:
    """Two elements of the user's, one of which is used."""
    directory = tmp_path / "mine/elements"
    (directory / "site/install.d").mkdir(parents=True)
    (directory / "unused").mkdir()
    hook = directory / "site/install.d/50-site"
    hook.write_text("#!/bin/bash\ntrue\n")
    hook.chmod(0o775)
    (directory / "site/install.d/51-again").symlink_to("50-site")
    (directory / "site/__pycache__").mkdir()
    return directory


def of_the_user(tmp_path: Path, elements: Path, **options: Any) -> jobs.Job:
    made = job(tmp_path, "a")
    given = {**made.request.options, "element": ("site", "vm"), **options}
    request = replace(made.request, options=given, environ={**made.request.environ, "ELEMENTS_PATH": str(elements)})
    return jobs.Job(request, prepare(request))


def there(message: Any, url: str, directory: Path) -> Any:
    """The plan of a job on a machine that has nothing of the user's."""
    taken = bundle.Bundle(**message["bundle"])
    bundle.fetch(taken, url, directory)
    placed = bundle.placed(message["request"], taken, directory)
    request, _ = jobs.from_json({**message, "request": placed})
    return prepare(replace(request, host=HOST))


def test_the_same_image_is_made_of_it_elsewhere(tmp_path: Path, elements: Path) -> None:
    certificate = tmp_path / "mine/ca.pem"
    certificate.write_bytes(trustme.CA().cert_pem.bytes())
    named = of_the_user(tmp_path, elements, ca_certificate=(os.path.relpath(certificate, tmp_path),))
    (made,) = attempt.settled([named])
    url = f"file://{tmp_path}/shared"
    taken = bundle.bring([made], url)
    message = json.loads(json.dumps(attempt.message(made, OPTIONS, "key", "file:///x", "topic", taken)))
    (tmp_path / "mine").rename(tmp_path / "gone")
    plan = there(message, url, tmp_path / "taken")
    assert jobs.same_everywhere(plan) == jobs.same_everywhere(made.plan)
    assert "element:site" in jobs.same_everywhere(plan)
    assert plan.inputs == made.plan.inputs
    assert not list((tmp_path / "taken").glob("**/unused"))
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o700
    assert [path.name for path in (tmp_path / "shared").iterdir()] == [taken.name if taken else ""]


def test_what_an_element_provides_goes_along(tmp_path: Path, elements: Path) -> None:
    (elements / "unused/element-provides").write_text("site\n")
    made = of_the_user(tmp_path, elements, element=("unused", "vm"))
    taken = bundle.bring([made], f"file://{tmp_path}/shared")
    assert taken
    bundle.fetch(taken, f"file://{tmp_path}/shared", tmp_path / "taken")
    assert {path.name for path in (tmp_path / "taken").glob("0/elements/*")} == {"site", "unused"}


def test_a_place_that_refuses_is_named(tmp_path: Path, elements: Path) -> None:
    (tmp_path / "shared").write_text("no directory")
    with pytest.raises(RemoteError, match="shared"):
        bundle.bring([of_the_user(tmp_path, elements)], f"file://{tmp_path}/shared")


def test_it_is_brought_once(tmp_path: Path, elements: Path) -> None:
    url = f"file://{tmp_path}/shared"
    first = bundle.bring([of_the_user(tmp_path, elements)], url)
    assert first
    written = os.stat(tmp_path / "shared" / first.name).st_mtime_ns
    copy = tmp_path / "copy"
    shutil.copytree(elements, copy, symlinks=True)
    os.utime(copy / "site/install.d/50-site", (1, 1))
    renamed = tmp_path / "other/elements"
    renamed.parent.mkdir()
    copy.rename(renamed)
    second = bundle.bring([of_the_user(tmp_path, renamed), of_the_user(tmp_path, renamed)], url)
    assert second
    assert second.name == first.name
    assert os.stat(tmp_path / "shared" / first.name).st_mtime_ns == written


@pytest.mark.parametrize(
    ("link", "leads", "refused"),
    [
        ("install.d/60-x", "../../shared/60-x", True),
        ("install.d/60-x", "/somewhere/60-x", True),
        ("pkg-map", "/somewhere/pkg-map", True),
        ("install.d/60-x", "50-site", False),
        ("static/etc/localtime", "/usr/share/zoneinfo/UTC", False),
    ],
)
def test_a_link_that_leads_elsewhere_is_refused(
    tmp_path: Path, elements: Path, link: str, leads: str, refused: bool
) -> None:
    made = of_the_user(tmp_path, elements)
    path = elements / "site" / link
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(leads)
    if not refused:
        assert bundle.bring([made], f"file://{tmp_path}/shared")
        return
    with pytest.raises(InputError) as raised:
        bundle.bring([made], f"file://{tmp_path}/shared")
    (problem,) = raised.value.problems
    assert problem.where == str(path)
    assert not (tmp_path / "shared").exists()


def test_paths_are_those_of_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    request = replace(
        job(tmp_path, "a").request, environ={"ELEMENTS_PATH": "b::/c"}, options={"ca_certificate": ["~/d"]}
    )
    said = bundle.absolute(request)
    assert said.environ == {"ELEMENTS_PATH": f"{tmp_path}/b:/c"}
    assert said.options == {"ca_certificate": [f"{tmp_path}/d"]}


def test_nothing_to_take_along_needs_no_place(tmp_path: Path) -> None:
    assert bundle.bring([job(tmp_path, "a")], f"file://{tmp_path}/shared") is None
    assert not (tmp_path / "shared").exists()


def test_what_is_damaged_or_elsewhere_is_refused(tmp_path: Path, elements: Path) -> None:
    url = f"file://{tmp_path}/shared"
    taken = bundle.bring([of_the_user(tmp_path, elements)], url)
    assert taken
    with (tmp_path / "shared" / taken.name).open("ab") as archive:
        archive.write(b"more")
    with pytest.raises(RemoteError, match="is damaged"):
        bundle.fetch(taken, url, tmp_path / "taken")
    with pytest.raises(RemoteError, match="the user's elements are not at") as raised:
        bundle.fetch(taken, f"file://{tmp_path}/elsewhere", tmp_path / "taken")
    assert "--artifacts" in (raised.value.hint or "")
    assert not list(tmp_path.glob("taken*"))


def test_a_profile_in_a_file_goes_along(tmp_path: Path) -> None:
    profile = tmp_path / "tiny.yaml"
    profile.write_text(
        "title: Tiny\noutput: tiny\ndefault_os: debian-minimal\noperating_systems: {debian-minimal: }\n"
        "elements: [{names: [vm, '{os_element}']}]\n"
    )
    made = job(tmp_path, "a")
    request = replace(made.request, options={**made.request.options, "profile": str(profile)})
    made = jobs.Job(request, prepare(request))
    message = json.loads(json.dumps(attempt.message(*attempt.settled([made]), OPTIONS, "key", "file:///x", "topic")))
    profile.unlink()
    again, _ = jobs.from_json(message)
    assert prepare(replace(again, host=HOST)).inputs == made.plan.inputs
