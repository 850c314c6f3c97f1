"""Which packages an image has, from its package database."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.view import ImageView, Unavailable

DPKG_STATUS = "/var/lib/dpkg/status"
_NO_DATABASE = "the image has no package database that can be read here (dpkg, or rpm with SQLite)"
_RPM_DIRECTORIES = ("/usr/lib/sysimage/rpm", "/var/lib/rpm")
# Formats of rpm's that are not read here: of before 4.16, and of SUSE.
_OTHER_RPM = {"Packages": "Berkeley DB", "Packages.db": "ndb"}

# Anything else means that dpkg was stopped half-way.
_WHOLE_STATES = frozenset({"installed", "config-files", "not-installed"})

_FIELD = re.compile(r"^(Package|Status|Provides): (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Packages:
    """The content of a package database."""

    installed: frozenset[str]
    provided: frozenset[str]
    """What installed packages provide besides their own names."""
    unfinished: tuple[str, ...] = ()
    """Packages whose installation was not finished, each with its state."""

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those that no installed package is or provides."""
        return [name for name in names if name not in self.installed and name not in self.provided]


def parse_dpkg_status(text: str) -> Packages:
    """Read dpkg's status file."""
    installed, provided, unfinished = set(), set(), []
    for paragraph in text.split("\n\n"):
        fields = dict(_FIELD.findall(paragraph))
        if "Package" not in fields:
            continue
        name = fields["Package"].strip()
        state = fields.get("Status", "").split(" ")[-1]
        if state == "installed":
            installed.add(name)
            provided.update(_provided_names(fields.get("Provides", "")))
        elif state not in _WHOLE_STATES:
            unfinished.append(f"{name} is {state or 'without a state'}")
    return Packages(frozenset(installed), frozenset(provided), tuple(unfinished))


def read_packages(view: ImageView) -> Packages:
    """The packages of an image, whatever its family.

    :raises Unavailable: there is no package database that can be read here
    """
    status = view.root.read_text(DPKG_STATUS)
    if status is not None:
        packages = parse_dpkg_status(status)
        return Packages(packages.installed, packages.provided, (*packages.unfinished, *_interrupted(view.root)))
    if database := rpm_database(view.root):
        return _read_rpm(database, view.workspace)
    raise Unavailable(no_database(view.root))


def no_database(root: ImageRoot) -> str:
    """Why the packages of an image cannot be told."""
    for directory in _RPM_DIRECTORIES:
        for name, form in _OTHER_RPM.items():
            if root.is_file(f"{directory}/{name}"):
                return f"{directory}/{name} is an rpm database of the form {form}; only SQLite is read here"
    return _NO_DATABASE


def _provided_names(field: str) -> list[str]:
    return [name.strip().split(" ")[0] for name in field.split(",") if name.strip()]


def _interrupted(root: ImageRoot) -> list[str]:
    """dpkg keeps its latest changes here until it has written the status file."""
    left = [name for name in root.listdir("/var/lib/dpkg/updates") if name.isdigit()]
    return [f"dpkg was interrupted ({len(left)} updates of its status are pending)"] if left else []


def rpm_rows(database: Path, workspace: Path, *queries: str) -> list[list[tuple[Any, ...]]]:
    """The answers to queries of rpm's database, asked in a copy: SQLite wants to write a journal beside it.

    :raises Unavailable: it is no such database
    """
    import sqlite3  # slow to import, and dpkg needs none

    with tempfile.TemporaryDirectory(dir=workspace) as directory:  # of its own: checks ask at the same time
        copy = Path(directory, "rpmdb.sqlite")
        for suffix in ("", "-wal"):
            original = database.with_name(database.name + suffix)
            if original.is_file() and not original.is_symlink():
                shutil.copyfile(original, copy.with_name(copy.name + suffix))
        try:
            with closing(sqlite3.connect(copy)) as connection:
                return [connection.execute(query).fetchall() for query in queries]
        except sqlite3.Error as error:
            raise Unavailable(f"the rpm database cannot be read: {error}") from None


def rpm_database(root: ImageRoot) -> Path | None:
    """Where rpm keeps its packages; None where there is no SQLite database of them."""
    found = (root.find(f"{directory}/rpmdb.sqlite") for directory in _RPM_DIRECTORIES)
    return next((Path(path) for path in found if path is not None), None)


def _read_rpm(database: Path, workspace: Path) -> Packages:
    queries = ("SELECT DISTINCT key FROM Name", "SELECT DISTINCT key FROM Providename")
    installed, provided = ({_as_text(row[0]) for row in rows} for rows in rpm_rows(database, workspace, *queries))
    return Packages(frozenset(installed - {"gpg-pubkey"}), frozenset(provided))


def _as_text(key: str | bytes) -> str:
    return key.decode("utf-8", errors="replace") if isinstance(key, bytes) else key
