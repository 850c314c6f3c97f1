"""Containers and images that buildah works on, in a storage of their own or in the host's."""

from __future__ import annotations

import json
import os
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diskimage_create import process
from diskimage_create.errors import CommandFailed, HostError
from diskimage_create.references import Reference
from diskimage_create.registries.access import Access, auth_file, trusted
from diskimage_create.workspace import workspace

#: Where programs in a container find what we lend them: a directory that file systems have, and that is empty
LENT = "/mnt"
#: chroot needs neither cgroups nor an OCI runtime, and has the host's network.
_ISOLATION = ("--isolation", "chroot")
#: Seconds that buildah has after SIGTERM
_GRACE = 5.0


@dataclass(frozen=True)
class Buildah:
    """buildah, with one storage and one way to reach registries."""

    access: Access
    scratch: Path
    """For temporary files, and what is lent to containers; removed in the end"""
    storage: tuple[str, ...]
    """Options that name the storage; none for the host's"""
    auth: Path
    environment: Mapping[str, str] = field(repr=False)
    children: process.Children = field(default_factory=lambda: process.Children(_GRACE), repr=False)
    """Runs buildah; a block around it stops what other threads run"""
    _to_do: set[tuple[str, ...]] = field(default_factory=set, repr=False)
    _called: dict[str, str | None] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def __call__(self, *arguments: str | Path) -> str:
        """Run buildah; what it prints.

        :raises CommandFailed: it failed; the error shows the last lines of all that was printed
        """
        done = self.children.run([*_command(), *self.storage, *arguments], self.environment, range(-64, 256))
        if done.returncode:
            raise CommandFailed(["buildah", *map(str, arguments)], done.returncode, done.stdout + done.stderr)
        return done.stdout

    def pull(self, reference: Reference) -> str:
        """Bring an image from its registry into the storage, the same version anew too; its id."""
        return self("pull", "--quiet", *self._to_registry(reference), f"docker://{reference.normalised()}").strip()

    def push(self, image: str, destination: Reference) -> str:
        """Store an image in a registry: its blobs first, its tag when they are all there; the manifest's digest."""
        with tempfile.NamedTemporaryFile(dir=self.scratch) as digest:
            options = ("--quiet", "--digestfile", digest.name, *self._to_registry(destination))
            self("push", *options, image, f"docker://{destination.normalised()}")
            return Path(digest.name).read_text(encoding="ascii").strip()

    def _to_registry(self, reference: Reference) -> tuple[str, ...]:
        insecure = reference.normalised().registry in self.access.insecure
        return ("--authfile", str(self.auth), *(("--tls-verify=false",) if insecure else ()))

    def inspect(self, image: str) -> dict[str, Any]:
        """What an image of the storage is made of, as buildah knows it."""
        found: dict[str, Any] = json.loads(self("inspect", "--type", "image", image))
        return found

    def id_of(self, image: str) -> str | None:
        """The id of an image in the storage, None where there is none of this name."""
        with suppress(CommandFailed):
            return str(self.inspect(image)["FromImageID"])
        return None

    def tag(self, image: str, name: str) -> None:
        """Give an image of the storage another name."""
        self("tag", image, name)

    def call(self, image: str, name: str) -> None:
        """Give an image another name, for as long as the storage is used: what had it before gets it back."""
        with self._lock:
            if name not in self._called:
                self._called[name] = self.id_of(name)
            self.tag(image, name)

    def remove(self, *images: str) -> None:
        """Take away names of images, and the images that have no other. What is in use, or not there, is no error."""
        for image in images:
            with suppress(CommandFailed):
                self("rmi", image)

    def build(self, directory: Path, dockerfile: Path, name: str) -> str:
        """Build an image from a Dockerfile; its id."""
        with tempfile.NamedTemporaryFile(dir=self.scratch) as identity:
            options = ("--layers=false", "--network", "host", "--iidfile", identity.name, *self._for_all_registries())
            # "missing": what the Dockerfile builds upon is in the storage; only other stages' images are fetched.
            self("build", *_ISOLATION, "--pull=false", *options, "--file", dockerfile, "--tag", name, directory)
            return Path(identity.name).read_text(encoding="ascii").strip().removeprefix("sha256:")

    def _for_all_registries(self) -> tuple[str, ...]:
        return ("--authfile", str(self.auth))

    @contextmanager
    def container(self, image: str) -> Iterator[Container]:
        """A working container made of an image of the storage; removed in the end."""
        name = f"diskimage-create-{uuid.uuid4().hex}"
        remove = ("rm", name)
        with tempfile.TemporaryDirectory(prefix="lent-", dir=self.scratch) as lent, self.undone_by(*remove):
            self("from", "--pull-never", "--name", name, image)
            yield Container(self, name, Path(lent))
            self(*remove)

    @contextmanager
    def undone_by(self, *command: str) -> Iterator[None]:
        """A block whose work a command takes back if the block fails; at the latest when the storage is left."""
        self._to_do.add(command)
        try:
            yield
        except BaseException:
            with suppress(CommandFailed):
                self(*command)
                self._to_do.discard(command)
            raise
        self._to_do.discard(command)

    def remove_in_the_end(self, image: str) -> None:
        """Take away the name of an image when the storage is left."""
        self._to_do.add(("rmi", image))

    def tidy(self) -> None:
        """Take back what is still to be taken back: what interrupted the work stopped that, too."""
        names = [("tag", before, name) if before else ("rmi", name) for name, before in self._called.items()]
        for command in [*sorted(self._to_do), *names]:  # containers (rm) hold images (rmi)
            process.run([*_command(), *self.storage, *command], env=self.environment, expect=range(-64, 256))


@dataclass(frozen=True)
class Container:
    """A container to change, and the directory of the host that it sees as :data:`LENT`."""

    buildah: Buildah
    name: str
    lent: Path

    def sh(self, script: str, *arguments: str, volumes: Sequence[str] = ()) -> str:
        """Run a script of sh as root, with the host's network; what it prints.

        :param volumes: ``HOST:CONTAINER[:ro]`` besides what is lent
        :raises CommandFailed: it failed
        """
        mounts = [part for volume in (f"{self.lent}:{LENT}", *volumes) for part in ("--volume", volume)]
        command = ("--", "/bin/sh", "-c", script, "sh", *arguments)
        return self.buildah("run", *_ISOLATION, "--user", "0", "--workingdir", "/", *mounts, self.name, *command)

    def commit(self, name: str, labels: Mapping[str, str], what: str) -> str:
        """Make an image of the container as it is now, in the format of the one that it was made of; its id.

        :param what: how it was made, for the image's history
        """
        for key, value in labels.items():
            self.buildah("config", "--label", f"{key}={value}", self.name)
        self.buildah("config", "--created-by", what, self.name)
        base = json.loads(self.buildah("inspect", self.name))
        docker = "docker" in json.loads(base["Manifest"] or "{}").get("mediaType", "")
        kind = "docker" if docker else "oci"
        return self.buildah("commit", "--quiet", "--format", kind, self.name, name).strip().removeprefix("sha256:")


@contextmanager
def private_storage(access: Access, directory: Path | None = None) -> Iterator[Buildah]:
    """A storage that goes away, with all images and containers in it.

    :param directory: to make it in; TMPDIR or ``/var/tmp`` by default, since images are large
    :raises HostError: buildah is not installed
    """
    _require()
    with ExitStack() as stack:
        work = stack.enter_context(workspace(directory or Path(os.environ.get("TMPDIR") or "/var/tmp")))
        root = ("--root", str(work.path / "storage"), "--runroot", str(work.path / "running"))
        yield _with_access(stack, access, work.tmp, (*root, "--storage-driver", _driver(work.path)))


@contextmanager
def host_storage(access: Access) -> Iterator[Buildah]:
    """The storage of the host's own container tools.

    :raises HostError: buildah is not installed
    """
    _require()
    with ExitStack() as stack:
        parent = Path(os.environ.get("TMPDIR") or "/var/tmp")
        buildah = _with_access(stack, access, stack.enter_context(workspace(parent)).tmp, ())
        try:
            yield buildah
        finally:
            buildah.tidy()


def _with_access(stack: ExitStack, access: Access, scratch: Path, storage: tuple[str, ...]) -> Buildah:
    auth = stack.enter_context(auth_file(access, scratch))
    bundle = stack.enter_context(trusted(access, parent=scratch))
    environment = {**os.environ, "PATH": process.tool_path(), "LC_ALL": "C.UTF-8", "TMPDIR": str(scratch)}
    if bundle:
        environment["SSL_CERT_FILE"] = str(bundle)
    return Buildah(access, scratch, storage, auth, environment)


def _driver(directory: Path) -> str:
    """overlay where the kernel and the file system of a directory can do it."""
    probe = directory / "probe"
    places = ("--root", probe / "root", "--runroot", probe / "run")
    done = process.run([*_command(), *places, "--storage-driver", "overlay", "info"], expect=range(-64, 256))
    return "vfs" if done.returncode else "overlay"


def _command() -> tuple[str, ...]:
    return (*process.FENCE, "buildah") if process.is_root() else ("buildah",)


def _require() -> None:
    if process.which("buildah") is None:
        raise HostError("buildah is not installed: it changes container images", "install the package buildah")
