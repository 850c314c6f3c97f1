"""docker and podman: ``docker:NAME[:TAG]``, ``podman:NAME[:TAG]``."""

from __future__ import annotations

from dataclasses import dataclass

from diskimage_create import engines
from diskimage_create.engines import Engine
from diskimage_create.errors import RemoteError
from diskimage_create.publish import archives
from diskimage_create.publish.model import Options, Receipt, Status
from diskimage_create.publish.source import Source
from diskimage_create.references import parse as parse_reference


@dataclass(frozen=True)
class Local:
    """The images of an engine of this host."""

    text: str
    engine: Engine
    target: str
    """``NAME:TAG``"""

    def __str__(self) -> str:
        return self.text

    def require(self, source: Source, options: Options) -> None:
        """The engine is installed, and the image has a root file system.

        :raises HostError: it is not
        :raises InputError: it has none
        """
        archives.require(source, self.text)
        engines.require(self.engine)

    def publish(self, source: Source, options: Options) -> Receipt:
        """Import the root file system, with labels.

        :raises RemoteError: the engine does not run, or refuses; or another image has the name
        """
        there = engines.inspect(self.engine, self.target)
        if there and engines.labels_in(there).get(engines.SHA256) == source.sha256:
            return self._receipt(Status.PRESENT, str(there.get("Id", "")))
        if there and not options.force:
            hint = "--force gives the name to this image; the other one stays without it"
            raise RemoteError(f"another image is named {self.target}", hint)
        archive = source.archive()
        architecture = source.architecture
        size = archive.stat().st_size
        options.progress(self.text, 0, size)
        made = engines.import_archive(archive, self.target, source.labels, architecture, self.engine)
        options.progress(self.text, size, size)
        self._compare(architecture, options)
        return self._receipt(Status.PUBLISHED, made, size)

    def _compare(self, architecture: str, options: Options) -> None:
        """Of an archive for another machine, docker before 23 says it were for its own."""
        made = (engines.inspect(self.engine, self.target) or {}).get("Architecture")
        if made != architecture:
            options.say(f"{self.text}: this {self.engine} takes the image for one of {made}, not {architecture}")

    def _receipt(self, status: Status, identity: str, size: int = 0) -> Receipt:
        digest = identity if identity.startswith("sha256:") else f"sha256:{identity}"
        return Receipt(self.text, status, self.target, digest, size)


def parse(text: str) -> Local:
    """What a user names.

    :raises ValueError: it is no name of an image
    """
    engine, _, name = text.partition(":")
    if name.startswith("//"):
        raise ValueError(f"{engine} keeps images of this host: a registry is oci:{name}")
    reference = parse_reference(name)
    if reference.digest:
        raise ValueError("a digest cannot be chosen: name a tag")
    return Local(text, Engine(engine.lower()), str(reference.tagged(reference.tag or "latest")))
