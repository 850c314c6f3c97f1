"""What an image should be: from the record of its build, or from what the build left in the image."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diskimage_create.elements import key_user
from diskimage_create.errors import InputError, Problem
from diskimage_create.model import Expectation
from diskimage_create.validate.image import open_image
from diskimage_create.validate.record import read_record
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.view import Damaged, ImageView, Unavailable

_MANIFESTS = "/etc/dib-manifests"

#: Distribution element -> ID in /etc/os-release and package family
DISTRIBUTIONS = {
    "debian": ("debian", "debian"),
    "debian-minimal": ("debian", "debian"),
    "ubuntu": ("ubuntu", "debian"),
    "ubuntu-minimal": ("ubuntu", "debian"),
    "fedora": ("fedora", "redhat"),
    "fedora-container": ("fedora", "redhat"),
    "centos": ("centos", "redhat"),
    "centos-minimal": ("centos", "redhat"),
    "rocky-container": ("rocky", "redhat"),
    "rhel": ("rhel", "redhat"),
}

# Options of disk-image-create that are followed by a value.
_WITH_VALUE = frozenset(
    (
        "-a",
        "-o",
        "-t",
        "-p",
        "--logfile",
        "--image-size",
        "--image-extra-size",
        "--image-cache",
        "--max-online-resize",
        "--min-tmpfs",
        "--mkfs-journal-size",
        "--mkfs-options",
        "--qemu-img-options",
        "--root-label",
        "--ramdisk-element",
        "--install-type",
        "--docker-target",
    )
)


# What the fields of an expectation are in a record; each may be missing.
_TYPES = {
    "arch": str, "distribution": str, "family": str, "release": str, "size_gib": int, "sshd": bool,
    "root_password": bool, "key_user": str,
}  # fmt: skip
_LISTS = ("elements", "packages", "datasources", "password_users", "lent_certificates", "ca_certificates")


def expectation_for(image: Path) -> Expectation:
    """What is known about an image: its record, else what diskimage-builder left inside, else nothing."""
    if (recorded := recorded_expectation(image)) is not None:
        return recorded
    with tempfile.TemporaryDirectory(prefix="diskimage-expect-") as workspace:
        try:
            with open_image(image, workspace=Path(workspace)) as view:
                return expectation_in(view)
        except Damaged:
            return Expectation()


def recorded_expectation(image: Path) -> Expectation | None:
    """The expectation in the record beside the image; None without a record.

    :raises InputError: the record is there, but cannot be understood
    """
    data = (read_record(image) or {}).get("expectation")
    if data is None:
        return None
    try:
        return from_json(data)
    except (TypeError, ValueError, AttributeError) as error:
        where = str(image.with_name(image.name + ".json"))
        raise InputError([Problem(f"the expectation in the record makes no sense: {error}", where=where)]) from None


def expectation_in(view: ImageView) -> Expectation:
    """What the manifests of diskimage-builder in an opened image tell about its build.

    The closure of the elements is not among that: only the checks that belong to an
    element which was named on the command line will apply.
    """
    try:
        root = view.root
        arguments = root.read_text(f"{_MANIFESTS}/dib_arguments")
    except (Unavailable, OSError):  # as of a damaged file system: the checks will say so
        return Expectation()
    if arguments is None:
        return Expectation()
    return from_manifests(arguments, _environment(root))


def from_manifests(arguments: str, environment: Mapping[str, str]) -> Expectation:
    """The expectation that a command line and the ``DIB_*`` variables of a build amount to."""
    options, elements = _split_arguments(arguments)
    distribution = next((DISTRIBUTIONS[name] for name in elements if name in DISTRIBUTIONS), None)
    size = options.get("--image-size", "")
    datasources = environment.get("DIB_CLOUD_INIT_DATASOURCES")
    sshd = environment.get("DIB_OCTAVIA_AMP_USE_SSH") if "amphora-agent" in elements else None
    if "bootstrap" in elements:
        sshd = sshd or environment.get("DIB_BOOTSTRAP_SSH", "True")
    return Expectation(
        arch=options.get("-a"),
        distribution=distribution[0] if distribution else None,
        family=distribution[1] if distribution else None,
        release=environment.get("DIB_RELEASE"),
        size_gib=int(size) if size.isdigit() else None,
        elements=frozenset(elements),
        datasources=tuple(re.split(r"[,\s]+", datasources.strip())) if datasources else None,
        sshd=False if "remove-sshd" in elements else sshd.lower() == "true" if sshd else None,
        root_password="root-passwd" in elements,
        key_user=key_user(elements, environment),
    )


def to_json(expectation: Expectation) -> dict[str, Any]:
    """The expectation for the record; its secrets stay behind."""
    return {
        "arch": expectation.arch,
        "distribution": expectation.distribution,
        "family": expectation.family,
        "release": expectation.release,
        "size_gib": expectation.size_gib,
        "elements": sorted(expectation.elements),
        "packages": list(expectation.packages),
        "datasources": None if expectation.datasources is None else list(expectation.datasources),
        "sshd": expectation.sshd,
        "root_password": expectation.root_password,
        "key_user": expectation.key_user,
        "password_users": list(expectation.password_users),
        "lent_certificates": list(expectation.lent_certificates),
        "ca_certificates": list(expectation.ca_certificates),
    }


def from_json(data: Mapping[str, Any]) -> Expectation:
    """The inverse of :func:`to_json`.

    :raises TypeError: a value is of another type
    """
    _require_types(data)
    datasources = data.get("datasources")
    return Expectation(
        arch=data.get("arch"),
        distribution=data.get("distribution"),
        family=data.get("family"),
        release=data.get("release"),
        size_gib=data.get("size_gib"),
        elements=frozenset(data.get("elements", ())),
        packages=tuple(data.get("packages", ())),
        datasources=None if datasources is None else tuple(datasources),
        sshd=data.get("sshd"),
        root_password=bool(data.get("root_password", False)),
        key_user=data.get("key_user"),
        password_users=tuple(data.get("password_users", ())),
        lent_certificates=tuple(data.get("lent_certificates", ())),
        ca_certificates=tuple(data.get("ca_certificates", ())),
    )


def _require_types(data: Mapping[str, Any]) -> None:
    """A record can be written by anyone, and nobody asks a text for its product with a number of bytes."""
    for name, kind in _TYPES.items():
        if not isinstance(data.get(name), kind | None):
            raise TypeError(f"{name} is no {kind.__name__}")
    for name in _LISTS:
        values = data.get(name) or []
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise TypeError(f"{name} is no list of texts")


def _environment(root: ImageRoot) -> dict[str, str]:
    """The ``declare -x NAME="VALUE"`` lines that bash wrote."""
    text = root.read_text(f"{_MANIFESTS}/dib_environment") or ""
    pairs = re.findall(r'^declare -x (\w+)="((?:[^"\\]|\\.)*)"$', text, re.MULTILINE)
    return {name: re.sub(r"\\(.)", r"\1", value) for name, value in pairs}


def _split_arguments(text: str) -> tuple[dict[str, str], list[str]]:
    """Options with their values, and the elements, of a disk-image-create command line."""
    try:
        words = iter(shlex.split(text))
    except ValueError:
        words = iter(text.split())
    options: dict[str, str] = {}
    elements = []
    for word in words:
        if word in _WITH_VALUE:
            options[word] = next(words, "")
        elif word.startswith("-"):
            name, _, value = word.partition("=")
            options[name] = value
        else:
            elements.append(word)
    return options, elements
