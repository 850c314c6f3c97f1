"""Publishing to a directory or an object store, with an index of what is there (docs/publish-directory.md)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from diskimage_create import filesystems
from diskimage_create.digests import sha256
from diskimage_create.errors import RemoteError
from diskimage_create.publish.directory import index
from diskimage_create.publish.directory.local import Directory
from diskimage_create.publish.directory.remote import Remote
from diskimage_create.publish.model import Options, Receipt, Status
from diskimage_create.publish.source import Source

#: How often the index is written anew because others publish to the same place, and cannot be kept out
_ATTEMPTS = 20


def parse(text: str) -> Destination:
    """``DIRECTORY/``, or a URL.

    :raises InputError: the URL has a password, which is not told; or it is none of a place
    """
    if "://" in text:
        filesystems.refuse(text)
    return Destination(text)


@dataclass(frozen=True)
class Destination:
    """A directory, or what a URL leads to."""

    text: str

    def __str__(self) -> str:
        return self.text

    def _place(self) -> Directory | Remote:
        if "://" not in self.text:
            return Directory(Path(self.text))
        path = filesystems.local_path(self.text)
        return Directory(path) if path else Remote(self.text)

    def require(self, source: Source, options: Options) -> None:
        """Say what is missing.

        :raises InputError: it is no directory, or may not be written to
        :raises HostError: a library is missing
        """
        self._place().require()

    def publish(self, source: Source, options: Options) -> Receipt:
        """Write the image and what lies beside it, unless it is there, and then the index.

        :raises RemoteError: there is another image of that name, or the place refuses, or is full
        """
        place = self._place()
        try:
            with place.open(lambda: options.say(f"{self}: waiting for somebody else who publishes there")):
                return _Publishing(place, source, options, self.text).run()
        except OSError as error:
            what = os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
            raise RemoteError(f"{self} cannot be written: {what}", _hint(error)) from None


def _hint(error: OSError) -> str | None:
    if isinstance(error, PermissionError):
        return "see whether these credentials may write there"
    return None


@dataclass(frozen=True)
class _Publishing:
    place: Directory | Remote
    source: Source
    options: Options
    what: str
    _put: list[str] = field(default_factory=list)
    """Files that we have written"""

    @property
    def name(self) -> str:
        return self.source.path.name

    def run(self) -> Receipt:
        """All steps; after a kill between any two of them, the next run does what is left."""
        self._complete_removals()
        sizes = self.place.sizes()
        before = index.stored(self.place).images
        missing = self._missing(sizes, index.entries(self.place, sizes, before).get(self.name))
        if missing:
            self._refuse_another(sizes, missing)
            with self._all_or_nothing(missing, sizes):
                self._write(missing, sizes)
                self._write_index(())
        retired = self._retire()
        status = Status.PUBLISHED if missing else Status.PRESENT
        message = f"{len(retired)} older removed" if retired else ""
        sent = sum(_bytes(content) for content in missing.values())
        digest = f"sha256:{self.source.sha256}"
        return Receipt(self.what, status, self.place.url(self.name), digest, sent, message=message)

    def _missing(self, sizes: Mapping[str, int], entry: index.Entry | None) -> dict[str, Path | bytes]:
        """The files that have to be written, in the order in which they are."""
        directory = self.source.path.parent
        beside = [path for path in directory.iterdir() if path.is_file() and index.belongs(path.name, self.name)]
        wanted: dict[str, Path | bytes] = {path.name: path for path in [*beside, self.source.path]}
        wanted[f"{self.name}.sha256"] = f"{self.source.sha256}  {self.name}\n".encode()
        there = {file["name"]: file["sha256"] for file in entry["files"]} if entry and self.place.believes else {}
        ordered = {name: wanted[name] for name in index.order(wanted, self.name)}
        return {name: content for name, content in ordered.items() if not self._is_there(name, content, sizes, there)}

    def _is_there(self, name: str, content: Path | bytes, sizes: Mapping[str, int], there: Mapping[str, str]) -> bool:
        """Whether the same file is there; one that no index tells of is read."""
        if sizes.get(name) != _bytes(content):
            return False
        if isinstance(content, bytes):
            return self.place.read(name) == content
        ours = self.source.sha256 if name == self.name else sha256(content)
        return (there.get(name) or self.place.digest(name)) == ours

    def _refuse_another(self, sizes: Mapping[str, int], missing: Mapping[str, object]) -> None:
        """:raises RemoteError: another image has the name"""
        if self.name in missing and self.name in sizes and not self.options.force:
            raise RemoteError(f"{self.what} has another image {self.name}", "replace it with --force, or rename yours")

    @contextmanager
    def _all_or_nothing(self, missing: Iterable[str], sizes: Mapping[str, int]) -> Iterator[None]:
        """What was not there before is not there after a failure, unless another one has published it meanwhile."""
        try:
            yield
        except BaseException:
            with suppress(Exception):
                self.place.discard()
                checksum = f"{self.name}.sha256"  # which is written last
                if checksum in self._put or checksum in sizes or checksum not in self.place.sizes():
                    self._remove(name for name in missing if name not in sizes)
            raise

    def _remove(self, names: Iterable[str]) -> None:
        for name in reversed(list(names)):
            with suppress(Exception):
                self.place.remove(name)

    def _write(self, missing: dict[str, Path | bytes], sizes: Mapping[str, int]) -> None:
        """Write files; while another image is replaced, nothing counts as there."""
        checksum = f"{self.name}.sha256"
        if self.name in missing and self.name in sizes and checksum in sizes:
            self.place.remove(checksum)
            self._write_index(())
        for name, content in missing.items():
            tell = partial(self._tell, self.source.bytes) if name == self.name else _nobody
            self.place.put(name, content, tell)
            self._put.append(name)
        self.place.commit()

    def _tell(self, total: int, done: int) -> None:
        self.options.progress(self.what, done, total)

    def _write_index(self, retiring: Sequence[str]) -> None:
        """Write the index until it says what is there: others may write it, too."""
        for _ in range(_ATTEMPTS):
            before = index.stored(self.place)
            known = {name: entry for name, entry in before.images.items() if name != self.name}
            sizes = self.place.sizes()
            found = index.entries(self.place, sizes, known)
            still = {image for image in (*before.retiring, *retiring) if index.files_of(image, sizes)}
            true = index.Index({name: found[name] for name in found if name not in still}, tuple(sorted(still)))
            if before == true:
                break
            self.place.put(index.INDEX, true.text().encode(), _nobody)
            self.place.commit()

    def _retire(self) -> list[str]:
        """Take older images out of the index, and then away."""
        self._write_index(())
        retired = index.retired(index.stored(self.place).images, self.name, self.options.keep_last)
        if retired:
            self._write_index(retired)
            self._complete_removals()
        return retired

    def _complete_removals(self) -> None:
        """Remove the files of images that the index names for that."""
        for image in index.stored(self.place).retiring:
            for name in index.files_of(image, self.place.sizes()):
                self.place.remove(name)
        if index.stored(self.place).retiring:
            self._write_index(())


def _bytes(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _nobody(done: int) -> None:
    """Small files need no progress."""
