"""Values of OpenStack-Helm's chart ``octavia`` that let it use one amphora image."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from diskimage_create.errors import InputError, Problem

#: The element that makes an image an amphora
_AGENT = "amphora-agent"
#: Glance keeps so many characters of a tag
_LONGEST_TAG = 255
#: The identifier of a project: Keystone's own has 32 hexadecimal digits, other drivers' have up to 64 characters
_PROJECT = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


def override(tag: str, owner_id: str, record: Mapping[str, Any] | None = None) -> str:
    """The override with which the chart's workers boot the newest image of that tag and owner.

    The options are Octavia's ``amp_image_tag`` and ``amp_image_owner_id`` of ``[controller_worker]``, which the chart
    takes from ``conf.octavia``. Without an owner, everybody who may upload images to the cloud could offer an amphora.

    :param tag: the tag that the image has in Glance
    :param owner_id: the project that the image belongs to
    :param record: of the image, which a comment then names with what it was made of
    :raises InputError: something cannot be right; with every problem
    """
    problems = [*_problems(tag, owner_id), *(_no_amphora(record) if record else ())]
    if problems:
        raise InputError(problems)
    # In quotes: a project's digits could be read as a number (12e34).
    values = {"amp_image_tag": tag, "amp_image_owner_id": owner_id}
    lines = [f"      {name}: {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
    head = [_comment(record)] if record else []
    return "\n".join([*head, "conf:", "  octavia:", "    controller_worker:", *lines]) + "\n"


def _problems(tag: str, owner_id: str) -> Iterator[Problem]:
    # oslo.config strips spaces, and takes "$" for a reference to another option.
    if not 0 < len(tag) <= _LONGEST_TAG or not tag.isprintable() or "$" in tag or tag != tag.strip():
        hint = f"1 to {_LONGEST_TAG} characters, with no '$', and no space at either end"
        yield Problem(f"{tag!r} cannot be an image's tag", "--tag", hint)
    if not _PROJECT.fullmatch(owner_id):
        hint = "what 'openstack image show IMAGE -f value -c owner' prints"
        yield Problem(f"{owner_id!r} cannot be a project's ID", "--owner-id", hint)


def _no_amphora(record: Mapping[str, Any]) -> Iterator[Problem]:
    if _AGENT not in (element["name"] for element in record["resolved_elements"]):
        yield Problem("the image is no amphora", "--record", f"Octavia boots images with the element {_AGENT}")


def _comment(record: Mapping[str, Any]) -> str:
    image = record["artifacts"][0]
    said = f"{image.get('path')}, sha256 {image.get('sha256')}, made of the inputs {record.get('fingerprint')}"
    return f"# {' '.join(said.split())}"
