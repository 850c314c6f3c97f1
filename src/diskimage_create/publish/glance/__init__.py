"""Publishing to Glance, and rotation: the new image takes over the tag, older ones retire (docs/publish-glance.md)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from diskimage_create.errors import InputError, RemoteError
from diskimage_create.publish.glance import describe, publisher, rotation
from diskimage_create.publish.glance.service import (
    UNFINISHED,
    Image,
    Missing,
    Service,
    connect,
    is_imported,
    moment,
    translated,
)
from diskimage_create.publish.glance.upload import Upload, digest
from diskimage_create.publish.model import Options, Receipt, Status
from diskimage_create.publish.source import Source

#: How often copies of the same image are looked at that others publish at the same time
_ATTEMPTS = 3


def parse(text: str) -> Destination:
    """``glance:NAME``; ``glance:`` takes the name of the image's file, without its extension.

    :raises ValueError: it cannot be the name of an image
    """
    name = text.removeprefix("glance:")
    if len(name) > 255 or not name.isprintable() or name.startswith(("in:", "/")):
        raise ValueError(
            "it cannot be the name of an image: up to 255 printable characters, without / at the beginning"
        )
    return Destination(name)


@dataclass(frozen=True)
class Destination:
    """A name in Glance, which several images can have."""

    name: str
    verifies: ClassVar[bool] = True
    """The image is sent while its digest is worked out; Glance does not get the end of it before that is done."""

    def __str__(self) -> str:
        return f"glance:{self.name}"

    def require(self, source: Source, options: Options) -> None:
        """Say what is missing.

        :raises InputError: Glance has no such images, a property cannot be set, or there is no such cloud
        :raises HostError: openstacksdk is not installed
        """
        problems = describe.problems(source, options.glance)
        try:
            connect(options.glance.cloud).close()
        except InputError as error:
            problems += error.problems
        if problems:
            raise InputError(problems)

    def publish(self, source: Source, options: Options) -> Receipt:
        """Upload the image unless it is there, give it the tag, and retire older ones.

        :raises RemoteError: Glance refuses, or what it has is not what was sent
        """
        with translated(), connect(options.glance.cloud) as connection:
            work = _Publishing(Service(connection), source, options, self.name or source.path.stem, str(self))
            return work.run()


@dataclass(frozen=True)
class _Publishing:
    service: Service
    source: Source
    options: Options
    name: str
    what: str

    def run(self) -> Receipt:
        """All steps; after a kill between any two of them, the next run does what is left."""
        tags = describe.tags(self.source, self.options.glance)
        sent, attempts = 0, _ATTEMPTS
        while True:
            try:
                image = self._there()
                if image is None or (self.options.force and not sent):
                    image, sent = self._upload(), self.source.bytes
                holder = rotation.take_over(self.service, image, tags)
                break
            except Missing:  # somebody else has published a copy at the same time, and removed ours
                attempts -= 1
                if not attempts:
                    raise
        retired = rotation.retire(self.service, holder, tags, self.options.keep_last, self.options.say)
        if holder.get(describe.SHA256) == self.source.sha256:
            image = holder
        status = Status.PUBLISHED if sent else Status.PRESENT
        done = self._summary(image, holder, tags, retired)
        return Receipt(self.what, status, image["id"], _digest_of(image), sent, message=done)

    def _summary(self, image: Image, holder: Image, tags: tuple[str, ...], retired: int) -> str:
        said = []
        if tags:
            tagged = f"tagged {', '.join(tags)}"
            said.append(tagged if holder["id"] == image["id"] else f"a newer image, {holder['id']}, has the tag")
        if retired:
            said.append(f"{retired} older removed")
        return ", ".join(said)

    def _there(self) -> Image | None:
        """This very image, if it is in Glance; what a killed run left of it is removed."""
        found = None
        for image in map(self._imported, rotation.named(self.service, self.name)):
            if image["status"] in UNFINISHED:
                self._clear(image)
            elif self._may_be_this(image) and found is None and self._is_intact(image):
                found = image
        return found and self._settled(found)

    def _imported(self, image: Image) -> Image:
        """The image when Glance has imported it: that goes on when the publisher is killed."""
        if not is_imported(image):
            return image
        try:
            return self.service.wait(image)
        except Missing:
            return {**image, "status": "deleted"}
        except RemoteError:
            return self.service.image(image["id"])

    def _may_be_this(self, image: Image) -> bool:
        return bool(image["status"] == "active" and image[describe.SHA256] == self.source.sha256)

    def _clear(self, image: Image) -> None:
        """Remove an upload that nobody will complete."""
        if publisher.is_gone(image.get(describe.PUBLISHER, ""), moment(image["updated_at"])):
            self.service.delete(image)
        else:
            self.options.say(f"Glance: somebody else seems to be uploading to this name ({image['id']})")

    def _is_intact(self, image: Image) -> bool:
        """Whether Glance has what we have.

        :raises InputError: what we have is not the image of the record
        """
        self.source.verified()
        if digest(self.source.path, image["os_hash_algo"]) == image["os_hash_value"]:
            return True
        self.options.say(f"Glance: the image {image['id']} is not what it says it is: it is uploaded again")
        return False

    def _upload(self) -> Image:
        """A new image, active and verified; nothing stays of one that fails.

        :raises Missing: it was removed as soon as it was complete
        """
        attributes = describe.attributes(self.source, self.options.glance)
        who = {"id": publisher.new_identifier(), "name": self.name, describe.PUBLISHER: publisher.myself()}
        image = self.service.create({**attributes, **who})
        try:
            size = self.source.bytes
            upload = Upload(
                self.source.path,
                size,
                lambda sent: self.options.progress(self.what, sent, size),
                self.source.verified,
            )
            self.service.send(image, upload)
            image = self.service.wait(image)
            self._verify(image, upload.digest)
            return self._settled(image)
        except BaseException:
            with suppress(RemoteError):
                self.service.delete(image)
            raise

    def _verify(self, image: Image, digest_by: Callable[[str], str]) -> None:
        """:raises RemoteError: Glance does not have what was sent"""
        algorithm = image["os_hash_algo"]
        try:
            ours = digest_by(algorithm)
        except ValueError:
            raise RemoteError(f"Glance has digests by {algorithm}, which this Python does not know") from None
        if image["os_hash_value"] != ours:
            hint = (
                "a cloud that converts images as it imports them cannot be published to: see its interoperable import"
            )
            raise RemoteError(f"Glance's {algorithm} of the image is not that of what was sent", hint)

    def _settled(self, image: Image) -> Image:
        """An image that is complete, with the properties that it should have."""
        fixed = ("disk_format", "container_format")  # which Glance lets nobody change in an active image
        attributes = describe.attributes(self.source, self.options.glance)
        wanted = {name: value for name, value in attributes.items() if name not in fixed}
        return self.service.change(image, wanted, obsolete=(describe.PUBLISHER,))


def _digest_of(image: Image) -> str:
    return f"{image['os_hash_algo']}:{image['os_hash_value']}"
