"""Checks of what Glance and Nova see before anything of an image runs: the format of the file, and its tables."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path

from diskimage_create.model import EXTENSIONS, Expectation
from diskimage_create.validate.formats import gpt
from diskimage_create.validate.record import recorded_artifact
from diskimage_create.validate.registry import Outcome, check, skipped, verdict
from diskimage_create.validate.view import ImageView

#: What a file of each type is detected as: a disk is told by its partition table, one without by nothing
_DETECTED = {"qcow2": ("qcow2",), "vhd": ("vhd",), "raw": ("gpt", "raw")}

#: All that is looked at: the formats have their headers here, but for those that no image may have
_INSPECTED = 2**21

#: What QEMU takes for a VMDK descriptor, whatever comes behind it (block/vmdk.c, vmdk_probe); the inspector does not
_DESCRIPTOR = re.compile(rb"(?:#[^\n]*\n| *\r?\n)*version=[123]\r?\n")

_EXTENSIONS = {extension: kind for kind, extension in EXTENSIONS.items()} | {".vpc": "vhd"}


@check("upload-format", "Glance and Nova take the image for what it is")
def upload_format(view: ImageView, expectation: Expectation) -> Outcome:
    """The file passes the format inspection of oslo.utils, as Glance and Nova do it on uploading and starting.

    They tell the format by the content, and refuse an image that is another one than it was
    said to be, that could be two, that reads other files, or that has features they do not
    know. The disk inside is inspected too: Nova may convert the image to a raw one first, and
    Cinder does. The name's ending and the record must say the same format. A VHD has to be a
    dynamic one: the other kind has its header at the end only, and is taken for a raw disk.
    """
    if view.kind not in _DETECTED:
        return skipped(f"a {view.kind} file is no disk image")
    recorded = (recorded_artifact(view.path) or {}).get("type")
    said = {"its name": _EXTENSIONS.get(view.path.suffix), "the record": recorded}
    said = {by: kind for by, kind in said.items() if kind not in (None, view.kind)}
    problems = [f"it is {view.kind}, but {by} says {kind}" for by, kind in said.items()]
    problems += inspect(view.path, _DETECTED[view.kind])
    if view.kind != "raw":
        problems += [f"the disk in it: {problem}" for problem in inspect(view.raw, _DETECTED["raw"])]
    return verdict(problems, view.kind)


def inspect(path: Path, wanted: tuple[str, ...]) -> list[str]:
    """Why Glance or Nova would refuse a file.

    :param wanted: what it may be, in the words of the inspector
    """
    from oslo_utils.imageutils import format_inspector  # a fifth of a second

    # It says what it finds in its log as well.
    logging.getLogger(format_inspector.__name__).addHandler(logging.NullHandler())
    with path.open("rb") as file:
        start = file.read(_INSPECTED)
    if "raw" in wanted and _DESCRIPTOR.match(start):
        return ["QEMU takes it for the descriptor of a VMDK, which names files of the host"]
    wrapper = format_inspector.InspectWrapper(io.BytesIO(start))
    while wrapper.read(2**16):
        pass
    wrapper.close()
    try:
        found = wrapper.format
        if found is None or str(found) not in wanted:
            return [f"{found} is detected instead of {' or '.join(wanted)}"]
        found.safety_check()
    except format_inspector.SafetyCheckFailed as error:
        return [str(failure) for failure in error.failures.values()]
    except format_inspector.ImageFormatError as error:
        return [str(error)]
    return []


@check("gpt-headers", "Both copies of the GPT are whole, and where they belong")
def gpt_headers(view: ImageView, expectation: Expectation) -> Outcome:
    """The GPT at the beginning of the disk and its backup at the very end have right checksums and agree.

    A disk that was cut off or grown after partitioning has its backup somewhere else, or
    none: firmware and partitioning tools then repair it, refuse it, or take the wrong one.
    ``sgdisk --move-second-header`` puts it to the end. A GPT that no protective MBR announces
    is none to most programs, while others see one.
    """
    disk = view.disk
    with view.raw.open("rb") as file:
        announced = gpt.announces_gpt(file.read(gpt.SECTOR))
        present = gpt.read_header(file, 1) is not None
        if not announced and not present:
            return skipped(f"the partition table is {disk.table or 'none'}, not GPT")
        problems = [] if announced else ["no protective MBR announces the GPT"]
        problems += gpt.table_problems(file, disk.virtual_size)
    return verdict(problems, "2 copies")
