"""Glance's application, with tokens that say who calls: ``PROJECT:ROLE,ROLE``; any other token is refused.

It stands where keystonemiddleware would, which puts the same headers before Glance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from glance.wsgi.api import application as api


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    project, colon, roles = environ.get("HTTP_X_AUTH_TOKEN", "").partition(":")
    if colon:
        environ.update(
            HTTP_X_IDENTITY_STATUS="Confirmed", HTTP_X_PROJECT_ID=project, HTTP_X_USER_ID=project, HTTP_X_ROLES=roles
        )
    answer: Iterable[bytes] = api(environ, start_response)
    return answer
