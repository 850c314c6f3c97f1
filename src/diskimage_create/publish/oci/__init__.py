"""Registries of container images: ``oci://HOST[:PORT]/NAME[:TAG]``.

An image is there when its manifest has its tag, which comes last: nobody sees half of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from diskimage_create.errors import RemoteError
from diskimage_create.filesystems import refuse_password
from diskimage_create.publish import archives
from diskimage_create.publish.model import Form, Options, Receipt, Status
from diskimage_create.publish.oci import indexes
from diskimage_create.publish.oci.contents import (
    ARCHITECTURE,
    MANIFEST,
    Content,
    artifact,
    container_image,
    has_documents,
    is_of,
)
from diskimage_create.publish.source import Source
from diskimage_create.references import Reference
from diskimage_create.references import parse as parse_reference
from diskimage_create.registries import Manifest, NotFound, Registries
from diskimage_create.registries.pushing import Pusher

#: Times that an index is written, when others write to it at the same time
_ATTEMPTS = 5


@dataclass(frozen=True)
class Registry:
    """A tag in a registry."""

    text: str
    reference: Reference
    verifies: ClassVar[bool] = True
    """The image is sent while its digest is worked out; it has no name there before that is done."""

    def __str__(self) -> str:
        return self.text

    def require(self, source: Source, options: Options) -> None:
        """A container image needs a root file system.

        :raises InputError: the image has none
        :raises HostError: this user may not look into it
        """
        if _form(source, options) is Form.IMAGE:
            archives.require(source, self.text)

    def publish(self, source: Source, options: Options) -> Receipt:
        """Send what the registry does not have, then give it the tag.

        :raises RemoteError: the registry refuses, or fails; or another image has the tag
        """
        form = _form(source, options)
        with Registries(options.access) as registries, ExitStack() as stack:
            tag = _Tag(registries, self.reference)
            there = tag.image(source.architecture)
            same = there is not None and is_of(there.data, source, form)
            total = 0
            pusher = Pusher(
                registries, self.reference, lambda done: options.progress(self.text, done, total), source.verified
            )
            if (
                there
                and same
                and has_documents(there.data, source, form)
                and all(pusher.has(digest, size) for digest, size in there.blobs.items())
            ):
                return self._receipt(Status.PRESENT, there.digest)
            if tag.is_foreign(source.architecture) and not same and not options.force:
                hint = "--force lets this image take its place"
                raise RemoteError(f"{self.reference}: another image is there", hint)
            content = _content(source, form, options, stack)
            total = sum(blob.size for blob in content.blobs)
            for blob in content.blobs:
                pusher.blob(blob)
            source.verified()
            tag.give(content, pusher)
            _verify(registries, self.reference, content, pusher)
        return self._receipt(Status.PUBLISHED, content.digest, pusher.sent)

    def _receipt(self, status: Status, digest: str, sent: int = 0) -> Receipt:
        fetch = str(replace(self.reference, tag=None, digest=digest))
        return Receipt(self.text, status, fetch, digest, sent)


class _Tag:
    """What a tag leads to."""

    def __init__(self, registries: Registries, reference: Reference) -> None:
        self._registries = registries
        self._reference = reference
        self._now = self._read()

    def image(self, architecture: str) -> Manifest | None:
        """The manifest for an architecture."""
        if self._now is None or not self._now.is_index:
            return self._now if self._now and self._architecture(self._now) == architecture else None
        digest = indexes.of_architecture(self._now.data, architecture)
        with suppress(NotFound):  # an index whose images were removed
            return self._at(digest) if digest else None
        return None

    def is_foreign(self, architecture: str) -> bool:
        """Whether the tag leads to an image that would have to go: of this architecture, or of none that it tells."""
        if self._now is None:
            return False
        if self._now.is_index:
            return indexes.of_architecture(self._now.data, architecture) is not None
        return self._architecture(self._now) in (architecture, None)

    def give(self, content: Content, pusher: Pusher) -> None:
        """Let the tag lead to a content: alone, or beside those of other architectures.

        Registries have no way to say "if nobody else has changed it". Whoever finds the own image missing afterwards
        adds it again.

        :raises RemoteError: it is not there in the end
        """
        architecture = content.platform["architecture"]
        for _ in range(_ATTEMPTS):
            index = self._others(architecture)
            if index is None:
                pusher.manifest(content.manifest, MANIFEST, self._reference.tag)
            else:
                pusher.manifest(content.manifest, MANIFEST, None)
                pusher.manifest(indexes.merged(index, content.descriptor), indexes.INDEX, self._reference.tag)
            self._now = self._read()
            found = self.image(architecture)
            if found and found.digest == content.digest:
                return
        raise RemoteError(f"{self._reference}: somebody else goes on to change the tag", "publish again")

    def _others(self, architecture: str) -> Mapping[str, Any] | None:
        """The index to which an image is added; None where the image stands alone."""
        now = self._now
        if now is None or now.is_index:
            return now.data if now and _more_than(now, architecture) else None
        other = self._architecture(now)
        if other is None or other == architecture:
            return None
        return {"manifests": [indexes.descriptor(now.content, {"architecture": other, "os": "linux"})]}

    def _architecture(self, manifest: Manifest) -> str | None:
        """What a single manifest says, or else its configuration."""
        annotated = (manifest.data.get("annotations") or {}).get(ARCHITECTURE)
        return str(annotated) if annotated else self._registries.architecture_of(self._reference, manifest)

    def _read(self) -> Manifest | None:
        try:
            return self._registries.manifest(self._reference, direct=True)
        except NotFound:
            return None

    def _at(self, digest: str) -> Manifest:
        return self._registries.manifest(replace(self._reference, tag=None, digest=digest), direct=True)


def parse(text: str) -> Registry:
    """What a user names.

    :raises ValueError: it is no name of an image in a registry
    :raises InputError: there is a password in it, which is not told
    """
    name = text.partition(":")[2]
    if not name.startswith("//"):
        raise ValueError("a registry is named oci://HOST[:PORT]/NAME:TAG")
    refuse_password(text)
    reference = parse_reference(name.removeprefix("//"))
    if reference.registry is None:
        raise ValueError("it names no registry: oci://HOST[:PORT]/NAME:TAG")
    if reference.digest:
        raise ValueError("a digest cannot be chosen: name a tag")
    return Registry(text, reference.tagged(reference.tag or "latest"))


def _form(source: Source, options: Options) -> Form:
    return options.form or (Form.IMAGE if source.type in archives.ARCHIVES else Form.ARTIFACT)


def _content(source: Source, form: Form, options: Options, stack: ExitStack) -> Content:
    if form is Form.ARTIFACT:
        return artifact(source)
    from diskimage_create.workspace import workspace

    return container_image(source, options.compression, stack.enter_context(workspace()).out)


def _more_than(index: Manifest, architecture: str) -> bool:
    """Whether an index has other images than the one for an architecture."""
    mine = indexes.of_architecture(index.data, architecture)
    return any(entry["digest"] != mine for entry in index.data["manifests"])


def _verify(registries: Registries, reference: Reference, content: Content, pusher: Pusher) -> None:
    """The registry has what the tag leads to, byte by byte, and the blobs of it.

    :raises RemoteError: it has not
    """
    fetch = replace(reference, tag=None, digest=content.digest)
    manifest = registries.manifest(fetch, direct=True)  # compares its digest
    for digest, size in manifest.blobs.items():
        if not pusher.has(digest, size):
            raise RemoteError(f"{reference}: the registry does not have the blob {digest} that it took")
