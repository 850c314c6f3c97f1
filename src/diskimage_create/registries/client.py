"""What registries know of images: manifests, labels, tags. Nothing here changes a registry."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from diskimage_create.errors import RemoteError
from diskimage_create.references import DOCKER_HUB, Reference
from diskimage_create.registries.access import Access, trusted

if TYPE_CHECKING:
    import requests
    from dxf import DXF, DXFBase

#: Where Docker Hub's registry answers
_HUB_HOST = "registry-1.docker.io"
#: Seconds to connect, and to wait for more of an answer
_TIMEOUT = 30.0
#: Times that a request is made again after 429, 5xx or a broken connection, and the longest wait that a registry
#: may ask for with Retry-After (RFC 9110, 10.2.3), in seconds
_RETRIES = 5
_LONGEST_WAIT = 120
_RETRIED = frozenset({429, 500, 502, 503, 504})
#: Bytes; distribution's own limit is 4 MiB for manifests
_LARGEST = 16 * 2**20
_INDEXES = frozenset(
    {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"}
)

_Asked = TypeVar("_Asked", bound=Hashable)
_Answer = TypeVar("_Answer")


class NotFound(RemoteError):
    """The registry has no such image."""


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
        return {entry["digest"]: entry["size"] for entry in entries if entry}


class Registries:
    """Asks registries; connections are kept, so it is used as a context manager. Threads may share it."""

    def __init__(self, access: Access, connections: int = 16) -> None:
        self._access = access
        self._connections = connections
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._hosts: dict[str, DXFBase] = {}
        self._repositories: dict[tuple[str, str], DXF] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    @property
    def access(self) -> Access:
        """How registries are reached."""
        return self._access

    def manifest(self, reference: Reference) -> Manifest:
        """The manifest under a digest, or else a tag (``latest`` where there is neither); one request.

        :raises NotFound: there is none
        :raises RemoteError: the registry refuses, does not answer, or its answer is not what it says
        """
        content, headers = self._ask(reference, lambda repository, name: repository.get_manifest_and_response(name))
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        said = reference.digest or headers.get("Docker-Content-Digest") or digest
        if said.startswith("sha256:") and said != digest:
            raise RemoteError(f"{reference}: the registry's manifest has the digest {digest}, not {said}")
        try:
            manifest = Manifest(digest, content)
            if not isinstance(manifest.data, dict):
                raise ValueError
            _ = manifest.blobs
        except (ValueError, LookupError, TypeError, AttributeError):
            raise RemoteError(f"{reference}: what the registry has there is no manifest of an image") from None
        return manifest

    def digest(self, reference: Reference) -> str | None:
        """The digest of a manifest, or None where there is no such image; one request, and none for the content.

        :raises RemoteError: the registry refuses, or does not answer
        """
        try:
            _, headers = self._ask(reference, lambda repository, name: repository.head_manifest_and_response(name))
        except NotFound:
            return None
        return headers.get("Docker-Content-Digest") or self.manifest(reference).digest

    def instance(self, reference: Reference, architecture: str) -> Manifest:
        """The manifest of one architecture's image, where there may be several.

        :param architecture: Go's name of it
        :raises NotFound: there is no such image, or none of this architecture
        :raises RemoteError: the registry refuses, does not answer, or its answer is not what it says
        """
        manifest = self.manifest(reference)
        if not manifest.is_index:
            return manifest
        for entry in manifest.data.get("manifests", []):
            if entry.get("platform", {}).get("architecture") == architecture:
                return self.manifest(Reference(reference.registry, reference.repository, None, str(entry["digest"])))
        raise NotFound(f"{reference}: there is no image of the architecture {architecture}")

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
        content = self._blob(reference, digest)
        try:
            configuration = json.loads(content)
            return {
                str(name): str(value)
                for name, value in ((configuration.get("config") or {}).get("Labels") or {}).items()
            }
        except (ValueError, AttributeError):
            raise RemoteError(f"{reference}: its configuration is not that of an image") from None

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
        with _errors(host):
            return sorted(self._host(host).list_repos())

    def all_of(self, ask: Callable[[_Asked], _Answer], items: Iterable[_Asked]) -> dict[_Asked, _Answer | RemoteError]:
        """Ask for many things at once, each of them once; what a registry refuses is in the place of its answer."""
        from concurrent.futures import ThreadPoolExecutor

        def one(item: _Asked) -> _Answer | RemoteError:
            try:
                return ask(item)
            except RemoteError as error:
                return error

        wanted = list(dict.fromkeys(items))
        with ThreadPoolExecutor(self._connections) as pool:
            return dict(zip(wanted, pool.map(one, wanted), strict=True))

    def _blob(self, reference: Reference, digest: str) -> bytes:
        """A small blob, checked against its digest."""

        def read(repository: DXF, _: str) -> bytes:
            content = bytearray()
            for chunk in cast(Iterable[bytes], repository.pull_blob(digest, chunk_size=2**16)):
                content += chunk
                if len(content) > _LARGEST:
                    raise RemoteError(f"{reference}: its configuration is larger than {_LARGEST >> 20} MiB")
            return bytes(content)

        blob: bytes = self._ask(reference, read)
        return blob

    def _ask(self, reference: Reference, ask: Callable[[DXF, str], Any]) -> Any:
        """One request about an image; a connection that breaks while the answer is read is tried again."""
        import requests

        full = reference.normalised()
        for left in reversed(range(_RETRIES)):
            with _errors(str(reference)):
                try:
                    answer = ask(self._repository(full), full.digest or full.tag or "latest")
                    return _content_and_headers(answer) if isinstance(answer, tuple) else answer
                except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
                    if not left:
                        raise
        raise AssertionError("the last attempt returns or raises")

    def _repository(self, reference: Reference) -> DXF:
        from dxf import DXF

        assert reference.registry is not None
        key = (reference.registry, reference.repository)
        base = self._host(reference.registry)
        with self._lock:
            if key not in self._repositories:
                self._repositories[key] = _in_repository(DXF.from_base(base, reference.repository), self._access, *key)
            return self._repositories[key]

    def _host(self, host: str) -> DXFBase:
        with self._lock:
            if host not in self._hosts:
                self._hosts[host] = self._connect(host)
            return self._hosts[host]

    def _connect(self, host: str) -> DXFBase:
        from dxf import DXFBase

        bundle = self._stack.enter_context(trusted(self._access, host))
        session = self._stack.enter_context(_session(self._connections))
        if insecure := host in self._access.insecure:
            _silence_warnings()
        plain = insecure and not _speaks_tls(host)
        verify: bool | str = False if insecure else str(bundle) if bundle else True
        name = _HUB_HOST if host == DOCKER_HUB else host
        base = DXFBase(name, _authenticator(self._access, host), insecure=plain, tlsverify=verify, timeout=_TIMEOUT)
        # dxf makes a session of its own that knows no retries, and has no way to be given one.
        base._sessions = [session]
        return base


def _in_repository(repository: DXF, access: Access, host: str, name: str) -> DXF:
    repository._auth = _authenticator(access, host, name)
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


def _session(connections: int) -> requests.Session:
    """Connections that are kept, and requests that are repeated with back-off, as the registry asks for it."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import Retry

    retry = Retry(
        total=_RETRIES,
        connect=2,
        other=0,  # certificates
        backoff_factor=0.5,
        backoff_jitter=0.2,
        status_forcelist=_RETRIED,
        raise_on_status=False,
        retry_after_max=_LONGEST_WAIT,
    )
    session = requests.Session()
    session.auth = lambda request: request  # requests would put what ~/.netrc has in the place of a token
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_connections=8, pool_maxsize=connections, max_retries=retry))
    return session


def _silence_warnings() -> None:
    """The user knows what urllib3 would say of each request without a known certificate."""
    import urllib3

    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


def _speaks_tls(host: str) -> bool:
    """Whether a registry that needs no TLS has it."""
    import requests

    # The user said that nobody can vouch for it; nothing secret is sent, and nothing is tried twice.
    with requests.Session() as session:
        try:
            session.get(f"https://{host}/v2/", timeout=_TIMEOUT, verify=False).close()
        except requests.RequestException:
            return False
    return True


def _authenticator(access: Access, host: str, repository: str = "") -> Callable[[DXFBase, requests.Response], None]:
    """Answers a registry's 401: with Basic credentials, or with a token of its token server."""

    def authenticate(asking: DXFBase, response: requests.Response) -> None:
        credentials = access.credentials_for(host, repository)
        basic = response.headers.get("WWW-Authenticate", "").lower().startswith("basic")
        if asking._insecure and basic and credentials:
            # dxf sends credentials through TLS only; that this registry has none is what the user said.
            asking._headers = {"Authorization": f"Basic {credentials.basic}"}
            return
        if credentials:
            asking.authenticate(credentials.user, credentials.password, response=response)
        else:
            asking.authenticate(response=response)

    return authenticate


@contextmanager
def _errors(what: str) -> Iterator[None]:
    """Whatever goes wrong between here and a registry, as a message that names the image, and no credentials."""
    import requests
    from dxf import exceptions

    try:
        yield
    except exceptions.DXFUnauthorizedError:
        raise RemoteError(
            f"{what}: the registry wants other credentials",
            "log in with 'skopeo login', or check the credentials given",
        ) from None
    except exceptions.DXFAuthInsecureError:
        raise RemoteError(f"{what}: the registry asks for a token, but has no TLS to protect it") from None
    except exceptions.DXFDigestMismatchError:
        raise RemoteError(f"{what}: the registry's content does not have the digest that it is stored under") from None
    except requests.HTTPError as error:
        raise _refusal(what, error.response.status_code) from None
    except requests.exceptions.SSLError:
        raise RemoteError(
            f"{what}: the registry's certificate is not accepted, or it does not speak TLS",
            "name its CA certificate, or name it as an insecure registry",
        ) from None
    except requests.Timeout:
        raise RemoteError(f"{what}: the registry does not answer in time") from None
    except requests.exceptions.ProxyError:
        raise RemoteError(f"{what}: the proxy does not let us through") from None
    except requests.ConnectionError:
        raise RemoteError(f"{what}: the registry cannot be reached, or breaks the connection off") from None
    except (requests.RequestException, exceptions.DXFError, ValueError, LookupError) as error:
        raise RemoteError(f"{what}: the registry's answer makes no sense ({type(error).__name__})") from None


def _refusal(what: str, status: int) -> RemoteError:
    match status:
        case 404:
            return NotFound(f"{what}: the registry has no such image", "check the name and the tag")
        case 403:
            return RemoteError(f"{what}: the registry does not allow it", "check what the credentials allow")
        case 429:
            return RemoteError(f"{what}: the registry wants fewer requests (status 429)", "log in, or try again later")
        case _:
            return RemoteError(f"{what}: the registry answers with status {status}")
