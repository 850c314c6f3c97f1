"""Connections to registries: what is tried again, how a 401 is answered, and what goes wrong, in plain words."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from diskimage_create.errors import Interrupted, RemoteError
from diskimage_create.registries.access import Access

if TYPE_CHECKING:
    import requests
    from dxf import DXFBase

#: Seconds to connect, and to wait for more of an answer
TIMEOUT = 30.0
#: Times that a request is made again after 429, 5xx or a broken connection, and the longest wait that a registry
#: may ask for with Retry-After (RFC 9110, 10.2.3), in seconds
RETRIES = 5
_LONGEST_WAIT = 120
_RETRIED = frozenset({429, 500, 502, 503, 504})


class NotFound(RemoteError):
    """The registry has no such image."""


def session(connections: int, stopped: threading.Event) -> requests.Session:
    """Connections that are kept, and requests that are repeated with back-off, as the registry asks for it.

    :param stopped: ends the waiting for another attempt
    """
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import BaseHTTPResponse, Retry

    class Stoppable(Retry):
        def sleep(self, response: BaseHTTPResponse | None = None) -> None:
            asked = self.get_retry_after(response) if response and self.respect_retry_after_header else None
            if stopped.wait(asked or self.get_backoff_time()):
                raise Interrupted("a request to a registry is not tried again")

    retry = Stoppable(
        total=RETRIES,
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


def silence_warnings() -> None:
    """The user knows what urllib3 would say of each request without a known certificate."""
    import urllib3

    urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)


def speaks_tls(host: str, timeout: float = TIMEOUT) -> bool:
    """Whether a registry has TLS, with whatever certificate. Nothing secret is sent to find out.

    :param timeout: seconds to connect, and to wait for an answer
    """
    import requests

    with requests.Session() as session:  # without what is tried again
        session.auth = lambda request: request  # nothing of ~/.netrc: nobody can vouch for who answers
        try:
            session.get(f"https://{host}/v2/", timeout=timeout, verify=False).close()
        except requests.RequestException:
            return False
    return True


def authenticator(access: Access, host: str, repository: str = "") -> Callable[[DXFBase, requests.Response], None]:
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
def errors(what: str) -> Iterator[None]:
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
