"""The remote inputs of an image: what a build fetches, and the state that it is in now.

``resolve`` is asked by the build, never by ``plan``. It asks everything at once, with short
patience. What cannot be known is an input all the same, without a value: it says why, and is
trusted for as long as ``--max-age`` says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from diskimage_create.model import ImageSpec, RemoteInput, ResolvedElement
from diskimage_create.remote import archives, downloads, effective, fetch, repositories
from diskimage_create.remote.archives import Archive
from diskimage_create.remote.fetch import Missing, Unanswered
from diskimage_create.remote.repositories import Repository

#: Questions that wait for an answer at the same time
_AT_ONCE = 12


@dataclass(frozen=True)
class _Question:
    """A remote input whose state is not known yet."""

    name: str
    phase: str
    detail: str
    ask: Callable[[], str]
    """The state; raises Unanswered"""

    def answer(self, name: str) -> RemoteInput:
        try:
            return RemoteInput(name, self.phase, self.ask(), self.detail)
        except Unanswered as reason:
            return RemoteInput(name, self.phase, None, f"{self.detail}: {reason}")


def resolve(
    environment: Mapping[str, str], elements: Sequence[ResolvedElement], spec: ImageSpec, cache: Path
) -> tuple[RemoteInput, ...]:
    """The state of everything remote that the image will be made of, by name. Nothing here fails a build.

    :param environment: the plan's, with the values that are secret
    :param elements: the closure of the image's elements
    :param cache: the cache directory: what servers said is kept in its ``remote/``
    """
    known = effective.read(environment, elements, spec)
    if known.problem:
        # Where anything comes from is said there.
        return (RemoteInput("environment of the elements", "root", None, known.problem),)
    questions = list(_questions(known.variables, elements, spec, cache))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        asked = [
            pool.submit(question.answer, name) for name, question in zip(_names(questions), questions, strict=True)
        ]
        return tuple(sorted((future.result() for future in asked), key=lambda answered: answered.name))


def _names(questions: Sequence[_Question]) -> Iterator[str]:
    """The questions' names, with a number where one comes again."""
    seen: Counter[str] = Counter()
    for question in questions:
        seen[question.name] += 1
        yield question.name if seen[question.name] == 1 else f"{question.name} ({seen[question.name]})"


def _questions(
    variables: Mapping[str, str], elements: Sequence[ResolvedElement], spec: ImageSpec, cache: Path
) -> Iterator[_Question]:
    names = {element.name for element in elements}
    suites = archives.find(variables, names)
    for archive in suites:
        ask = partial(_release, archive, variables, cache)
        yield _Question(f"apt {archive.title}", archive.phase, "the suite's Release file", ask)
    if not suites:
        reason = "dnf repositories are not asked" if spec.family == "redhat" else "no element says where they are from"
        yield _unknown(f"packages of {spec.distribution} {spec.release}", "root", "the distribution's packages", reason)
    if "ubuntu" in names and not variables.get("DIB_LOCAL_IMAGE"):
        ask = partial(fetch.digest, _cloud_image_sums(variables), variables, cache)
        yield _Question(f"base image ubuntu {spec.release}", "root", "the checksums of the cloud images", ask)
    for repository in repositories.find(variables, elements):
        yield _of_repository(repository, variables, cache)
    for found in downloads.find(variables, elements):
        name = f"downloads of element {found.element}: {found.hook}"
        yield _unknown(name, found.phase, "a hook", f"what it gets with {found.command} is not pinned")


def _unknown(name: str, phase: str, detail: str, reason: str) -> _Question:
    def ask() -> str:
        raise Unanswered(reason)

    return _Question(name, phase, detail, ask)


def _release(archive: Archive, variables: Mapping[str, str], cache: Path) -> str:
    """The digest of a suite's signed list of everything in it."""
    try:
        return fetch.digest(f"{archive.base}/InRelease", variables, cache)
    except Missing:
        return fetch.digest(f"{archive.base}/Release", variables, cache)


def _cloud_image_sums(variables: Mapping[str, str]) -> str:
    """Where Ubuntu's list of its images is (ubuntu's root.d/10-cache-ubuntu-tarball)."""
    release = variables.get("DIB_RELEASE") or "noble"
    images = variables.get("DIB_CLOUD_IMAGES") or f"https://cloud-images.ubuntu.com/{release}/current"
    return variables.get("SHA256SUMS") or f"{images}/SHA256SUMS"


def _of_repository(repository: Repository, variables: Mapping[str, str], cache: Path) -> _Question:
    """extra-data.d runs after root.d: what it fetches is in the second stage."""
    name, phase = f"{repository.type} {repository.name}", "pre-install"
    if repository.problem:
        return _unknown(name, phase, "a list of source repositories", repository.problem)
    if repository.type == "git":
        what = "HEAD" if repository.ref == "*" else repository.ref
        return _Question(name, phase, f"a git repository, {what}", partial(repositories.head, repository, variables))
    if repository.type in ("file", "tar"):
        ask = partial(fetch.digest, repository.location, variables, cache)
        return _Question(name, phase, {"file": "a file", "tar": "a tarball"}[repository.type], ask)
    return _unknown(name, phase, "a source repository", "diskimage-builder does not know its type")
