"""Whether an image is in use, as far as the cloud tells us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openstack.connection import Connection


@dataclass(frozen=True)
class _Users:
    """Where a service lists what uses images."""

    service: str
    path: str
    key: str
    """Of the list in the answer"""
    filter: str
    everyone: Mapping[str, str]
    """Asks for those of all projects, which is for administrators"""
    what: str


_KNOWN = (
    _Users("load_balancer", "/octavia/amphorae", "amphorae", "image_id", {}, "an amphora of Octavia uses it"),
    _Users("compute", "/servers", "servers", "image", {"all_tenants": "1"}, "a server of Nova uses it"),
)


def users_of(connection: Connection, image: str) -> str:
    """Who uses an image: servers of Nova, amphorae of Octavia; empty where nobody is known to.

    A service that the cloud does not have, or that does not tell us, knows nobody. One that fails may: then the image
    counts as used.
    """
    return next(filter(None, (_ask(connection, users, image) for users in _KNOWN)), "")


def _ask(connection: Connection, users: _Users, image: str) -> str:
    from keystoneauth1.exceptions import CatalogException, ClientException
    from openstack.exceptions import ConfigException, SDKException

    try:
        answer = _get(connection, users, {users.filter: image, **users.everyone})
        if answer.status_code == 403 and users.everyone:
            answer = _get(connection, users, {users.filter: image})
    except (CatalogException, ConfigException):  # there is none, or clouds.yaml says so
        return ""
    except (ClientException, SDKException):
        return f"{users.service} cannot be asked who uses it"
    if answer.status_code >= 500:
        return f"{users.service} cannot tell who uses it (it answers {answer.status_code})"
    return users.what if answer.status_code == 200 and answer.json().get(users.key) else ""


def _get(connection: Connection, users: _Users, query: Mapping[str, str]) -> Any:
    return getattr(connection, users.service).get(users.path, params=dict(query), raise_exc=False)
