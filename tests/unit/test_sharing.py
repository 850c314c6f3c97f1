"""What machines share of what they have stored, behind a URL."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from diskimage_create import filesystems
from diskimage_create.model import STEPS, Inputs
from diskimage_create.store import Store, sharing
from diskimage_create.store.reuse import Needs

LOCAL: Inputs = {step: {"x": step} for step in STEPS}
NEEDS = Needs("x", LOCAL, {}, STEPS, datetime.now(UTC), timedelta(hours=1))


@pytest.fixture
def machines(tmp_path: Path) -> Callable[[], Store]:
    """Makes stores, each of another machine."""
    numbers = iter(range(9))

    def made() -> Store:
        store = Store(tmp_path / f"machine-{next(numbers)}")
        store.create()
        return store

    return made


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/shared%20by"


def save(store: Store, *steps: str, content: str = "content") -> None:
    for step in steps:
        store.add(step, "x", LOCAL, {}, NEEDS.asked, lambda directory: (directory / "a").write_text(content) and None)


def test_what_one_machine_has_made_another_one_finds(machines: Callable[[], Store], url: str) -> None:
    here, there = machines(), machines()
    save(here, "root", "install")
    assert sharing.offer(here, url, NEEDS) == ["root", "install"]
    assert (filesystems.local_path(url) or Path()).stat().st_mode & 0o777 == 0o700
    entry = sharing.fetch(there, url, NEEDS)
    assert entry is not None
    assert entry.step == "install"
    found = there.find("install", NEEDS.identities["install"])
    assert found == entry
    assert (found.path / "a").read_text() == "content"
    assert there.find("root", NEEDS.identities["root"]) is None  # nobody needs it


def test_nothing_is_shared_twice(machines: Callable[[], Store], url: str) -> None:
    here, there = machines(), machines()
    save(here, "root")
    save(there, "root", "install", content="made once more")
    assert sharing.offer(here, url, NEEDS) == ["root"]
    assert sharing.offer(there, url, NEEDS) == ["install"]
    other = machines()
    sharing.fetch(other, url, replace(NEEDS, reusable=("root",)))
    root = other.find("root", NEEDS.identities["root"])
    assert root is not None
    assert (root.path / "a").read_text() == "content"


def test_nothing_is_fetched_that_is_here(machines: Callable[[], Store], url: str) -> None:
    here, there = machines(), machines()
    save(here, "root")
    sharing.offer(here, url, NEEDS)
    save(there, "install")
    assert sharing.fetch(there, url, NEEDS) is None
    assert there.find("root", NEEDS.identities["root"]) is None


def test_what_needs_other_inputs_is_not_found(machines: Callable[[], Store], url: str) -> None:
    here, there = machines(), machines()
    save(here, *STEPS)
    sharing.offer(here, url, NEEDS)
    other = replace(NEEDS, local={**LOCAL, "pre-install": {"x": "changed"}})
    entry = sharing.fetch(there, url, other)
    assert entry is not None
    assert entry.step == "root"


@pytest.mark.parametrize("damage", ["content", "manifest", "missing"])
def test_what_is_damaged_is_not_taken(machines: Callable[[], Store], url: str, tmp_path: Path, damage: str) -> None:
    here, there = machines(), machines()
    save(here, "root", "install")
    sharing.offer(here, url, NEEDS)
    manifest = next((tmp_path / "shared by").glob("install-*.json"))
    (content,) = (tmp_path / "shared by").glob("install-*/*/a")
    if damage == "manifest":
        manifest.write_text("{")
    elif damage == "content":
        content.write_text("CONTENT")
    else:
        content.unlink()
    entry = sharing.fetch(there, url, NEEDS)
    assert entry is not None
    assert entry.step == "root"
    assert [path.name for path in there.path.glob("tmp-*")] == []


def test_two_that_share_at_once_do_not_mix_their_files(
    machines: Callable[[], Store], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there, other = machines(), machines(), machines()
    save(here, "root", content="here")
    save(there, "root", content="there")
    give = sharing._give

    def late(*arguments: object) -> None:
        monkeypatch.setattr(sharing, "_give", give)
        sharing.offer(there, url, NEEDS)  # looks, and shares, before we do
        give(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sharing, "_give", late)
    sharing.offer(here, url, NEEDS)
    assert len(list((tmp_path / "shared by").glob("root-*/*"))) == 2
    entry = sharing.fetch(other, url, NEEDS)
    assert entry is not None
    assert (entry.path / "a").read_text() == "here"


def test_a_failure_leaves_no_half_of_it(
    machines: Callable[[], Store], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fsspec.implementations.local import LocalFileSystem

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    here, there = machines(), machines()
    save(here, "root")
    monkeypatch.setattr(LocalFileSystem, "pipe_file", fail)
    with pytest.raises(OSError, match="No space"):
        sharing.offer(here, url, NEEDS)
    assert not list((tmp_path / "shared by").glob("root-*/*"))
    assert sharing.fetch(there, url, NEEDS) is None


def test_the_manifest_says_where_the_files_are(machines: Callable[[], Store], url: str, tmp_path: Path) -> None:
    here = machines()
    save(here, "root")
    sharing.offer(here, url, NEEDS)
    (manifest,) = (tmp_path / "shared by").glob("root-*.json")
    said = json.loads(manifest.read_text())
    assert (manifest.with_suffix("") / said["at"] / "a").read_text() == "content"
