"""Registries that speak HTTP without TLS."""

from __future__ import annotations

from diskimage_create.registries.access import Access
from diskimage_create.registries.connections import silence_warnings, speaks_tls

#: Seconds
_TIMEOUT = 10.0


def speaks_plain_http(host: str, access: Access) -> bool:
    """Whether a registry has no TLS at all. Nothing secret is sent to find out.

    Never so of one that we have credentials for: somebody on the way could pretend it, to see them.
    """
    if access.credentials_for(host):
        return False
    import requests

    silence_warnings()
    if speaks_tls(host, _TIMEOUT):  # its certificate is checked later
        return False
    with requests.Session() as session:
        session.auth = lambda request: request  # nothing of ~/.netrc
        try:
            answer = session.get(f"http://{host}/v2/", timeout=_TIMEOUT, allow_redirects=False)
        except requests.RequestException:
            return False
        # OCI Distribution Specification 1.1, "Determining Support"
        return answer.status_code in (200, 401)
