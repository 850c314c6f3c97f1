"""Root file systems as container images of docker and podman: ``docker import - NAME:TAG < X.tar``, with labels."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from diskimage_create import process
from diskimage_create.errors import CommandFailed, HostError, RemoteError

#: What a container runs when nobody says something else
COMMAND = ("/bin/sh",)
#: Labels of ours: the file that an image was made of, and the identity of all inputs of its build
SHA256 = "diskimage-create.sha256"
FINGERPRINT = "diskimage-create.fingerprint"
_OCI = "org.opencontainers.image"
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Engine(StrEnum):
    """What keeps container images on a host."""

    DOCKER = "docker"
    PODMAN = "podman"


def labels(record: Mapping[str, Any], created: str, sha256: str | None = None) -> dict[str, str]:
    """What a container image says of itself (OCI Image Specification 1.1, "Pre-Defined Annotation Keys").

    :param record: or as much of it as there is when the image is made
    :param created: when its content was made (RFC 3339)
    :param sha256: of the file, in hex; None where there is none
    """
    image, fingerprint = record["image"], record["fingerprint"]
    said = {
        f"{_OCI}.title": Path(image["output"]).name.partition(".")[0],
        f"{_OCI}.version": f"{image['release']}-{re.sub('[^0-9TZ]', '', created.replace('+00:00', 'Z'))}",
        f"{_OCI}.created": created,
        f"{_OCI}.revision": fingerprint,
        **_sources(record["environment"], record["remote_inputs"]),
        FINGERPRINT: fingerprint,
    }
    if sha256:
        said[SHA256] = sha256
    return said


def _sources(environment: Mapping[str, str], remote_inputs: Mapping[str, str]) -> dict[str, str]:
    """The one git repository that the image was made of, where there is just one."""
    commits = {name.removeprefix("git "): at for name, at in remote_inputs.items() if name.startswith("git ")}
    if len(commits) != 1:
        return {}
    ((name, commit),) = commits.items()
    found = {f"{_OCI}.revision": commit} if _COMMIT.fullmatch(commit) else {}
    location = environment.get(f"DIB_REPOLOCATION_{re.sub('[^A-Za-z0-9]', '_', name)}", "")
    address = urlsplit(location)
    if address.scheme in ("https", "http") and address.hostname:
        host = address.netloc.rpartition("@")[2]  # never with what may stand before it
        found[f"{_OCI}.source"] = urlunsplit((address.scheme, host, address.path, "", ""))
    return found


def import_archive(
    archive: Path,
    target: str,
    said: Mapping[str, str] | None = None,
    architecture: str | None = None,
    engine: Engine = Engine.DOCKER,
) -> str:
    """Import a tar archive, compressed or not, as ``NAME:TAG``; returns the image's id.

    :param said: labels
    :param architecture: Go's name; of this host by default
    :raises RemoteError: the engine refused, or does not run
    :raises HostError: it is not installed
    """
    changes = [f"CMD {json.dumps(COMMAND)}", *(_label(name, text, engine) for name, text in (said or {}).items())]
    options = [option for change in changes for option in ("--change", change)]
    if architecture:
        options += ["--platform", f"linux/{architecture}"] if engine is Engine.DOCKER else ["--arch", architecture]
    quiet = ["--quiet"] if engine is Engine.PODMAN else []
    try:
        # Were it to live on without us, it might give the name to this image after another one got it.
        command: list[str | Path] = [*process.WITH_US, str(engine), "import", *quiet, *options, archive, target]
        return process.run(command).stdout.split()[-1]
    except CommandFailed as error:
        raise _refusal(engine, f"{engine} import to {target} failed", error) from None


def inspect(engine: Engine, target: str) -> Mapping[str, Any] | None:
    """What an engine tells of an image; None where it has none of the name.

    :raises RemoteError: the engine does not run, or does not let us ask
    """
    try:
        found = process.run([str(engine), "image", "inspect", target])
    except CommandFailed as error:
        if re.search(r"no such image|image not known", error.output, re.IGNORECASE):
            return None
        raise _refusal(engine, f"{engine} does not tell about {target}", error) from None
    try:
        (image,) = json.loads(found.stdout)
        assert isinstance(image, dict)
    except (ValueError, AssertionError):
        raise RemoteError(f"{engine} does not tell about {target} in a way that can be understood") from None
    return image


def labels_in(inspected: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels of an image that was inspected."""
    return (inspected.get("Config") or {}).get("Labels") or {}


def require(engine: Engine) -> None:
    """Say so when an engine is not installed.

    :raises HostError: it is not
    """
    if not process.which(str(engine)):
        package = "docker.io (docker-cli)" if engine is Engine.DOCKER else "podman"
        raise HostError(f"{engine} is not installed", f"install the package {package}")


def _label(name: str, text: str, engine: Engine) -> str:
    """An instruction that sets a label. docker reads it as of a Dockerfile; podman takes the text as it is."""
    if engine is Engine.PODMAN:
        return f"LABEL {name}={text}"
    escaped = re.sub(r'(["\\$])', r"\\\1", text)
    return f'LABEL "{name}"="{escaped}"'


def _refusal(engine: Engine, what: str, error: CommandFailed) -> RemoteError:
    hint = {
        Engine.DOCKER: "is the docker daemon running, and may you use it? 'docker version' tells",
        Engine.PODMAN: "'podman info' tells whether it works for you",
    }[engine]
    return RemoteError(f"{what}: {_last_line(error.output.splitlines()) or error.message}", hint)


def _last_line(lines: Sequence[str]) -> str:
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
