"""What is known of an image before it is copied or changed; no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from diskimage_create.references import Reference


@dataclass(frozen=True)
class Modification:
    """What is done to an image on its way to its destination."""

    role: str
    """``tripleo-modify-image``, or another Ansible role"""
    variables: Mapping[str, Any] = field(default_factory=dict)
    """``modify_vars``, ``tasks_from`` among them"""
    append_tag: str = ""
    """Comes after the tag of the source; strftime has been applied"""
    only_with_labels: tuple[str, ...] = ()
    only_with_source: tuple[str, ...] = ()


@dataclass(frozen=True)
class PreparedImage:
    """One image of a deployment."""

    name: str
    """Its name in the table of images, for messages"""
    source: Reference
    """With the tag that was discovered"""
    destination: Reference
    """What nodes pull: the source itself where nothing is pushed; with the appended tag where it is modified"""
    parameters: tuple[str, ...] = ()
    modification: Modification | None = None
    multi_arch: bool = False
    pushed: bool = True
    """Whether it is brought to its destination; otherwise nodes pull it from where it is"""
