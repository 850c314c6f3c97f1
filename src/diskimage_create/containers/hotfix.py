"""Hotfixes: files of packages in a new layer of images on this host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from diskimage_create.containers.buildah import Buildah, host_storage
from diskimage_create.containers.modify import packages, tasks
from diskimage_create.containers.modify.variables import PACKAGES, wrong_with_append_tag
from diskimage_create.errors import BuildError, DiskImageError, InputError, Problem
from diskimage_create.references import InvalidReference, Reference, parse
from diskimage_create.registries import NotFound, Registries

#: The registry of images that are nowhere but on this host
_LOCAL = "localhost"


@dataclass(frozen=True)
class Hotfix:
    """An image, and the name of the one that is made of it."""

    image: Reference
    made: Reference


def plan(images: Sequence[str], paths: Mapping[str, str], tag: str) -> list[Hotfix]:
    """What would be made; nothing is run, and no image is looked at.

    :param images: their full names
    :param paths: directories of packages: ``rpms_path``, ``debs_path``
    :param tag: comes after the tag of each, with a hyphen in between
    :raises InputError: everything that is wrong with it
    """
    append = tag if tag.startswith(("-", "_", ".")) else f"-{tag}"
    found = list(wrong_with_append_tag(append, "--tag"))
    for name, directory in paths.items():
        found += [(f"--{name.replace('_', '-')} {what}", hint) for what, hint in PACKAGES[name](directory)]
    if not paths:
        found.append(("there are no packages to install", "--rpms-path DIR or --debs-path DIR"))
    wrong = [Problem(message, None, hint) for message, hint in found]
    planned = []
    for text in dict.fromkeys(images):
        try:
            planned.append(_one(parse(text), append))
        except InvalidReference as error:
            wrong.append(Problem(f"{text}: {error}", "--image", "name it in full, e.g. localhost/image/name:tag"))
    if wrong:
        raise InputError(wrong)
    return planned


def _one(image: Reference, append: str) -> Hotfix:
    if image.digest:
        raise InvalidReference("it has a digest, and what is made of it would need a tag")
    full = image.normalised().tagged(image.tag or "latest")
    return Hotfix(full, full.tagged(f"{full.tag}{append}"))


def apply(
    planned: Sequence[Hotfix],
    paths: Mapping[str, str],
    registries: Registries,
    tell: Callable[[str], None],
) -> Iterator[Reference]:
    """Make the images, in the storage of this host's container tools; the name of each, as soon as it is there.

    :param tell: gets a line for each step
    :raises InputError: images that are neither here nor in their registries: all of them, before anything is made
    :raises BuildError: some could not be made; the others are
    """
    with host_storage(registries.access) as buildah:
        bases = _bases(planned, buildah, registries, tell)
        failed = []
        for hotfix in planned:
            tell(f"{hotfix.image}: installing the packages")
            try:
                _make(hotfix, bases[hotfix], paths, buildah)
            except DiskImageError as error:
                failed.append(f"{hotfix.image}: {error.message}")
            else:
                yield hotfix.made
    if failed:
        raise BuildError("\n".join(failed), "nothing is left of an image that could not be made")


def _bases(
    planned: Sequence[Hotfix], buildah: Buildah, registries: Registries, tell: Callable[[str], None]
) -> dict[Hotfix, str]:
    """The ids of the images in the storage; those that are not there are fetched, when all are known to exist."""
    here = {hotfix: buildah.id_of(str(hotfix.image)) for hotfix in planned}
    missing = [hotfix for hotfix, identity in here.items() if identity is None]
    asked = [hotfix.image for hotfix in missing if hotfix.image.registry != _LOCAL]
    answers = registries.all_of(registries.manifest, asked)
    for answer in answers.values():
        if isinstance(answer, DiskImageError) and not isinstance(answer, NotFound):
            raise answer
    nowhere = [hotfix.image for hotfix in missing if isinstance(answers.get(hotfix.image, NotFound("")), NotFound)]
    if nowhere:
        hint = "'buildah images' shows what is here"
        wrong = [f"there is no image {image}, here or in its registry" for image in nowhere]
        raise InputError([Problem(message, "--image", hint) for message in wrong])
    for hotfix in missing:
        tell(f"{hotfix.image}: fetching it")
        with tasks.step(f"{hotfix.image}: fetching it"):
            here[hotfix] = buildah.pull(hotfix.image)
    return {hotfix: identity for hotfix, identity in here.items() if identity}


def _make(hotfix: Hotfix, base: str, paths: Mapping[str, str], buildah: Buildah) -> None:
    before = buildah.id_of(str(hotfix.made))
    with buildah.container(base) as container:
        kind, files, _ = tasks.install(container, paths)
        labels = {"modified_append_tag": str(hotfix.made.tag).removeprefix(str(hotfix.image.tag))}
        with tasks.step("making the image"):
            made = container.commit(str(hotfix.made), labels, "diskimage-create hotfix")
    try:
        with buildah.container(made) as container:
            tasks.check_installed(container, kind, packages.lend(container, files))
    except BaseException:
        buildah.remove(str(hotfix.made))
        if before:
            buildah.tag(before, str(hotfix.made))
        raise
    if before:
        buildah.remove(before)
