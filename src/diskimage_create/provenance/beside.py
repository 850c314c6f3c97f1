"""The names of the files beside an image X."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from diskimage_create.record import path_for

#: By the end of a file's name; what is not here is text
_MEDIA_TYPES = {
    ".spdx.json": "application/spdx+json",
    ".cdx.json": "application/vnd.cyclonedx+json",
    ".provenance.json": "application/vnd.in-toto+json",
    ".intoto.jsonl": "application/vnd.in-toto.bundle",
    ".sig": "application/octet-stream",
}
#: Of all kinds of keys
SIGNATURES = (".minisig", ".sig", ".asc")


def media_type(path: Path) -> str:
    """Of a file that ``attest`` writes."""
    return next((kind for ending, kind in _MEDIA_TYPES.items() if path.name.endswith(ending)), "text/plain")


@dataclass(frozen=True)
class Beside:
    """The files of an image."""

    image: Path

    @property
    def record(self) -> Path:
        """``X.json``: what the image is, and how it was built."""
        return path_for(self.image)

    @property
    def checksum(self) -> Path:
        """``X.sha256``: the image's digest, for sha256sum(1)."""
        return self._named("sha256")

    @property
    def spdx(self) -> Path:
        """``X.spdx.json``: what is in it."""
        return self._named("spdx.json")

    @property
    def cyclonedx(self) -> Path:
        """``X.cdx.json``: the same in another form."""
        return self._named("cdx.json")

    @property
    def provenance(self) -> Path:
        """``X.provenance.json``: what it was made of, as an in-toto statement."""
        return self._named("provenance.json")

    @property
    def envelope(self) -> Path:
        """``X.intoto.jsonl``: the statement in a signed envelope."""
        return self._named("intoto.jsonl")

    @property
    def signed(self) -> tuple[Path, ...]:
        """What has signatures of its own."""
        return (self.checksum, self.provenance)

    def signatures(self, path: Path) -> tuple[Path, ...]:
        """Where the signatures of a file can be, one for each kind of key."""
        return tuple(path.with_name(path.name + extension) for extension in SIGNATURES)

    def all(self) -> list[Path]:
        """All files of the image that there can be: itself, and those named above."""
        files = [self.image, self.record, self.checksum, self.spdx, self.cyclonedx, self.provenance, self.envelope]
        files += [signature for path in self.signed for signature in self.signatures(path)]
        return files

    def existing(self) -> list[Path]:
        """Those of them that are there."""
        return [path for path in self.all() if path.is_file()]

    def _named(self, extension: str) -> Path:
        return self.image.with_name(f"{self.image.name}.{extension}")
