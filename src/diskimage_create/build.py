"""Runs disk-image-create in its own namespaces, inside a workspace, and finds the raw image that it made."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

import yaml

from diskimage_create import process
from diskimage_create.errors import BuildError, HostError, InputError, Problem
from diskimage_create.host import HostFacts
from diskimage_create.model import EXTENSIONS, BuildPlan, ImageSpec
from diskimage_create.mounts import afterwards
from diskimage_create.plan import uses_foreign_root_password
from diskimage_create.progress import Tracker
from diskimage_create.remote.effective import INHERITED
from diskimage_create.workspace import Workspace

#: The password of an address, or the token that stands in its place
_CREDENTIALS = re.compile(r"://(?:[^/@\s:]*:)?([^/\s]+)@")


def run_build(
    plan: BuildPlan,
    work: Workspace,
    tracker: Tracker,
    log: TextIO,
    variables: Mapping[str, str],
    listen: Callable[[str], None],
) -> Path:
    """Run disk-image-create; returns the raw image, or the ramdisk, beside which its kernel lies.

    :param log: gets every line, with the time, without secrets
    :param variables: set for this run besides the plan's
    :param listen: gets every line, as soon as it is there
    :raises BuildError: it failed; names the element script and shows the lines that matter
    """
    environment = {**_environment(plan, work), **variables}
    redact = redactor(secrets(plan))
    command = _fenced([_disk_image_create(environment), *plan.command[1:]], environment)

    def on_line(line: str) -> None:
        line = redact(line)
        _write(log, f"{datetime.now(UTC):%H:%M:%S.%f} {line}\n")
        tracker.line(line)
        listen(line)

    on_line(f"{' '.join(plan.command)}")
    # Files of the image get the modes that their programs mean, whoever builds.
    status = process.stream(command, on_line, env=environment, cwd=work.out, umask=0o022)
    raw = work.out / f"{plan.spec.profile}{EXTENSIONS[plan.spec.built_type]}"
    if status != 0 or not raw.is_file():
        raise _failure(status, tracker)
    return raw


@contextmanager
def build_log(spec: ImageSpec) -> Iterator[TextIO]:
    """The log beside the image, and where ``--logfile`` says; written as the build goes, kept when it fails."""
    path = spec.output.with_name(f"{spec.output.name}.log")
    with ExitStack() as stack:
        # Not truncated before it is ours: another build may be writing it.
        log = path.open("a", encoding="utf-8", buffering=1)
        stack.callback(_close, log)
        _claim(log, spec)
        if stat.S_ISREG(os.fstat(log.fileno()).st_mode):
            log.truncate(0)
        stack.enter_context(afterwards(lambda: _copy_log(path, spec.logfile)))
        yield log


def _claim(log: TextIO, spec: ImageSpec) -> None:
    """One build at a time to an output: two would mix their logs, and one's image with the other's record."""
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError([Problem(f"another build to {spec.output} is running", "--output", "wait for it")]) from None
    except OSError:  # a file system without locks
        pass


def _write(log: TextIO, text: str) -> None:
    try:
        log.write(text)
    except OSError as error:  # it does not know which file it was
        hint = "df -h shows how full its file system is"
        raise BuildError(f"the log cannot be written: {error.strerror} ({log.name})", hint) from None


def _close(log: TextIO) -> None:
    with suppress(OSError):  # every line was written already; what could not be is what ended the build
        log.close()


def _copy_log(path: Path, logfile: Path | None) -> None:
    if logfile is None or logfile == path:
        return
    try:
        shutil.copyfile(path, logfile)
    except OSError as error:
        what = f"the log, {path}, cannot be copied: {error.strerror or error} ({logfile})"
        raise BuildError(what, "the image is not touched by that") from None


def _failure(status: int, tracker: Tracker) -> BuildError:
    where = f"in {tracker.running}" if tracker.running else "outside any element script"
    lines = "\n".join(f"  | {line}" for line in tracker.last_lines())
    ended = f"exit status {status}" if status >= 0 else f"signal {-status}"
    return BuildError(f"disk-image-create failed with {ended} {where}\n{lines}")


def secrets(plan: BuildPlan) -> dict[str, str]:
    """Name -> text of everything that no log, record or image may hold."""
    found: dict[str, str] = {}
    for name, setting in plan.environment.items():
        if setting.secret and setting.value:
            # Of an address it is the password alone: the host part is no secret, and stands in the image.
            texts = _CREDENTIALS.findall(setting.value) or [setting.value]
            found |= {f"{name} {number}" if number > 1 else name: text for number, text in enumerate(texts, 1)}
    if plan.spec.root_password is not None:
        found["root password"] = plan.spec.root_password
    return found


def lent(plan: BuildPlan, host: HostFacts) -> dict[str, str]:
    """Variable -> text of the host's settings that the build may use and the image must not keep."""
    settings = {**host.package_index, **{k: v for k, v in host.proxies.items() if k.lower() != "no_proxy"}}
    return {name: value for name, value in settings.items() if plan.environment[name].value == value}


def redactor(hidden: Mapping[str, str]) -> Callable[[str], str]:
    """A function that replaces every secret in a line; one of several lines is found by each of them."""
    lines = {line for value in hidden.values() for line in (value, *value.splitlines()) if line.strip()}
    if not lines:
        return lambda text: text
    pattern = re.compile("|".join(re.escape(line) for line in sorted(lines, key=len, reverse=True)))
    return lambda text: pattern.sub("***", text)


def _environment(plan: BuildPlan, work: Workspace) -> dict[str, str]:
    """The whole environment of disk-image-create: nothing of ours leaks into it by accident."""
    spec = plan.spec
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment.setdefault("HOME", "/root")
    environment.setdefault("USER", "root")
    path = [process.tool_path()]
    if checkout := os.environ.get("DIB_REPO_PATH"):
        path.insert(0, str(Path(checkout).resolve() / "bin"))
    environment |= {
        "PATH": os.pathsep.join(path),
        "TMP_DIR": str(work.tmp),
        "TMPDIR": str(work.tmp),
        "DIB_LOCKFILES": str(spec.cache_dir / "lockfiles"),
        "DIB_NO_TIMESTAMP": "1",
        "DIB_PYTHON_EXEC": sys.executable,
    }
    environment |= {name: setting.value for name, setting in plan.environment.items()}
    environment["DIB_BLOCK_DEVICE_CONFIG"] = _disk_in(work, environment["DIB_BLOCK_DEVICE_CONFIG"])
    if spec.ca_certificates:
        environment["DISKIMAGE_CREATE_CA_CERTIFICATES"] = str(_ca_certificates(spec, work))
    if spec.root_password is not None:
        if uses_foreign_root_password(plan.resolved):
            environment["DIB_PASSWORD"] = spec.root_password
        else:
            environment["DISKIMAGE_CREATE_ROOT_PASSWORD_FILE"] = str(_password_file(spec.root_password, work))
    return environment


def _disk_in(work: Workspace, layout: str) -> str:
    """The layout with the disk's file in the workspace itself.

    diskimage-builder's own place for it may be a tmpfs in the build's mount namespace: of a
    loop device that outlives a killed build nobody could then tell whose it was.
    """
    nodes = yaml.safe_load(layout)
    for node in nodes:
        if "local_loop" in node:
            node["local_loop"] = {"directory": str(work.disk), **node["local_loop"]}
    return str(yaml.safe_dump(nodes, sort_keys=False))


def _ca_certificates(spec: ImageSpec, work: Workspace) -> Path:
    """A directory with the certificates that the image is to trust, for the element custom-ca."""
    directory = work.path / "ca-certificates"
    directory.mkdir()
    for authority in spec.ca_certificates:
        (directory / f"{authority.name}.crt").write_text(authority.pem, encoding="utf-8")
    return directory


def _password_file(password: str, work: Workspace) -> Path:
    """The password's hash, as chpasswd reads it, in a file that only we can read."""
    hashed = process.run(["openssl", "passwd", "-6", "-stdin"], input=password + "\n").stdout.strip()
    path = work.path / "root-password"
    path.touch(mode=0o600)
    path.write_text(f"root:{hashed}\n")
    return path


def _disk_image_create(environment: Mapping[str, str]) -> str:
    program = shutil.which("disk-image-create", path=environment["PATH"])
    if program is None:
        raise HostError("disk-image-create is not installed", hint="pip install diskimage-builder")
    return program


def _fenced(command: list[str], environment: Mapping[str, str]) -> list[str]:
    """The command in namespaces of its own. An ordinary user enters them as root and is himself again inside."""
    if process.is_root():
        return [*process.FENCE, *command]
    become_user = [
        *("setpriv", f"--reuid={os.getuid()}", f"--regid={os.getgid()}", "--init-groups", "--"),
        # sudo replaces these two whatever it is told to keep
        *("env", f"PATH={environment['PATH']}", f"HOME={environment['HOME']}", f"USER={environment['USER']}"),
    ]
    return process.privileged([*process.FENCE, *become_user, *command])
