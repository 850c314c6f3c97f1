"""What both forms of an SBOM say in the same way: which image it is of, when it was made, names made from content."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

from diskimage_create.provenance.model import Contents
from diskimage_create.reproducible import VARIABLE, is_epoch

TOOL = "diskimage-create"
#: Made up for this purpose; to change it is to change the name of every document
_NAMESPACE = uuid.UUID("0d1ff1f7-6b58-43f1-8a3d-3a4be37cf1c4")
_ADDRESS = re.compile(r"(.*?)\s*<([^<>@\s]+@[^<>@\s]+)>")
#: What every reader takes for an address in the Web
_URL = re.compile(r"(https?|ftp)://[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*(:[0-9]{1,5})?(/[A-Za-z0-9._~/?#%&=+,;:@!*'()-]*)?")


@dataclass(frozen=True)
class Subject:
    """The image file that a document is about."""

    name: str
    """Of the file, without its directory"""
    sha256: str
    """In hex"""
    created: datetime
    """When the image was; the document says the same, so that the same image has the same one"""

    @property
    def timestamp(self) -> str:
        """The time as SPDX and CycloneDX both want it."""
        return self.created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def tool_version() -> str:
    """The version of this program."""
    return version(TOOL)


def identifier(subject: Subject, contents: Contents, form: str) -> uuid.UUID:
    """A name for a document, made from all that it says."""
    said = json.dumps([form, tool_version(), subject.name, subject.sha256, subject.timestamp, asdict(contents)])
    return uuid.uuid5(_NAMESPACE, hashlib.sha256(said.encode()).hexdigest())


def finished(record: Mapping[str, Any]) -> datetime:
    """When an image was finished, by its record: as ``SOURCE_DATE_EPOCH`` says, where the build had one.

    :raises ValueError, KeyError: the record does not say it
    """
    epoch = str(record.get("environment", {}).get(VARIABLE, ""))
    if is_epoch(epoch):
        return datetime.fromtimestamp(int(epoch), UTC)
    if reused := record.get("reused_from"):
        return datetime.fromisoformat(reused["built"])
    return datetime.fromisoformat(record["started"]) + timedelta(seconds=float(record["seconds"]))


def name_and_address(supplier: str) -> tuple[str, str]:
    """``Name <address>`` in two, the first where there are several; the address is empty where there is none."""
    text = " ".join(supplier.split())
    if match := _ADDRESS.match(text):
        return match[1] or match[2], match[2]
    return text, ""


def is_url(text: str) -> bool:
    """Whether a homepage is one: what packages say there is anything."""
    return _URL.fullmatch(text) is not None


def as_text(document: Mapping[str, Any]) -> str:
    """A document as its file holds it."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"
