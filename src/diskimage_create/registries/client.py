"""What registries know of images: manifests, labels, tags. Nothing here changes a registry; ``pushing.py`` does."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from diskimage_create.errors import Interrupted, RemoteError
from diskimage_create.references import DOCKER_HUB, Reference
from diskimage_create.registries.access import Access, trusted
from diskimage_create.registries.configuration import Blocked, Configuration, Endpoint, read
from diskimage_create.registries.connections import (
    RETRIES,
    TIMEOUT,
    NotFound,
    authenticator,
    errors,
    session,
    silence_warnings,
    speaks_tls,
)

if TYPE_CHECKING:
    from concurrent.futures import Executor

    import requests
    from dxf import DXF, DXFBase

#: Where Docker Hub's registry answers
_HUB_HOST = "registry-1.docker.io"
#: Bytes; distribution's own limit is 4 MiB for manifests
_LARGEST = 16 * 2**20
_INDEXES = frozenset(
    {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"}
)

_Asked = TypeVar("_Asked", bound=Hashable)
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class Manifest:
    """What a registry stores under a tag or a digest."""

    digest: str
    content: bytes = field(repr=False)

    @cached_property
    def data(self) -> dict[str, Any]:
        """The content (OCI Image Specification 1.1, or docker's schema 2)."""
        data: dict[str, Any] = json.loads(self.content)
        return data

    @property
    def is_index(self) -> bool:
        """Whether it lists the manifests of several architectures."""
        return self.data.get("mediaType") in _INDEXES or "manifests" in self.data

    @property
    def blobs(self) -> dict[str, int]:
        """Bytes by digest, of the configuration and all layers; nothing for an index."""
        entries = [self.data.get("config"), *self.data.get("layers", [])]
        return {str(entry["digest"]): int(entry["size"]) for entry in entries if entry}

    @property
    def members(self) -> dict[str, str]:
        """Go's name of the architecture by digest, of all images of an index; nothing for an image."""
        entries = self.data.get("manifests", []) if self.is_index else []
        return {str(entry["digest"]): str((entry.get("platform") or {}).get("architecture")) for entry in entries}


class Registries:
    """Asks registries; connections are kept, so it is used as a context manager. Threads may share it.

    Images are looked for where containers-registries.conf(5) says, as programs that pull do it; ``direct`` asks the
    registry of the name itself, where pushes go.
    """

    def __init__(self, access: Access, connections: int = 16, configuration: Configuration | None = None) -> None:
        """Ask registries.

        :param connections: kept to a host, and requests at a time
        :param configuration: the host's by default
        :raises InputError: the host's configuration of registries is wrong
        """
        self._access = access
        self._configuration = read(os.environ) if configuration is None else configuration
        self._connections = connections
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._stack = ExitStack()
        self._hosts: dict[tuple[str, bool], DXFBase] = {}
        self._repositories: dict[tuple[str, str, bool], DXF] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def access(self) -> Access:
        """How registries are reached."""
        return self._access

    def manifest(self, reference: Reference, *, direct: bool = False) -> Manifest:
        """The manifest under a digest, or else a tag (``latest`` where there is neither); one request.

        :param direct: of the registry itself: no mirror, no other location
        :raises NotFound: there is none
        :raises RemoteError: the registry refuses, does not answer, or its answer is not what it says
        """
        content, headers = self._ask(
            reference, lambda repository, name: repository.get_manifest_and_response(name), direct
        )
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        said = reference.digest or headers.get("Docker-Content-Digest") or digest
        if said.startswith("sha256:") and said != digest:
            raise RemoteError(f"{reference}: the registry's manifest has the digest {digest}, not {said}")
        try:
            manifest = Manifest(digest, content)
            if not isinstance(manifest.data, dict):
                raise ValueError
            _ = manifest.blobs, manifest.members
        except (ValueError, LookupError, TypeError, AttributeError):
            raise RemoteError(f"{reference}: what the registry has there is no manifest of an image") from None
        return manifest

    def digest(self, reference: Reference, *, direct: bool = False) -> str | None:
        """The digest of a manifest, or None where there is no such image; one request, and none for the content.

        :param direct: of the registry itself: no mirror, no other location
        :raises RemoteError: the registry refuses, or does not answer
        """
        try:
            _, headers = self._ask(
                reference, lambda repository, name: repository.head_manifest_and_response(name), direct
            )
        except NotFound:
            return None
        return headers.get("Docker-Content-Digest") or self.manifest(reference, direct=direct).digest

    def labels(self, reference: Reference, architecture: str = "amd64") -> dict[str, str]:
        """The labels in an image's configuration: one request for the manifest, one for the configuration.

        :param architecture: Go's name of the one to look at, where there are several; another one where it is missing
        :raises NotFound: there is no such image
        :raises RemoteError: the registry refuses, does not answer, or its answer is not what it says
        """
        return self.labels_of(reference, self.manifest(reference), architecture)

    def labels_of(self, reference: Reference, manifest: Manifest, architecture: str = "amd64") -> dict[str, str]:
        """The same, of a manifest that is known."""
        if manifest.is_index:
            manifest = self.manifest(
                Reference(reference.registry, reference.repository, None, _one_of(manifest, architecture, reference))
            )
        digest = manifest.data.get("config", {}).get("digest", "")
        content = self.blob(reference, digest)
        try:
            configuration = json.loads(content)
            return {
                str(name): str(value)
                for name, value in ((configuration.get("config") or {}).get("Labels") or {}).items()
            }
        except (ValueError, AttributeError):
            raise RemoteError(f"{reference}: its configuration is not that of an image") from None

    def architecture_of(self, reference: Reference, manifest: Manifest) -> str | None:
        """Go's name of the architecture in the configuration of one image, asked of the registry itself.

        None where it says none: of artifacts, the configuration is anything.

        :raises RemoteError: the registry refuses, does not answer, or its answer is not what it says
        """
        try:
            configuration = json.loads(self.blob(reference, manifest.data.get("config", {}).get("digest", ""), True))
            architecture = configuration["architecture"]
        except (ValueError, LookupError, TypeError, NotFound):
            return None
        return str(architecture)

    def tags(self, reference: Reference) -> list[str]:
        """All tags of the repository that a reference is in, sorted; none where there is no such repository.

        :raises RemoteError: the registry refuses, or does not answer
        """
        try:
            found: list[str] = self._ask(reference, lambda repository, _: sorted(repository.list_aliases()))
        except NotFound:
            return []
        return found

    def repositories(self, host: str) -> list[str]:
        """All repositories of a registry, sorted.

        :raises RemoteError: the registry refuses, does not answer, or does not tell
        """
        with errors(host):
            return sorted(self._host(host).list_repos())

    def all_of(self, ask: Callable[[_Asked], _Answer], items: Iterable[_Asked]) -> dict[_Asked, _Answer | RemoteError]:
        """Ask for many things at once, each of them once; what a registry refuses is in the place of its answer.

        :raises Interrupted: nothing more is asked, and nobody waits for a registry that does not answer
        """
        wanted = list(dict.fromkeys(items))
        waiting: SimpleQueue[_Asked] = SimpleQueue()
        answers: SimpleQueue[tuple[_Asked, _Answer | BaseException]] = SimpleQueue()
        for item in wanted:
            waiting.put(item)

        def work() -> None:
            with suppress(Empty):
                while not self._stopped.is_set():
                    item = waiting.get_nowait()
                    try:
                        answers.put((item, ask(item)))
                    except BaseException as error:
                        answers.put((item, error))

        # Unlike those of an executor, these threads are not waited for when the program ends.
        for _ in range(min(self._connections, len(wanted))):
            threading.Thread(target=work, daemon=True).start()
        try:
            found = dict(answers.get() for _ in wanted)
        except (Interrupted, KeyboardInterrupt):
            self._stopped.set()
            raise
        return {item: _answer(found[item]) for item in wanted}

    @contextmanager
    def stopping(self, pool: Executor) -> Iterator[None]:
        """A block that may be interrupted: then other threads begin nothing more, and no request is repeated."""
        try:
            yield
        except (Interrupted, KeyboardInterrupt):
            self._stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise

    def repository(self, reference: Reference) -> DXF:
        """Where images of a name are pushed to, with credentials and certificates: for :mod:`.pushing` alone."""
        return self._repository(self._endpoints(reference, direct=True)[0])

    def blob(self, reference: Reference, digest: str, direct: bool = False) -> bytes:
        """A small blob, checked against its digest.

        :raises NotFound: there is none
        :raises RemoteError: the registry refuses, does not answer, or the blob is large, or not what it says
        """

        def read(repository: DXF, _: str) -> bytes:
            content = bytearray()
            for chunk in cast(Iterable[bytes], repository.pull_blob(digest, chunk_size=2**16)):
                content += chunk
                if len(content) > _LARGEST:
                    raise RemoteError(f"{reference}: {digest} is larger than {_LARGEST >> 20} MiB")
            return bytes(content)

        blob: bytes = self._ask(reference, read, direct)
        return blob

    def _ask(self, reference: Reference, ask: Callable[[DXF, str], Any], direct: bool = False) -> Any:
        """One request about an image, to each of its places until one has an answer."""
        endpoints = self._endpoints(reference, direct)
        for endpoint in endpoints[:-1]:
            with suppress(RemoteError):
                return self._ask_at(endpoint, str(reference), ask)
        return self._ask_at(endpoints[-1], str(reference), ask)

    def _endpoints(self, reference: Reference, direct: bool) -> list[Endpoint]:
        full = reference.normalised()
        if direct:
            return [Endpoint(full, self._configuration.insecure(full))]
        try:
            return self._configuration.endpoints(full)
        except Blocked as error:
            raise RemoteError(
                f"{reference}: this host's configuration blocks the registry {error}",
                "see containers-registries.conf(5)",
            ) from None

    def _ask_at(self, endpoint: Endpoint, what: str, ask: Callable[[DXF, str], Any]) -> Any:
        """A request; a connection that breaks while the answer is read is tried again."""
        import requests

        reference = endpoint.reference
        for left in reversed(range(RETRIES)):
            with errors(what):
                try:
                    answer = ask(self._repository(endpoint), reference.digest or reference.tag or "latest")
                    return _content_and_headers(answer) if isinstance(answer, tuple) else answer
                except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
                    if not left:
                        raise
        raise AssertionError("the last attempt returns or raises")

    def _repository(self, endpoint: Endpoint) -> DXF:
        from dxf import DXF

        reference = endpoint.reference
        assert reference.registry is not None
        key = (reference.registry, reference.repository, endpoint.insecure)
        base = self._host(reference.registry, endpoint.insecure)
        with self._lock:
            if key not in self._repositories:
                self._repositories[key] = _in_repository(
                    DXF.from_base(base, reference.repository), self._access, reference.registry, reference.repository
                )
            return self._repositories[key]

    def _host(self, host: str, insecure: bool = False) -> DXFBase:
        insecure = insecure or host in self._access.insecure
        with self._lock:
            if (host, insecure) not in self._hosts:
                self._hosts[host, insecure] = self._connect(host, insecure)
            return self._hosts[host, insecure]

    def _connect(self, host: str, insecure: bool) -> DXFBase:
        from dxf import DXFBase

        bundle = self._stack.enter_context(trusted(self._access, host))
        kept = self._stack.enter_context(session(self._connections, self._stopped))
        if insecure:
            silence_warnings()
        plain = insecure and not speaks_tls(host)
        verify: bool | str = False if insecure else str(bundle) if bundle else True
        name = _HUB_HOST if host == DOCKER_HUB else host
        base = DXFBase(name, authenticator(self._access, host), insecure=plain, tlsverify=verify, timeout=TIMEOUT)
        # dxf makes a session of its own that knows no retries, and has no way to be given one.
        base._sessions = [kept]
        return base


def _answer(answer: _Answer | BaseException) -> _Answer | RemoteError:
    if isinstance(answer, BaseException) and not isinstance(answer, RemoteError):
        raise answer
    return answer


def _in_repository(repository: DXF, access: Access, host: str, name: str) -> DXF:
    repository._auth = authenticator(access, host, name)
    return repository


def _content_and_headers(answer: tuple[Any, requests.Response]) -> tuple[bytes, Mapping[str, str]]:
    return answer[1].content, answer[1].headers


def _one_of(index: Manifest, architecture: str, reference: Reference) -> str:
    """The digest of one architecture's manifest in an index."""
    entries = [entry for entry in index.data.get("manifests", []) if entry.get("platform", {}).get("os") != "unknown"]
    if not entries:
        raise RemoteError(f"{reference}: its index lists no image")
    wanted = [entry for entry in entries if entry.get("platform", {}).get("architecture") == architecture]
    return str((wanted or entries)[0]["digest"])
