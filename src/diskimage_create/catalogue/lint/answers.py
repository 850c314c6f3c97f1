"""What shellcheck has said before of scripts with the same content: asking it is most of what lint takes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from diskimage_create import files, process
from diskimage_create.catalogue.lint.content import File
from diskimage_create.catalogue.lint.model import Remark
from diskimage_create.errors import InputError

_SCHEMA = 1
#: More scripts than all elements have that there are: then those of the last call are kept, and no others
_MOST = 10_000


def default_place(environ: Mapping[str, str]) -> Path | None:
    """The file in the user's cache directory; None where nothing says where that is."""
    if cache := environ.get("XDG_CACHE_HOME"):
        return Path(cache, "image-create/shellcheck.json")
    return Path(environ["HOME"], ".cache/image-create/shellcheck.json") if environ.get("HOME") else None


class Answers:
    """Answers by the digest of a script, from the same program with the same options."""

    def __init__(self, place: Path | None, program: str, options: tuple[str, ...]) -> None:
        self._place = place
        self._program = f"{_identity(program)} {' '.join(options)} {os.environ.get('SHELLCHECK_OPTS', '')}"
        self._known = _read(place, self._program) if place else {}
        self._asked: dict[str, list[Remark]] = {}

    def of(self, file: File, shell: str) -> list[Remark] | None:
        """What was said of a script that is read by a shell; None: it was not asked."""
        return self._known.get(_digest(file, shell))

    def add(self, file: File, shell: str, remarks: list[Remark]) -> None:
        """Note an answer, for :meth:`keep`."""
        self._asked[_digest(file, shell)] = remarks

    def keep(self) -> None:
        """Write what is new for the next time; a place that cannot be written costs the same time then, no more."""
        if self._place is None or not self._asked:
            return
        known = self._asked if len(self._known) + len(self._asked) > _MOST else self._known | self._asked
        remarks = {key: [[each.line, each.code, each.message] for each in found] for key, found in known.items()}
        text = json.dumps({"schema": _SCHEMA, "program": self._program, "remarks": remarks})
        try:
            self._place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.write(self._place, text)
        except (OSError, InputError):
            pass


def _identity(program: str) -> str:
    """What changes when another version is installed."""
    path = process.which(program)
    status = os.stat(path) if path else None
    return f"{path} {status.st_size} {status.st_mtime_ns}" if status else ""


def _digest(file: File, shell: str) -> str:
    return hashlib.sha256(f"{shell}\0{file.text}".encode(errors="surrogateescape")).hexdigest()


def _read(place: Path, program: str) -> dict[str, list[Remark]]:
    try:
        data = json.loads(place.read_text(encoding="utf-8"))
        if (data["schema"], data["program"]) != (_SCHEMA, program):
            return {}
        return {str(key): [_remark(*each) for each in found] for key, found in data["remarks"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _remark(line: int, code: int, message: str) -> Remark:
    if not isinstance(line, int) or not isinstance(code, int) or not isinstance(message, str):
        raise TypeError(message)
    return Remark(line, code, message)
