"""The source repositories of an image, by the rules of diskimage-builder's element ``source-repositories``.

Source: its ``extra-data.d/98-source-repositories``. Only those are listed that a build fetches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from diskimage_create import process
from diskimage_create.errors import DiskImageError
from diskimage_create.model import ResolvedElement
from diskimage_create.remote import effective
from diskimage_create.remote.fetch import Unanswered

#: NAME TYPE DESTINATION LOCATION [REF]
_LINE = re.compile(r"([^ ]+) (git|tar|file|package) ?(/[^ ]+)? ?([^ ]+)? ?([^ ]*)")
_DEFAULT_REFS = {"git": "master", "tar": "*"}
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
#: Seconds for git to ask a remote for its references
_PATIENCE = 15.0


@dataclass(frozen=True)
class Repository:
    """Something that a build fetches: a git repository, a tarball or a file."""

    name: str
    type: str
    location: str = field(repr=False)
    """May hold credentials"""
    ref: str
    problem: str | None = None
    """Why it cannot be told what it is"""


def find(variables: Mapping[str, str], elements: Sequence[ResolvedElement]) -> list[Repository]:
    """Every repository that a build of these elements fetches.

    :param variables: the effective environment
    """
    if variables.get("NO_SOURCE_REPOSITORIES") or all(element.name != "source-repositories" for element in elements):
        return []
    found: dict[Repository, None] = {}
    for element in sorted(elements, key=lambda element: element.name):
        for path in sorted(element.path.glob("source-repository-*")):
            if path.is_file() and not path.name.endswith("~"):
                found |= dict.fromkeys(_in_file(path, variables))
    return list(found)


def _in_file(path: Path, variables: Mapping[str, str]) -> Iterator[Repository]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            match = _LINE.fullmatch(effective.expand(line, variables))
        except DiskImageError:
            match = None
        if match is None:
            file = path.name.removeprefix("source-repository-")
            yield Repository(file, "source-repository", "", "", "a line of it cannot be read")
        elif repository := _effective(match, variables):
            yield repository


def _effective(match: re.Match[str], variables: Mapping[str, str]) -> Repository | None:
    """The repository of a line after all overrides; None where the build does not fetch it."""
    name, kind, _, location, ref = (text or "" for text in match.groups())
    variable = re.sub(r"[^A-Za-z0-9]", "_", name)

    def override(prefix: str, default: str) -> str:
        return variables.get(f"{prefix}_{variable}") or default

    if override("DIB_INSTALLTYPE", variables.get("DIB_DEFAULT_INSTALLTYPE") or "source") != "source":
        return None
    ref = override("DIB_REPOREF", ref or _DEFAULT_REFS.get(kind, ""))
    kind = override("DIB_REPOTYPE", kind)
    given = override("DIB_REPOLOCATION", "")
    base = variables.get("DIB_GITREPOBASE")
    if kind == "git" and base and not given:
        location = re.sub(r"^[^:]+://[^/]+/(?:~[^/]+)?(.*)$", lambda tail: base + tail[1], location)
    return Repository(name, kind, given or location, ref if kind == "git" else "")


def head(repository: Repository, variables: Mapping[str, str]) -> str:
    """The commit that a git repository's reference names now. Asks the remote for nothing else.

    :raises Unanswered: the remote does not answer, or has no such reference
    """
    if _COMMIT.fullmatch(repository.ref):
        return repository.ref
    wanted = _candidates(repository.ref)
    try:
        command = ["git", "ls-remote", "--", repository.location, *wanted]
        output = process.run(command, env=_environment(variables), timeout=_PATIENCE).stdout
    except DiskImageError:  # git's message quotes the address
        raise Unanswered("git cannot ask it for its references") from None
    commits = {name: commit for commit, _, name in (line.partition("\t") for line in output.splitlines())}
    for name in wanted:
        if name in commits:
            return commits[name]
    raise Unanswered("it has no such branch or tag")


def _candidates(ref: str) -> list[str]:
    """What a reference may mean, the first that exists winning (gitrevisions(7)); a tag means its commit."""
    if ref == "*":
        return ["HEAD"]
    full = [ref, f"refs/{ref}", f"refs/tags/{ref}", f"refs/heads/{ref}"]
    return [name for plain in full for name in (f"{plain}^{{}}", plain)]


def _environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The hooks' environment, in which nobody is asked for a password."""
    environment = {**variables, "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true"}
    environment.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    if bundle := variables.get("DISKIMAGE_CREATE_CA_BUNDLE"):
        environment["GIT_SSL_CAINFO"] = bundle
    return environment
