"""A server that issues tokens for a registry: the distribution project's token authentication, with a JWT."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import requests

from registry_servers import Tls

SERVICE, ISSUER = "a registry of a test", "a test"


@dataclass
class TokenServer:
    """A token server that runs."""

    tls: Tls
    user: str
    password: str
    host: str = ""
    scopes: list[str] = field(default_factory=list)
    """What tokens were asked for, with the right password"""

    @property
    def settings(self) -> dict[str, Any]:
        """``auth`` of a registry that wants its tokens."""
        bundle = str(self.tls.ca)
        realm = f"https://{self.host}/token"
        return {"token": {"realm": realm, "service": SERVICE, "issuer": ISSUER, "rootcertbundle": bundle}}

    def authorised(self, header: str) -> bool:
        """Whether a request has the user's name and password."""
        return header == "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def token(self, scopes: list[str]) -> str:
        """A token that allows all that is asked for."""
        self.scopes += scopes
        access = []
        for scope in " ".join(scopes).split():
            kind, _, rest = scope.partition(":")
            name, _, actions = rest.rpartition(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": self.user, "aud": SERVICE, "iat": now, "nbf": now - 60, "exp": now + 300}
        leaf = self.tls.certificate.read_text().split("-----END CERTIFICATE-----")[0].split("-----")[-1]
        headers = {"x5c": ["".join(leaf.split())]}
        content = {**claims, "jti": str(len(self.scopes)), "access": access}
        return jwt.encode(content, self.tls.key.read_text(), algorithm="RS256", headers=headers)

    def session_auth(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """For a test's own requests: a token for the repository that they are about."""
        path = urlsplit(request.url or "").path.removeprefix("/v2/")
        name = path.partition("/blobs/")[0].partition("/manifests/")[0]
        if name:
            request.headers["Authorization"] = f"Bearer {self.token([f'repository:{name}:pull,push'])}"
        return request


@contextmanager
def token_server(tls: Tls, user: str, password: str) -> Iterator[TokenServer]:
    """A token server with TLS, that knows one user."""
    state = TokenServer(tls, user, password)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

        def do_GET(self) -> None:
            allowed = state.authorised(self.headers.get("Authorization", ""))
            scopes = parse_qs(urlsplit(self.path).query).get("scope", [])
            content = json.dumps({"token": state.token(scopes)} if allowed else {"details": "no"}).encode()
            self.send_response_only(200 if allowed else 401)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tls.certificate, tls.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
        state.host = f"127.0.0.1:{listening.server_address[1]}"
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield state
        finally:
            listening.shutdown()
            thread.join()
