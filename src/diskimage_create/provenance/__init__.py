"""What an image is made of, where it comes from, and that both are so: SBOMs, provenance, sums and signatures.

:func:`write_all` writes it beside an image, :func:`diskimage_create.provenance.verify.verify` checks it.
See docs/provenance.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from diskimage_create import digests, files, record
from diskimage_create.errors import InputError, Problem
from diskimage_create.provenance import dsse, sums
from diskimage_create.provenance.beside import Beside, media_type
from diskimage_create.provenance.contents import gather, read_contents
from diskimage_create.provenance.cyclonedx import cyclonedx
from diskimage_create.provenance.document import Subject, as_text, finished
from diskimage_create.provenance.model import Contents
from diskimage_create.provenance.signing import Signer
from diskimage_create.provenance.spdx import spdx
from diskimage_create.provenance.statement import File, statement

__all__ = ["Contents", "attest", "gather", "read_contents", "read_record", "sbom", "write_all"]

#: Of a ramdisk: its package database is left out of it
_WITHOUT_PACKAGES = frozenset({"kernel", "initramfs"})


def read_record(image: Path) -> dict[str, Any]:
    """The record beside an image, which has to be of this very file.

    :raises InputError: there is none, it cannot be read, or it is of something else
    """
    data, made = record.of_image(image)
    try:
        record.compare(made)
    except OSError as error:
        raise InputError([Problem(f"it cannot be read: {error.strerror}", str(image))]) from None
    return data


def sbom(image: Path, form: str) -> str:
    """The SBOM of an image of any origin. Its time is that of the record, or of the file where there is none.

    :param form: ``spdx`` or ``cyclonedx``
    :raises InputError: there is no such image, it is damaged, or has no packages that can be read here
    :raises HostError: this host cannot open images
    """
    contents = read_contents(image)
    try:
        created = finished(record.read(record.path_for(image)))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        created = datetime.fromtimestamp(int(image.stat().st_mtime), UTC)
    subject = Subject(image.name, digests.sha256(image), created)
    return as_text({"spdx": spdx, "cyclonedx": cyclonedx}[form](subject, contents))


def attest(image: Path, signer: Signer | None) -> list[Path]:
    """Look into an image, and write all that can be said of it beside it.

    :param signer: signs the checksum and the provenance
    :returns: the files that were written
    :raises InputError: there is no such image with its record, or nothing can be written there
    :raises HostError: this host cannot open images
    """
    made = read_record(image)
    log = image.with_suffix(".log")
    kind = record.artifact_of(made, image).type
    contents = None if kind in _WITHOUT_PACKAGES else read_contents(image)
    return write_all(image, made, contents, signer, log if log.is_file() else None)


def write_all(
    image: Path,
    made: Mapping[str, Any],
    contents: Contents | None,
    signer: Signer | None,
    log: Path | None = None,
) -> list[Path]:
    """Write SBOMs, provenance, sums and signatures beside an image: all of them, or none.

    What is there of an earlier image of that name goes. The image itself is not read: the record tells its digest.

    :param made: the record, as it lies beside the image
    :param contents: what is in it; None: no SBOM is written, as of an image that has no packages
    :param signer: signs the checksum and the provenance
    :param log: the build's, which is complete
    :returns: the files that were written
    :raises InputError: they cannot be written there, the record says too little, or the key cannot be used
    """
    beside = Beside(image)
    try:
        texts = _documents(beside, made, contents, log)
    except (LookupError, ValueError, TypeError) as error:
        raise InputError([Problem(f"the record says too little: {error}", str(beside.record))]) from None
    except OSError as error:
        raise InputError([Problem(f"{error.filename} cannot be read: {error.strerror}", str(image))]) from None
    kept = _kept_signatures(beside, texts)
    if signer:
        texts |= _signatures(beside, texts, signer)
    obsolete = {path.name for path in beside.existing() if path.name not in texts} - _lasting(beside) - kept
    with sums.locked(image.parent):
        texts[sums.NAME] = _sums(beside, made, texts, obsolete).encode("utf-8", "surrogateescape")
        files.write_all(image.parent, texts, obsolete, where=str(image))
    return [image.with_name(name) for name in texts]


def _documents(
    beside: Beside, made: Mapping[str, Any], contents: Contents | None, log: Path | None
) -> dict[str, bytes]:
    """File name -> content of all that needs no key."""
    digest = record.artifact_of(made, beside.image).sha256.removeprefix("sha256:")
    texts = {beside.checksum.name: f"{digest}  {beside.image.name}\n".encode()}
    if contents:
        subject = Subject(beside.image.name, digest, finished(made))
        texts[beside.spdx.name] = as_text(spdx(subject, contents)).encode()
        texts[beside.cyclonedx.name] = as_text(cyclonedx(subject, contents)).encode()
    others = [File(beside.record.name, digests.sha256(beside.record), "application/json")]
    if log:
        others.append(File(log.name, digests.sha256(log), "text/plain"))
    for path in (beside.spdx, beside.cyclonedx):
        if path.name in texts:
            others.append(File(path.name, _sha256(texts[path.name]), media_type(path)))
    texts[beside.provenance.name] = as_text(statement(beside.image.name, digest, made, others)).encode()
    return texts


def _lasting(beside: Beside) -> set[str]:
    return {beside.image.name, beside.record.name}


def _kept_signatures(beside: Beside, texts: Mapping[str, bytes]) -> set[str]:
    """Names of signatures that are of this very image, as of another key.

    The provenance tells: the checksum of a new image is there already, and the signature beside it is the old one's.
    """
    try:
        same = beside.provenance.read_bytes() == texts[beside.provenance.name]
    except OSError:
        same = False
    signatures = [path for of in beside.signed for path in beside.signatures(of)]
    return {path.name for path in (beside.envelope, *signatures)} if same else set()


def _signatures(beside: Beside, texts: Mapping[str, bytes], signer: Signer) -> dict[str, bytes]:
    signatures = {f"{path.name}{signer.extension}": signer.sign(path.name, texts[path.name]) for path in beside.signed}
    payload = texts[beside.provenance.name]
    if signed := signer.sign_raw(dsse.signed_bytes(payload)):
        signatures[beside.envelope.name] = dsse.Envelope(payload, (signed,)).as_line().encode()
    return signatures


def _sums(beside: Beside, made: Mapping[str, Any], texts: Mapping[str, bytes], obsolete: set[str]) -> str:
    """``SHA256SUMS`` of the directory, with the files of this image as they will be; other files' sums stay."""
    own = {path.name: _sha256(path.read_bytes()) for path in beside.existing() if path != beside.image}
    own[beside.image.name] = record.artifact_of(made, beside.image).sha256.removeprefix("sha256:")
    own |= {name: _sha256(content) for name, content in texts.items()}
    mine = {name: digest for name, digest in own.items() if name not in obsolete}
    names = {path.name for path in beside.all()}
    others = {name: digest for name, digest in sums.read(beside.image.parent).items() if name not in names}
    return sums.as_text(others | mine, sums.other_lines(beside.image.parent))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
