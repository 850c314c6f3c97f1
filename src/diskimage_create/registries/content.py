"""The content of one image, from one repository to another: by tag, or by digest without any."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from diskimage_create import process
from diskimage_create.references import Reference
from diskimage_create.registries.access import Access


def copy(
    source: Reference,
    destination: Reference,
    access: Access,
    auth: Path,
    environment: Mapping[str, str],
    all_architectures: bool = False,
) -> None:
    """Copy an image with its digest; blobs that the destination has are not sent. Neither may have tag and digest.

    :param auth: a file with credentials (:func:`access.auth_file`)
    :param all_architectures: of an index, everything; otherwise this host's
    :raises CommandFailed: one of the registries refuses, or fails
    """
    options = ["--preserve-digests", "--authfile", str(auth)]
    for side, reference in (("src", source), ("dest", destination)):
        if reference.normalised().registry in access.insecure:
            options.append(f"--{side}-tls-verify=false")
    if all_architectures:
        options.append("--all")
    places = (f"docker://{reference.normalised()}" for reference in (source, destination))
    process.run(["skopeo", "copy", "--quiet", *options, *places], env=environment)
