"""Stages and images that machines share: the entries of their stores, behind a URL.

An entry is there as soon as its manifest is, which comes last and says in which directory its files are: whoever reads
one finds all of it, and two who write one do not mix their files.

    STEP-IDENTITY.json     the manifest, with ``at``
    STEP-IDENTITY/AT/...   the files
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from diskimage_create import filesystems
from diskimage_create.errors import DiskImageError
from diskimage_create.model import STEPS
from diskimage_create.store import MANIFEST, Entry, Store, entry_name
from diskimage_create.store.reuse import Needs


def fetch(store: Store, url: str, needs: Needs) -> Entry | None:
    """Bring the furthest step of a build that is shared and not in this store; what is damaged there is not taken.

    :raises RemoteError: the place cannot be read
    """
    identities = needs.identities
    with filesystems.opened(url) as (system, path):
        for step in reversed(STEPS):
            if step not in needs.reusable:
                continue
            identity = identities[step]
            if store.find(step, identity):
                return None
            with suppress(FileNotFoundError, ValueError, KeyError):
                if entry := _taken(store, system, f"{path}/{entry_name(step, identity)}"):
                    return entry
    return None


def offer(store: Store, url: str, needs: Needs, steps: Sequence[str] = STEPS) -> list[str]:
    """Share what a build has made and nobody has shared yet; returns the steps.

    :raises RemoteError: the place cannot be written
    """
    shared, identities = [], needs.identities
    with filesystems.opened(url) as (system, path):
        for step in steps:
            entry = store.find(step, identities[step]) if step in needs.reusable else None
            if entry is None or system.exists(f"{path}/{entry.path.name}.json"):
                continue
            with store.using(entry) as intact:
                if intact:
                    filesystems.make_directory(system, path, private=True)
                    _give(system, f"{path}/{entry.path.name}", entry)
                    shared.append(step)
    return shared


def _taken(store: Store, system: Any, place: str) -> Entry | None:
    """An entry from where it is shared.

    :raises FileNotFoundError: it is not there
    """
    with system.open(f"{place}.json", "rb") as file:
        manifest = json.load(file)
    at, kept = manifest["at"], manifest["manifest"]

    def fill(directory: Any) -> None:
        for name in manifest["files"]:
            system.get_file(f"{place}/{at}/{name}", str(directory / name))
        (directory / MANIFEST).write_text(kept)

    return store.adopt(fill)


def _give(system: Any, place: str, entry: Entry) -> None:
    at = uuid.uuid4().hex
    try:
        filesystems.make_directory(system, f"{place}/{at}")
        for name in entry.files:
            system.put_file(str(entry.path / name), f"{place}/{at}/{name}")
        manifest = {"at": at, "files": sorted(entry.files), "manifest": (entry.path / MANIFEST).read_text()}
        with filesystems.renamed(system, f"{place}.json") as new:
            system.pipe_file(new, json.dumps(manifest).encode())
    except BaseException:
        with suppress(OSError, DiskImageError):
            system.rm(f"{place}/{at}", recursive=True)
        raise
