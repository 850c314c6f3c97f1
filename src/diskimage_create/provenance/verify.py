"""Checking what lies beside an image: is everything of this very image, and signed by that key?"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from diskimage_create import digests, record
from diskimage_create.errors import InputError, Problem
from diskimage_create.model import Finding, Report, Status
from diskimage_create.provenance import dsse, sums
from diskimage_create.provenance.beside import Beside
from diskimage_create.provenance.checking import BadSignature, Checker
from diskimage_create.provenance.statement import PREDICATE, STATEMENT


class Wrong(Exception):
    """What is there is of something else, or was changed."""


class Absent(Exception):
    """There is nothing to check."""


@dataclass(frozen=True)
class _Image:
    """The image that is checked, and the key that its signatures should be of."""

    beside: Beside
    key: Checker | None

    @cached_property
    def sha256(self) -> str:
        """Read once for all checks"""
        return digests.sha256(self.beside.image)


def verify(image: Path, key: Checker | None = None) -> Report:
    """Check everything beside an image. What is not there is skipped, but signatures that a key should have made.

    :raises InputError: there is no such image, or nothing to check it against
    """
    started = time.monotonic()
    if not image.is_file():
        raise InputError([Problem("there is no such image", str(image))])
    subject = _Image(Beside(image), key)
    try:
        findings = tuple(_finding(subject, *check) for check in _CHECKS)
    except OSError as error:
        raise InputError([Problem(f"it cannot be read: {error.strerror}", str(error.filename or image))]) from None
    if all(finding.status is Status.SKIP for finding in findings):
        hint = "'build' leaves a record and a checksum beside each image, 'attest' all else"
        raise InputError([Problem("there is nothing beside it to check it against", str(image), hint)])
    return Report(image, findings, time.monotonic() - started)


def _finding(image: _Image, name: str, title: str, check: Callable[[_Image], str]) -> Finding:
    started = time.monotonic()
    try:
        status, message = Status.PASS, check(image)
    except Absent as reason:
        status, message = Status.SKIP, str(reason)
    except Wrong as reason:
        status, message = Status.FAIL, str(reason)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        why = f"there is no {error}" if isinstance(error, KeyError) else str(error)
        status, message = Status.FAIL, f"{_file(image, name).name} cannot be understood: {why}"
    plain = "".join(char if char.isprintable() else "?" for char in message)
    return Finding(name, title, status, plain, time.monotonic() - started)


def _file(image: _Image, check: str) -> Path:
    """What a check reads."""
    if check == "sums":
        return image.beside.image.with_name(sums.NAME)
    return Path(getattr(image.beside, check.removeprefix("signature-")))


def _record(image: _Image) -> str:
    path = _present(image.beside.record)
    made = record.artifact_of(record.read(path), image.beside.image)
    size = image.beside.image.stat().st_size
    if made.bytes != size:
        raise Wrong(f"{path.name} is of an image of {made.bytes} bytes, and this one has {size}")
    _require(path, made.sha256.removeprefix("sha256:"), image.sha256)
    return f"{path.name}: sha256:{image.sha256}"


def _checksum(image: _Image) -> str:
    path = _present(image.beside.checksum)
    words = path.read_text(encoding="utf-8").split()
    _require(path, words[0].lower() if words else "none", image.sha256)
    return path.name


def _sums(image: _Image) -> str:
    """Files that ought to be there but are not are wrong too: sha256sum(1) says so as well."""
    directory = image.beside.image.parent
    path = _present(directory / sums.NAME)
    listed = sums.read(directory)
    mine = {each.name: each for each in image.beside.all() if each.name in listed}
    if image.beside.image.name not in mine:
        raise Absent(f"{path.name} does not name this image")
    for name, file in mine.items():
        if not file.is_file():
            raise Wrong(f"{path.name} names {name}, which is not there")
        found = image.sha256 if file == image.beside.image else digests.sha256(file)
        if found != listed[name]:
            raise Wrong(f"{name} is not what {path.name} says")
    return f"{path.name}: {len(mine)} files of this image"


def _spdx(image: _Image) -> str:
    path = _present(image.beside.spdx)
    document = _json(path)
    described = {
        each["relatedSpdxElement"] for each in document["relationships"] if each["relationshipType"] == "DESCRIBES"
    }
    subject = [package for package in document["packages"] if package["SPDXID"] in described]
    found = [
        each["checksumValue"]
        for package in subject
        for each in package.get("checksums", [])
        if each["algorithm"] == "SHA256"
    ]
    _require(path, found[0] if len(found) == 1 else "none", image.sha256)
    return f"{path.name}: {document['spdxVersion']}, {len(document['packages']) - 1} packages"


def _cyclonedx(image: _Image) -> str:
    path = _present(image.beside.cyclonedx)
    document = _json(path)
    hashes = document["metadata"]["component"]["hashes"]
    found = [each["content"] for each in hashes if each["alg"] == "SHA-256"]
    _require(path, found[0] if found else "none", image.sha256)
    return f"{path.name}: {document['bomFormat']} {document['specVersion']}, {len(document['components'])} components"


def _provenance(image: _Image) -> str:
    path = _present(image.beside.provenance)
    statement = _json(path)
    if statement["_type"] != STATEMENT or statement["predicateType"] != PREDICATE:
        raise Wrong(f"{path.name} is a statement of another kind")
    found = [subject["digest"]["sha256"] for subject in statement["subject"]]
    _require(path, found[0] if len(found) == 1 else "none", image.sha256)
    # A later build of another type replaces the log, which is not this image's own
    own = {file.name: file for file in image.beside.existing()}
    there = []
    for each in statement["predicate"]["runDetails"]["byproducts"]:
        if (file := own.get(each["name"])) is None:
            continue
        if digests.sha256(file) != each["digest"]["sha256"]:
            raise Wrong(f"{file.name} is not the file that {path.name} is about")
        there.append(file.name)
    return f"{path.name}: of this image, and of {', '.join(there) or 'no other file'}"


def _envelope(image: _Image) -> str:
    path = _present(image.beside.envelope)
    envelope = dsse.parse(path.read_text(encoding="utf-8"))
    provenance = _present(image.beside.provenance)
    if envelope.payload != provenance.read_bytes():
        raise Wrong(f"{path.name} is not about {provenance.name}")
    key = image.key
    if key is None:
        raise Absent(f"{path.name} holds {provenance.name}; its signature is checked with --key")
    mine = [signature for name, signature in envelope.signatures if name == key.identifier]
    if not mine:  # the provenance has to have this key's own
        raise Absent(f"{path.name} holds {provenance.name}, signed by another key")
    for signature in mine:
        _signed(path, key.check_raw, dsse.signed_bytes(envelope.payload), signature)
    return f"{path.name}: signed by {key.identifier}"


def _signature_of(which: str) -> Callable[[_Image], str]:
    """The check of a file's own signature: with a key there has to be one."""

    def check(image: _Image) -> str:
        path = _present(getattr(image.beside, which))
        there = [signature for signature in image.beside.signatures(path) if signature.is_file()]
        if (key := image.key) is None:
            names = ", ".join(signature.name for signature in there)
            raise Absent(f"{names}: checked with --key" if there else f"{path.name} is not signed")
        signature = path.with_name(path.name + key.extension)
        if signature not in there:
            raise Wrong(f"{path.name} is not signed by such a key: there is no {signature.name}")
        _signed(signature, key.check, path.read_bytes(), signature.read_bytes())
        return f"{signature.name}: signed by {key.identifier}"

    return check


def _signed(path: Path, check: Callable[[bytes, bytes], None], data: bytes, signature: bytes) -> None:
    try:
        check(data, signature)
    except BadSignature as error:
        raise Wrong(f"{path.name}: {error}") from None


def _present(path: Path) -> Path:
    if not path.is_file():
        raise Absent(f"there is no {path.name}")
    return path


def _json(path: Path) -> Mapping[str, Any]:
    document: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise ValueError("it is no object")
    return document


def _require(path: Path, said: str, is_: str) -> None:
    if said != is_:
        raise Wrong(f"{path.name} is of another image: sha256:{said}, and this one is sha256:{is_}")


_CHECKS = (
    ("record", "The record is of this image", _record),
    ("checksum", "The image has its checksum", _checksum),
    ("sums", "All files of the image have the sums of the directory", _sums),
    ("spdx", "The SPDX document is of this image", _spdx),
    ("cyclonedx", "The CycloneDX document is of this image", _cyclonedx),
    ("provenance", "The provenance is of this image, its record and its SBOMs", _provenance),
    ("signature-checksum", "The checksum is signed", _signature_of("checksum")),
    ("signature-provenance", "The provenance is signed", _signature_of("provenance")),
    ("envelope", "The envelope holds the provenance, signed", _envelope),
)
