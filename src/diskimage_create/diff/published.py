"""Records of published images: what a registry, or a place behind a URL, tells of an image without the image itself."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from diskimage_create import filesystems
from diskimage_create.errors import InputError, Problem, RemoteError
from diskimage_create.references import InvalidReference, Reference
from diskimage_create.references import parse as parse_reference

if TYPE_CHECKING:
    from diskimage_create.registries import Access, Manifest, Registries

_REGISTRY = "oci://"
#: The name of a file in an artifact (OCI Image Specification 1.1, "Pre-Defined Annotation Keys")
_TITLE = "org.opencontainers.image.title"


def is_published(text: str) -> bool:
    """Whether a user names something that is not a file of this host."""
    return "://" in text and not Path(text).exists()


def record_of(text: str, access: Access | None = None) -> bytes | Path:
    """The record of a published image; of one in a directory of this host, which file it is.

    :param text: ``oci://HOST[:PORT]/NAME[:TAG][@DIGEST]``, or the URL of an image or of its record
    :raises InputError: it can be no such place, or there is an image without a record
    :raises HostError: a library is missing
    :raises RemoteError: the place refuses, does not answer, or has no such image
    """
    if text.lower().startswith(_REGISTRY):
        filesystems.refuse_password(text)
        return _from_registry(text, access)
    filesystems.refuse(text)
    return filesystems.local_path(text) or _from_url(text)


def _from_url(text: str) -> bytes:
    filesystems.require(text)
    url = text if text.endswith(".json") else f"{text}.json"
    try:
        with filesystems.opened(url) as (place, path):
            content: bytes = place.cat_file(path)
    except OSError as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else str(error) or type(error).__name__
        raise RemoteError(f"the record {url} cannot be read: {reason}") from None
    return content


def _from_registry(text: str, access: Access | None) -> bytes:
    from diskimage_create.registries import Access, Registries

    try:
        reference = parse_reference(text[len(_REGISTRY) :])
        if reference.registry is None:
            raise InvalidReference("it names no registry: oci://HOST[:PORT]/NAME:TAG")
    except InvalidReference as error:
        raise InputError([Problem(str(error), text)]) from None
    with ExitStack() as stack:
        registries = stack.enter_context(Registries(access or Access()))
        manifest = _single(registries, reference, registries.manifest(reference), text)
        return registries.blob(reference, _record_in(manifest, text))


def _single(registries: Registries, reference: Reference, manifest: Manifest, text: str) -> Manifest:
    """The one image that a manifest leads to.

    :raises InputError: it lists several
    """
    if not manifest.is_index:
        return manifest
    if len(manifest.members) != 1:
        found = ", ".join(f"{_REGISTRY}{reference.name}@{digest} ({arch})" for digest, arch in manifest.members.items())
        raise InputError([Problem("there are images of several architectures", text, f"name one of {found}")])
    (digest,) = manifest.members
    return registries.manifest(Reference(reference.registry, reference.repository, digest=digest))


def _record_in(manifest: Manifest, text: str) -> str:
    """The digest of the record in an artifact: the layer named as the first one, the image, with ``.json`` after it.

    :raises InputError: there is none, as in a container image
    """
    layers = [layer for layer in manifest.data.get("layers", []) if isinstance(layer, dict)]
    by_title = {(layer.get("annotations") or {}).get(_TITLE): str(layer.get("digest")) for layer in layers}
    image = next(iter(by_title), None)
    if image and (digest := by_title.get(f"{image}.json")):
        return digest
    hint = "compare the image's own file or record; 'publish --as artifact' takes the record along"
    raise InputError([Problem("there is no record: it is a container image, or somebody else's artifact", text, hint)])
