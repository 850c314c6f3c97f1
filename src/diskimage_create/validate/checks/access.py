"""The check of how the image was looked into."""

from __future__ import annotations

from diskimage_create.model import Expectation, Severity
from diskimage_create.validate.registry import Outcome, check, verdict
from diskimage_create.validate.view import ImageView


@check("image-access", "The image could be looked into", severity=Severity.WARNING)
def image_access(view: ImageView, expectation: Expectation) -> Outcome:
    """Nothing on this host, and nothing in the image, made the look into it slower or less complete than usual.

    It is so where what is usually used is missing on this host, and something slower had to do, and where the root
    file system is on something that this host cannot look into, such as a logical volume without libguestfs. Checks of
    what could not be seen are skipped, and say so. The image itself may be all right: install what the message names,
    and validate it again. Of a good outcome, the message says how the image was looked into where that was not by root:
    through FUSE, or through libguestfs (docs/validation.md, Backends); every check sees the same.
    """
    return verdict(view.notes, view.access or view.kind)
