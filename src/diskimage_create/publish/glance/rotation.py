"""Which image has the tag, and which ones go.

A service such as Octavia takes the newest image with a tag. So a tag is taken from an image only where a newer one
is seen that is active and has it: whatever is killed, and however many publish at once, the newest one keeps it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from diskimage_create.publish.glance import describe
from diskimage_create.publish.glance.service import Image, Missing, Service, age
from diskimage_create.publish.glance.use import users_of

Say = Callable[[str], None]


def take_over(service: Service, image: Image, tags: Sequence[str]) -> Image:
    """Give tags to an image that is active and verified, then take them from older ones.

    :returns: the image that has the tags now: a newer one, where somebody else has published at the same time
    :raises Missing: it was removed: somebody else has published a copy at the same time
    """
    newest = image
    for tag in tags:
        if tag not in image["tags"]:
            service.ask("PUT", f"/images/{image['id']}/tags/{tag}")
        tagged = [other for other in service.images(tag=tag) if _is_of(other, image)]
        active = [other for other in tagged if other["status"] == "active"]
        newest = max([*active, image], key=age)
        for older in sorted(tagged, key=age):
            if age(older) < age(newest):
                _untag(service, older, tag)
    return newest


def _is_of(other: Image, image: Image) -> bool:
    """Whether it competes for a tag: of the same project and architecture, as far as it says which."""
    architecture = other.get("hw_architecture")
    return other["owner"] == image["owner"] and architecture in (None, image.get("hw_architecture"))


def _untag(service: Service, image: Image, tag: str) -> None:
    try:
        service.ask("DELETE", f"/images/{image['id']}/tags/{tag}")
    except Missing:  # somebody else took it, or the image is gone
        pass


def retire(service: Service, image: Image, tags: Sequence[str], keep_last: int | None, say: Say) -> int:
    """Remove older copies of images, and all but so many of this name that we have published. None has a tag.

    :param image: the one that has the tags now
    :returns: how many were removed
    """
    ours = [other for other in named(service, image["name"]) if _is_of(other, image) and other["status"] == "active"]
    older = [other for other in ours if age(other) < age(image) and not set(tags) & set(other["tags"])]
    newest = {other[describe.SHA256]: other["id"] for other in reversed(ours)}
    copies = [other for other in older if newest[other[describe.SHA256]] != other["id"]]
    others = [other for other in older if other not in copies]
    kept = len(others) if keep_last is None else max(0, keep_last - 1)
    return sum(_remove(service, other, say) for other in [*reversed(others[kept:]), *reversed(copies)])


def named(service: Service, name: str) -> list[Image]:
    """Images of a name that we have published, the newest first, whatever their state."""
    return [image for image in service.images(name=name) if describe.SHA256 in image]


def _remove(service: Service, image: Image, say: Say) -> bool:
    if users := users_of(service.connection, image["id"]):
        say(f"Glance: the older image {image['id']} stays: {users}")
        return False
    if service.delete(image):
        return True
    say(f"Glance: the older image {image['id']} stays: it is in use, or protected")
    return False
