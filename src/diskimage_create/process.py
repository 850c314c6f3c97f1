"""The one door to other programs.

Nothing else imports :mod:`subprocess`. Arguments are lists (never a shell line), the
environment is explicit where it matters, and every child gets its own process group, so
that a whole tree of programs can be stopped together.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from diskimage_create.errors import CommandFailed, HostError, Interrupted

# How long a program may take to clean up after SIGTERM before it gets SIGKILL.
GRACE_SECONDS = 20.0

#: Before a command: it dies with the thread that started it, whatever ends that: setpriv(1)
WITH_US = ("setpriv", "--pdeathsig", "KILL")
#: Before a command of root's: all of it dies with us, its mounts included: setpriv(1), unshare(1)
FENCE = (
    *(*WITH_US, "unshare", "--fork", "--pid", "--mount-proc", "--mount", "--ipc"),
    *("--kill-child=SIGKILL", "--"),
)


@dataclass(frozen=True)
class Completed:
    """How a program ended, and what it printed."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


def is_root() -> bool:
    """Whether this process may do privileged things by itself."""
    return os.geteuid() == 0


def remove_tree(path: Path) -> None:
    """Remove a directory that may hold files of root's, and nothing that is mounted in it."""
    run(privileged(["rm", "-rf", "--one-file-system", "--", path]))


def privileged(argv: Sequence[str | Path]) -> list[str]:
    """The same command, through ``sudo`` when this process is not root."""
    plain = [str(arg) for arg in argv]
    return plain if is_root() else ["sudo", "--non-interactive", "--preserve-env", "--", *plain]


def tool_path() -> str:
    """PATH with our own virtual environment first, and the directories that hold losetup, mkfs and their like."""
    ours = os.path.dirname(sys.executable)
    parts = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([ours, *parts, "/usr/sbin", "/sbin", "/usr/bin", "/bin"]))


def which(name: str) -> str | None:
    """Where the program is, system directories included; None where it is not installed."""
    return shutil.which(name, path=tool_path())


def run(
    argv: Sequence[str | Path],
    *,
    input: str | None = None,
    stdin: IO[bytes] | None = None,
    stdout: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float | None = None,
    expect: Iterable[int] = (0,),
    started: Callable[[int], None] | None = None,
) -> Completed:
    """Run a program to its end and return what it printed.

    :param input: text for its standard input (which is otherwise empty)
    :param stdin: a file that it reads instead
    :param stdout: a file that gets what it prints, byte for byte; the result has none of it then
    :param timeout: seconds; the program is killed after that
    :param expect: exit statuses that are no error
    :param started: told the program's process id as soon as it runs
    :raises CommandFailed: for any other exit status, and after a time-out
    :raises HostError: the program is not installed
    """
    plain = [str(arg) for arg in argv]
    pipe = subprocess.PIPE
    with _start(plain, env=env, cwd=cwd, stderr=pipe, stdin=stdin or pipe, stdout=stdout or pipe) as child:
        try:
            if started:
                started(child.pid)
            printed, stderr = child.communicate(None if stdin else input or "", timeout=timeout)
        except subprocess.TimeoutExpired:
            stop(child.pid, grace=0)
            raise CommandFailed(plain, -signal.SIGKILL, f"no answer within {timeout} s") from None
        except BaseException:
            stop(child.pid, grace=0)
            raise
    if child.returncode not in set(expect):
        raise CommandFailed(plain, child.returncode, stderr or printed)
    return Completed(tuple(plain), child.returncode, printed or "", stderr)


def stream(
    argv: Sequence[str | Path],
    on_line: Callable[[str], None],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    grace: float = GRACE_SECONDS,
    umask: int = -1,
    started: Callable[[int], None] | None = None,
) -> int:
    """Run a program, hand over each line it prints (both streams) as it comes, return its exit status.

    :param umask: of the program; ours by default
    :param started: told the program's process id as soon as it runs

    Whatever interrupts us (a signal turned into an exception, an error in ``on_line``)
    stops the whole process group first: SIGTERM, up to ``grace`` seconds, SIGKILL.
    """
    plain = [str(arg) for arg in argv]
    with _start(plain, env=env, cwd=cwd, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, umask=umask) as child:
        assert child.stdout is not None
        try:
            if started:
                started(child.pid)
            for line in child.stdout:
                on_line(line.rstrip("\n"))
            return child.wait()
        except BaseException:
            # Keep reading while it cleans up: a full pipe would block it.
            drain = threading.Thread(target=child.stdout.read, daemon=True)
            drain.start()
            stop(child.pid, grace=grace)
            drain.join(timeout=1)
            raise


@dataclass(frozen=True)
class Beside:
    """A program that runs beside this one."""

    exit_status: Callable[[], int | None]
    """None as long as it runs"""
    kill: Callable[[], None]
    """Ends it at once; any thread may, and also when it has ended"""


@contextmanager
def beside(argv: Sequence[str | Path], output: Path, env: Mapping[str, str] | None = None) -> Iterator[Beside]:
    """Run a program while the block runs.

    It is killed at the end of the block, and also when this process dies, however that happens. For that, the thread
    that starts it has to live as long as the block (prctl(2), PR_SET_PDEATHSIG).

    :param output: gets what it prints
    :param env: all of its environment; ours by default
    :raises HostError: the program is not installed
    """
    program = [str(arg) for arg in argv]
    if which(program[0]) is None:  # setpriv would say so in its own words
        raise _not_installed(program[0])
    plain = ["setpriv", "--pdeathsig", "KILL", "--", *program]
    with output.open("wb") as file:
        child = _start(plain, env=env, cwd=None, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, stdout=file)
    try:
        yield Beside(child.poll, child.kill)
    finally:
        stop(child.pid, grace=0)
        child.wait()


class Children:
    """Programs that several threads run at once; all that still run are stopped when the block is left.

    A signal reaches the main thread alone, while the others wait for what their programs print: without this they
    would wait on, and the programs would go on.
    """

    def __init__(self, grace: float = GRACE_SECONDS) -> None:
        self._grace = grace
        self._lock = threading.Lock()
        self._running: set[int] = set()
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop all that run, and let none begin any more; any thread may."""
        with self._lock:
            self._stopped.set()
            running = list(self._running)
        for pid in running:  # each gets its signal before the first is waited for
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGTERM)
        for pid in running:
            stop(pid, grace=self._grace)

    def stream(
        self, argv: Sequence[str | Path], on_line: Callable[[str], None], env: Mapping[str, str] | None = None
    ) -> int:
        """Like :func:`stream`.

        :raises Interrupted: the block is being left
        """
        with self._registered(argv[0]) as started:
            return stream(argv, on_line, env=env, grace=self._grace, started=started)

    def run(
        self, argv: Sequence[str | Path], env: Mapping[str, str] | None = None, expect: Iterable[int] = (0,)
    ) -> Completed:
        """Like :func:`run`.

        :raises Interrupted: the block is being left
        """
        with self._registered(argv[0]) as started:
            return run(argv, env=env, expect=expect, started=started)

    @contextmanager
    def _registered(self, name: str | Path) -> Iterator[Callable[[int], None]]:
        """Takes a program's process id, and forgets it when the program has ended."""
        mine: list[int] = []

        def started(pid: int) -> None:
            with self._lock:
                if self._stopped.is_set():
                    raise Interrupted(f"{name} is not started any more")
                self._running.add(pid)
                mine.append(pid)

        try:
            yield started
        finally:
            with self._lock:
                self._running.difference_update(mine)

    def pause(self, seconds: float) -> None:
        """Wait, but not longer than the block lasts.

        :raises Interrupted: the block is being left
        """
        if self._stopped.wait(seconds):
            raise Interrupted("stopped while waiting for another attempt")


def stop(pid: int, grace: float = GRACE_SECONDS) -> None:
    """End the process group led by our child ``pid``: SIGTERM, wait for the leader, SIGKILL for all that is left."""
    for signum, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        if patience <= 0:
            continue
        try:
            os.killpg(pid, signum)
        except ProcessLookupError:
            return
        except PermissionError:  # the group is sudo's
            subprocess.run(privileged(["kill", f"-{signum.name[3:]}", "--", f"-{pid}"]), check=False)
        _ended(pid, patience)


def _ended(pid: int, patience: float) -> bool:
    """Wait up to ``patience`` seconds for our child to end, without reaping it."""
    ended = threading.Event()

    def wait() -> None:
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            pass
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    return ended.wait(patience)


def _start(
    argv: list[str],
    *,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    stderr: int,
    stdin: int | IO[bytes],
    stdout: int | IO[bytes] = subprocess.PIPE,
    umask: int = -1,
) -> subprocess.Popen[str]:
    environment = dict(os.environ if env is None else env)
    environment.setdefault("PATH", tool_path())
    if env is None:
        environment.update(PATH=tool_path(), LC_ALL="C.UTF-8")
    if (program := shutil.which(argv[0], path=environment["PATH"])) is None:
        raise _not_installed(argv[0])
    return subprocess.Popen(
        [program, *argv[1:]],
        env=environment,
        cwd=cwd,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        umask=umask,
    )


def _not_installed(name: str) -> HostError:
    return HostError(f"{name} is not installed", hint="run 'diskimage-create doctor' to see which package has it")
