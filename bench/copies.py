"""The copies that ``copy_images.py`` measures: ``copies.py FROM TO IMAGES JOBS``."""

from __future__ import annotations

import sys

from diskimage_create.progress import transfers
from diskimage_create.references import Reference
from diskimage_create.registries import Access, Registries
from diskimage_create.registries.copying import Copy, copy_all


def main(source: str, destination: str, images: int, jobs: int) -> int:
    """Copy the images of one registry to the other."""
    copies = [
        Copy(Reference(source, f"tripleo/image-{number}", "t"), Reference(destination, f"copy/image-{number}", "t"))
        for number in range(images)
    ]
    access = Access(insecure=frozenset({source, destination}))
    with Registries(access) as registries, transfers(images) as shown:
        results = copy_all(copies, registries, jobs, shown)
    return any(result.digest is None for result in results)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
