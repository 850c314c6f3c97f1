"""The checks, one module for each part of an image. Importing this registers them all."""

from __future__ import annotations

# The order of the report: from the disk to the files in it.
from diskimage_create.validate.checks import access as access  # isort: skip
from diskimage_create.validate.checks import disk as disk  # isort: skip
from diskimage_create.validate.checks import upload as upload  # isort: skip
from diskimage_create.validate.checks import system as system  # isort: skip
from diskimage_create.validate.checks import boot as boot  # isort: skip
from diskimage_create.validate.checks import efi as efi  # isort: skip
from diskimage_create.validate.checks import ramdisk as ramdisk  # isort: skip
from diskimage_create.validate.checks import services as services  # isort: skip
from diskimage_create.validate.checks import agent as agent  # isort: skip
from diskimage_create.validate.checks import instance as instance  # isort: skip
from diskimage_create.validate.checks import identity as identity  # isort: skip
from diskimage_create.validate.checks import logins as logins  # isort: skip
from diskimage_create.validate.checks import permissions as permissions  # isort: skip
from diskimage_create.validate.checks import credentials as credentials  # isort: skip
from diskimage_create.validate.checks import trust as trust  # isort: skip
from diskimage_create.validate.checks import leftovers as leftovers  # isort: skip
from diskimage_create.validate.checks import content as content  # isort: skip
from diskimage_create.validate.checks import suites as suites  # isort: skip
