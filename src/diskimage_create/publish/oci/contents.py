"""What a registry gets of an image: the blobs, and the manifest that names them.

The same image always makes the same bytes, with the same tools. OCI Image Specification 1.1: "Image Manifest",
"Image Configuration", and for artifacts "Guidelines for Artifact Usage", as ORAS has it: each file is a layer whose
annotation ``title`` is its name.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diskimage_create import digests, process, record
from diskimage_create.engines import COMMAND, FINGERPRINT, SHA256
from diskimage_create.errors import CommandFailed, HostError
from diskimage_create.provenance.beside import Beside, media_type
from diskimage_create.publish.model import Compression, Form
from diskimage_create.publish.oci import indexes
from diskimage_create.publish.source import Source
from diskimage_create.registries.pushing import Blob

MANIFEST = indexes.MANIFEST
#: What an artifact says that it is
ARTIFACT = "application/vnd.diskimage-create.image.v1"
#: Annotations of ours besides those of container images
ARCHITECTURE, TYPE = "diskimage-create.architecture", "diskimage-create.type"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_EMPTY_CONFIG = "application/vnd.oci.empty.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar+"
_TITLE = "org.opencontainers.image.title"
#: As shared-mime-info knows them
_MEDIA_TYPES = {
    "qcow2": "application/x-qemu-disk",
    "raw": "application/x-raw-disk-image",
    "vhd": "application/x-vhd-disk",
    "tar": "application/x-tar",
    "tgz": "application/gzip",
    "squashfs": "application/vnd.squashfs",
}
_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK = 2**20


@dataclass(frozen=True)
class Content:
    """An image as a registry has it, for one architecture."""

    manifest: bytes
    blobs: tuple[Blob, ...]
    platform: Mapping[str, str]

    @property
    def digest(self) -> str:
        """Of the manifest."""
        return f"sha256:{hashlib.sha256(self.manifest).hexdigest()}"

    @property
    def descriptor(self) -> dict[str, Any]:
        """How an index names it."""
        return indexes.descriptor(self.manifest, self.platform)


def artifact(source: Source) -> Content:
    """The file as it is, with its record, its checksum, and what ``attest`` has written about it."""
    checksum = f"{source.sha256}  {source.path.name}\n".encode()
    of_image = _MEDIA_TYPES.get(source.type, "application/octet-stream")
    blobs = [
        (Blob(f"sha256:{source.sha256}", source.bytes, source.path), source.path.name, of_image),
        (Blob.of(record.path_for(source.path).read_bytes()), record.path_for(source.path).name, "application/json"),
        (Blob.of(checksum), f"{source.path.name}.sha256", "text/plain"),
        *((Blob.of(path.read_bytes()), path.name, media_type(path)) for path in _documents(source)),
    ]
    layers = [{**_descriptor(blob, media), "annotations": {_TITLE: name}} for blob, name, media in blobs]
    config = Blob.of(b"{}")
    # The first two are what an operator waits for; whoever reads the manifest finds all of them.
    return _content(source, config, _EMPTY_CONFIG, layers, [blob for blob, _, _ in blobs], ARTIFACT)


def has_documents(manifest: Mapping[str, Any], source: Source, form: Form) -> bool:
    """Whether a manifest of this image has all that there is about it now; a container image has none."""
    if form is Form.IMAGE:
        return True
    there = {str(layer.get("digest")) for layer in manifest.get("layers", [])}
    return all(Blob.of(path.read_bytes()).digest in there for path in _documents(source))


def _documents(source: Source) -> list[Path]:
    beside = Beside(source.path)
    return [path for path in beside.existing() if path not in (beside.image, beside.record, beside.checksum)]


def container_image(source: Source, compression: Compression, directory: Path) -> Content:
    """The root file system as the one layer of a container image.

    :param directory: where the layer is made, unless the image is a compressed archive already
    :raises HostError: there is no room, or no tool to compress it
    """
    layer, unpacked = _layer(source.archive(), compression, directory)
    config = Blob.of(_json(_configuration(source, unpacked)))
    method = "gzip" if _is_gzip(layer.content) else compression
    return _content(source, config, _CONFIG, [_descriptor(layer, f"{_LAYER}{method}")], [layer])


def said_of(source: Source, form: Form) -> dict[str, str]:
    """What the manifest says; by it an image is known again."""
    return {**source.labels, ARCHITECTURE: source.architecture, TYPE: source.type if form is Form.ARTIFACT else "root"}


def is_of(manifest: Mapping[str, Any], source: Source, form: Form) -> bool:
    """Whether a manifest is that of an image, in a form: whenever, and with whatever tools it was published."""
    said = manifest.get("annotations") or {}
    wanted = said_of(source, form)
    return all(said.get(name) == wanted[name] for name in (SHA256, FINGERPRINT, ARCHITECTURE, TYPE))


def _content(
    source: Source,
    config: Blob,
    config_type: str,
    layers: list[dict[str, Any]],
    blobs: list[Blob],
    artifact_type: str | None = None,
) -> Content:
    form = Form.ARTIFACT if artifact_type else Form.IMAGE
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        **({"artifactType": artifact_type} if artifact_type else {}),
        "config": _descriptor(config, config_type),
        "layers": layers,
        "annotations": said_of(source, form),
    }
    platform = {"architecture": source.architecture, "os": "linux"}
    return Content(_json(manifest), (*blobs, config), platform)


def _configuration(source: Source, layer: str) -> dict[str, Any]:
    """What runs a container of it.

    :param layer: digest of the archive, before it was compressed
    """
    return {
        "created": source.built,
        "architecture": source.architecture,
        "os": "linux",
        "config": {"Cmd": list(COMMAND), "Labels": dict(source.labels)},
        "rootfs": {"type": "layers", "diff_ids": [layer]},
        "history": [{"created": source.built, "created_by": "diskimage-create"}],
    }


def _layer(archive: Path, compression: Compression, directory: Path) -> tuple[Blob, str]:
    """An archive as a layer, and the digest of what is in it, which configurations name."""
    if _is_gzip(archive):
        unpacked = hashlib.sha256()
        for block in _unpacked(archive):
            unpacked.update(block)
        return _file(archive), f"sha256:{unpacked.hexdigest()}"
    packed = directory / f"layer.{compression}"
    try:
        with packed.open("wb") as file:
            process.run([*_compressor(compression), "--", archive], stdout=file)
    except CommandFailed as error:
        raise HostError(f"the layer cannot be made: {error.message}", "is there room for temporary files?") from None
    return _file(packed), f"sha256:{digests.sha256(archive)}"


def _compressor(compression: Compression) -> list[str]:
    """Several cores, and nothing of the time or of names in what is made; zstd needs 10 MB more for each of them."""
    if compression is Compression.ZSTD:
        return ["zstd", "--quiet", "--stdout", f"-T{min(os.cpu_count() or 1, 4)}"]
    return ["pigz" if process.which("pigz") else "gzip", "--no-name", "--stdout", "-6"]


def _unpacked(archive: Path) -> Iterator[bytes]:
    """The content of a gzip file, which may consist of several members (RFC 1952, 2.2)."""
    member = zlib.decompressobj(zlib.MAX_WBITS | 16)
    with archive.open("rb") as file:
        while block := file.read(_BLOCK):
            while block:
                if out := member.decompress(block, _BLOCK * 4):
                    yield out
                block = member.unconsumed_tail or member.unused_data
                if member.eof:
                    member = zlib.decompressobj(zlib.MAX_WBITS | 16)


def _is_gzip(archive: Path | bytes) -> bool:
    if isinstance(archive, bytes):
        return archive.startswith(_GZIP_MAGIC)
    with archive.open("rb") as file:
        return file.read(2) == _GZIP_MAGIC


def _file(path: Path) -> Blob:
    return Blob(f"sha256:{digests.sha256(path)}", path.stat().st_size, path)


def _descriptor(blob: Blob, media_type: str) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def _json(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).encode()
