"""The command line of disk-image-create: what its options mean here, and the one that an image asks for.

Source: ``diskimage_builder/lib/disk-image-create``, and its documentation for the two options that its parser forgot.
"""

from __future__ import annotations

import getopt
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_SHORT = "a:ho:t:xucnp:"
_LONG = (
    *("checksum", "no-tmpfs", "offline", "help", "version", "min-tmpfs=", "image-size=", "image-cache="),
    *("max-online-resize=", "mkfs-options=", "qemu-img-options=", "ramdisk-element=", "root-label=", "install-type="),
    *("docker-target=", "logfile=", "image-extra-size=", "mkfs-journal-size="),
)
#: Options that only set a variable, which we can set as well
_VARIABLES: Mapping[str, str] = {
    "--min-tmpfs": "DIB_MIN_TMPFS",
    "--max-online-resize": "MAX_ONLINE_RESIZE",
    "--root-label": "ROOT_LABEL",
    "--ramdisk-element": "RAMDISK_ELEMENT",
    "--install-type": "DIB_DEFAULT_INSTALLTYPE",
    "--mkfs-journal-size": "DIB_JOURNAL_SIZE",
}
#: Options that are options of ours
_SETTINGS: Mapping[str, str] = {
    "--image-size": "size",
    "--docker-target": "docker_target",
    "--mkfs-options": "mkfs_options",
    "--qemu-img-options": "qemu_img_options",
}
_FLAGS: Mapping[str, str] = {"-u": "uncompressed", "-n": "skip_base", "--no-tmpfs": "no_tmpfs"}
#: Options for which there is another place
_REFUSED: Mapping[str, str] = {
    "-a": "use the key arch",
    "-o": "use the key imagename",
    "-t": "use the key type",
    "-h": "leave it out",
    "--help": "leave it out",
    "--version": "leave it out",
    "--image-cache": "use --cache-dir",
    "--logfile": "the log lies beside the image; leave it out",
    "--offline": "use --offline on the command line",
}
#: A build has an environment of its own always, and a finished image its checksum.
_IMPLIED = frozenset({"-c", "--checksum"})


@dataclass
class Arguments:
    """What options of disk-image-create ask for, in our terms."""

    settings: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    packages: list[str] = field(default_factory=list)
    problems: list[tuple[str, str | None]] = field(default_factory=list)
    """Messages, with hints"""


def parse(options: Iterable[str]) -> Arguments:
    """Understand options, each of which is split as a shell would."""
    found = Arguments()
    words: list[str] = []
    for option in options:
        try:
            words += shlex.split(option)
        except ValueError as error:
            found.problems.append((f"option {option!r} cannot be split: {str(error).lower()}", "check its quotes"))
    try:
        pairs, rest = getopt.gnu_getopt(words, _SHORT, _LONG)
    except getopt.GetoptError as error:
        hint = "disk-image-create --help lists them"
        found.problems.append((f"disk-image-create has no such option: {error.msg}", hint))
        return found
    for option, value in pairs:
        _take(option, value, found)
    if rest:
        found.problems.append((f"{' '.join(rest)}: no option", "elements have a key of their own"))
    return found


def _take(option: str, value: str, found: Arguments) -> None:
    if option in _VARIABLES:
        found.environment[_VARIABLES[option]] = value
    elif option in _SETTINGS:
        found.settings[_SETTINGS[option]] = value
    elif option in _FLAGS:
        found.settings[_FLAGS[option]] = True
    elif option == "-x":
        found.settings["trace"] = found.settings.get("trace", 0) + 1
    elif option == "-p":
        found.packages += [name for name in value.split(",") if name]
    elif option == "--image-extra-size":
        # Documented in GB; the variable is in MiB.
        found.environment["DIB_IMAGE_EXTRA_SIZE"] = (
            str(int(value) * 1024) if re.fullmatch("[0-9]{1,6}", value) else value
        )
    elif option in _REFUSED:
        found.problems.append((f"{option} cannot be among the options", _REFUSED[option]))
    else:
        assert option in _IMPLIED, option


def command_line(
    *,
    arch: str,
    output: str,
    image_type: str,
    packages: Sequence[str],
    options: Iterable[str],
    skip_base: bool,
    docker_target: str | None,
    elements: Sequence[str],
) -> list[str]:
    """The call of disk-image-create that TripleO's tools make of an image (tripleo-common, image/builder.py)."""
    command = ["disk-image-create", "-a", arch, "-o", output, "-t", image_type]
    if packages:
        command += ["-p", ",".join(packages)]
    command += [word for option in options for word in shlex.split(option)]
    if skip_base:
        command.append("-n")
    if docker_target:
        command += ["--docker-target", docker_target]
    return [*command, *elements]
