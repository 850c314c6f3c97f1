"""The check that runs the checks of elements."""

from __future__ import annotations

from diskimage_create.model import Expectation
from diskimage_create.validate import suites
from diskimage_create.validate.registry import Outcome, check
from diskimage_create.validate.view import ImageView


@check("element-checks", "The checks that elements bring could be run")
def element_checks(view: ImageView, expectation: Expectation) -> Outcome:
    """Elements may bring tests for pytest-testinfra, in their directory ``checks``; each is a check ``ELEMENT/TEST``.

    This one says whether they could be run: it fails when they do not come to an end, and when an element's directory
    has no test that pytest finds. They ask programs of the image, which run in a sandbox that shows them the image
    alone, read-only, without network and capabilities. That takes root, bubblewrap, and an image of the host's
    architecture; where one of these is missing, the checks are skipped.

    A build runs those of all its elements. ``validate`` runs nothing of an image unless it is told to:
    ``--element-checks``, or ``--checks DIRECTORY`` for tests of your own.
    """
    return suites.run(view, expectation)
