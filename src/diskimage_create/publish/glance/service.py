"""The requests to Glance, through openstacksdk: what is sent, and what its refusals mean to a user.

Images are the dictionaries of the Image service's API (v2): openstacksdk's own ``create_image`` may answer with
another image of that name, and its ``update_image`` removes properties that one does not name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from diskimage_create.errors import HostError, InputError, Problem, RemoteError
from diskimage_create.publish.glance.upload import Upload

if TYPE_CHECKING:
    from openstack.connection import Connection

Image = dict[str, Any]
#: A property that an image has as long as a task imports it
_TASK = "os_glance_import_task"
_PATCH = "application/openstack-images-v2.1-json-patch"
#: States of an image whose content is not there yet
UNFINISHED = frozenset({"queued", "saving", "uploading", "importing"})
#: Each pause before Glance is asked again is so much longer than the last: what is waited in vain is a quarter at most
_SLOWER = 1.25
_LONGEST_PAUSE_SECONDS = 5.0
_PATIENCE_SECONDS = 3600.0
#: Errors of a server that may be over soon, and how long to wait for that
_PASSING = frozenset({500, 502, 503, 504})
_PAUSES_SECONDS = (0.2, 1.0, 3.0)
_HINTS = {
    401: "see the cloud's auth in clouds.yaml",
    403: "your roles in this project do not allow it",
    404: "see the cloud's image endpoint in clouds.yaml",
    413: "the project's quota, or Glance's storage, is full",
}


def connect(cloud: str | None) -> Connection:
    """A connection by clouds.yaml, or by the environment's OS_* variables; it asks nobody yet.

    :raises HostError: openstacksdk is not installed
    :raises InputError: there is no such cloud, or what is said of it is incomplete
    """
    try:
        import openstack
        from keystoneauth1.exceptions import ClientException
        from openstack.exceptions import SDKException
    except ImportError:
        raise HostError("openstacksdk is not installed", "pip install 'diskimage-create[glance]'") from None
    try:
        return openstack.connect(cloud=cloud, app_name="diskimage-create")
    except (SDKException, ClientException, ValueError) as error:
        hint = "name a cloud of clouds.yaml with --os-cloud, or set OS_CLOUD"
        raise InputError([Problem(f"no cloud to publish to: {_first_line(error)}", "--os-cloud", hint)]) from None


@dataclass(frozen=True)
class Service:
    """One project's images."""

    connection: Connection

    def ask(self, method: str, path: str, **more: Any) -> Any:
        """Send a request; the answer's JSON, None where it has none. What is not an upload is tried again.

        :raises Missing: there is no such thing
        :raises Refused: it answers with an error
        :raises RemoteError: it does not answer
        """
        for pause in (*_PAUSES_SECONDS, None):
            with translated():
                answer = self.connection.image.request(path, method, raise_exc=False, **more)
            if answer.status_code not in _PASSING or pause is None or "data" in more:
                break
            time.sleep(pause)
        if answer.status_code == 404:
            raise Missing(404, _details(answer))
        if answer.status_code >= 400:
            raise Refused(answer.status_code, _details(answer))
        return answer.json() if answer.content and "json" in answer.headers.get("Content-Type", "") else None

    def images(self, **filters: str) -> list[Image]:
        """This project's images, the newest first; of one second, by identifier."""
        with translated():
            project = self.connection.current_project_id
        query: Mapping[str, str] | None = {"limit": "500", **filters, **({"owner": project} if project else {})}
        found: list[Image] = []
        path = "/images"
        while path:
            page = self.ask("GET", path, params=query)
            found += page["images"]
            path, query = page.get("next", "").removeprefix("/v2"), None
        return sorted(found, key=age, reverse=True)

    def image(self, identifier: str) -> Image:
        """One image.

        :raises Missing: there is none
        """
        found: Image = self.ask("GET", f"/images/{identifier}")
        return found

    def create(self, attributes: Mapping[str, Any]) -> Image:
        """A new image without content."""
        made: Image = self.ask("POST", "/images", json=dict(attributes))
        return made

    def change(self, image: Image, wanted: Mapping[str, Any], obsolete: Sequence[str] = ()) -> Image:
        """Set what differs, and remove what is obsolete; the image as it is then."""
        operations = [
            {"op": "replace" if name in image else "add", "path": f"/{_pointer(name)}", "value": value}
            for name, value in wanted.items()
            if image.get(name) != value
        ]
        operations += [{"op": "remove", "path": f"/{_pointer(name)}"} for name in obsolete if name in image]
        if not operations:
            return image
        headers = {"Content-Type": _PATCH}
        try:
            changed: Image = self.ask("PATCH", f"/images/{image['id']}", json=operations, headers=headers)
        except Refused as error:
            if error.status != 409 or (now := self.image(image["id"])) == image:
                raise
            return self.change(now, wanted, obsolete)  # somebody else has changed it since we looked
        return changed

    def delete(self, image: Image) -> bool:
        """Remove an image; False where it is in use, protected, or not ours to remove. Gone already is as good.

        :raises RemoteError: it fails
        """
        try:
            self.ask("DELETE", f"/images/{image['id']}")
        except Missing:
            pass
        except Refused as error:
            if error.status in (403, 409):
                return False
            raise
        return True

    def offers(self, method: str) -> bool:
        """Whether there is an import method of this name."""
        try:
            found = self.ask("GET", "/info/import")
        except Refused:  # Glance before Queens
            return False
        return method in found["import-methods"]["value"]

    def send(self, image: Image, upload: Upload) -> None:
        """Upload an image's content, and import it where Glance offers that; it is not active when this returns."""
        headers = {"Content-Type": "application/octet-stream"}
        imports = self.offers("glance-direct")
        where = "stage" if imports else "file"
        self.ask("PUT", f"/images/{image['id']}/{where}", data=upload, headers=headers)
        if imports:
            self.ask("POST", f"/images/{image['id']}/import", json={"method": {"name": "glance-direct"}})

    def wait(self, image: Image, pause: Callable[[float], None] = time.sleep) -> Image:
        """The image when it is active.

        :raises RemoteError: it becomes something else, or takes more than an hour
        """
        deadline, seconds = time.monotonic() + _PATIENCE_SECONDS, 0.05
        while time.monotonic() < deadline:
            found = self.image(image["id"])
            if found["status"] == "active" and not is_imported(found):
                return found
            failed = found.get("os_glance_failed_import") and not is_imported(found)
            if failed or found["status"] not in {*UNFINISHED, "active"}:
                raise RemoteError(f"Glance could not import the image: {self._why(found)}")
            pause(seconds)
            seconds = min(_SLOWER * seconds, _LONGEST_PAUSE_SECONDS)
        raise RemoteError(f"the image is not active after an hour, but {found['status']}")

    def _why(self, image: Image) -> str:
        """What its tasks say."""
        try:
            tasks = self.ask("GET", f"/images/{image['id']}/tasks")["tasks"]
        except Refused:
            tasks = []
        messages = [task["message"] for task in tasks if task.get("message")]
        return messages[-1].strip().splitlines()[-1] if messages else f"it is {image['status']}"


class Refused(RemoteError):
    """Glance answered with an error."""

    def __init__(self, status: int, details: str) -> None:
        super().__init__(f"Glance answers {status}: {details}", _HINTS.get(status))
        self.status = status


class Missing(Refused):
    """There is no such thing, or not for us."""


def is_imported(image: Image) -> bool:
    """Whether a task imports the image right now.

    It writes its own state of the image back when it ends, even after the image is active: tags of ours would be lost.
    """
    return bool(_TASK in image or image.get("os_glance_importing_to_stores"))


def age(image: Image) -> tuple[datetime, str]:
    """Images in the order of their making, also those of one second."""
    return moment(image["created_at"]), image["id"]


def moment(text: str) -> datetime:
    """A time as Glance writes it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


@contextmanager
def translated() -> Iterator[None]:
    """What openstacksdk, keystoneauth and requests raise, as our errors."""
    from keystoneauth1.exceptions import ClientException
    from openstack.exceptions import HttpException, SDKException
    from requests import RequestException

    try:
        yield
    except HttpException as error:
        raise Refused(error.status_code or 0, _first_line(error)) from None
    except ClientException as error:
        status = getattr(error, "http_status", None) or 0
        if status:
            raise Refused(status, _first_line(error)) from None
        raise RemoteError(f"the cloud cannot be reached: {_first_line(error)}", "see clouds.yaml") from None
    except (SDKException, RequestException, OSError) as error:
        raise RemoteError(f"the connection to the cloud failed: {_first_line(error)}") from None


def _details(answer: Any) -> str:
    """The reason in an answer, which is HTML or JSON."""
    import html
    import re

    text = re.sub(r"<(title|h1)>.*?</\1>|<[^>]*>", " ", answer.text or "", flags=re.DOTALL)
    return " ".join(html.unescape(text).split())[:300] or str(answer.reason)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _pointer(name: str) -> str:
    """A property's name in a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")
