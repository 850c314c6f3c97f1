"""The one door to other programs, with real programs behind it."""

from __future__ import annotations

import ast
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import diskimage_create
from diskimage_create import process
from diskimage_create.errors import CommandFailed, HostError, Interrupted

real = pytest.mark.subprocess("small programs, to see how they end")


def gone(pid: int, patience: float = 3.0) -> bool:
    """Whether the process is dead (or a zombie that somebody else has to bury) before the time is up."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_nothing_else_imports_subprocess() -> None:
    """A rule of the design; mounts, builds and all others go through process.py."""
    package = Path(diskimage_create.__file__).parent
    importers = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if "subprocess" in names:
                importers.add(path.name)
            shell = isinstance(node, ast.keyword) and node.arg == "shell"
            assert not shell or path.is_relative_to(package / "elements"), path
    assert importers == {"process.py"}


@real
def test_output_and_input() -> None:
    done = process.run(["sh", "-c", "cat; echo oops >&2"], input="ünicode\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ünicode\n", "oops\n")
    assert process.run(["sh", "-c", r"printf '\377'"]).stdout == "�"
    assert process.run(["cat"]).stdout == ""


@real
def test_arguments_are_no_shell_line(tmp_path: Path) -> None:
    assert process.run(["printf", "%s|", "$HOME; echo x", tmp_path]).stdout == f"$HOME; echo x|{tmp_path}|"


@real
def test_an_exit_status_that_was_not_expected() -> None:
    with pytest.raises(CommandFailed) as caught:
        process.run(["sh", "-c", "echo out; echo why >&2; exit 3"])
    assert (caught.value.returncode, caught.value.output) == (3, "why\n")
    assert "sh failed with exit status 3" in caught.value.message
    assert "why" in caught.value.message
    assert caught.value.exit_code == 4
    assert process.run(["sh", "-c", "exit 3"], expect=(0, 3)).returncode == 3
    with pytest.raises(CommandFailed, match="signal 9"):
        process.run(["sh", "-c", "kill -9 $$"])


@real
def test_a_program_that_is_not_installed() -> None:
    with pytest.raises(HostError, match="no-such-program is not installed") as caught:
        process.run(["no-such-program"])
    assert "doctor" in (caught.value.hint or "")
    with pytest.raises(HostError):
        process.stream(["no-such-program"], print)


@real
def test_the_environment_is_explicit() -> None:
    lines = process.run(["env"], env={"ONLY": "this", "PATH": os.defpath}).stdout.split("\n")
    assert "ONLY=this" in lines
    assert not any(line.startswith(("HOME=", "LC_ALL=")) for line in lines)
    assert "LC_ALL=C.UTF-8" in process.run(["env"]).stdout


def test_system_directories_are_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/somewhere")
    parts = process.tool_path().split(":")
    assert parts[0] == os.path.dirname(sys.executable)
    assert {"/somewhere", "/usr/sbin", "/sbin"} <= set(parts)
    assert len(set(parts)) == len(parts)
    assert process.which("no-such-program") is None


def test_an_ordinary_user_goes_through_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    command = process.privileged(["mount", Path("/a")])
    assert command[:2] == ["sudo", "--non-interactive"]
    assert command[-3:] == ["--", "mount", "/a"]
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert process.privileged(["mount", Path("/a")]) == ["mount", "/a"]


@real
def test_a_time_out_ends_the_whole_group() -> None:
    started = time.monotonic()
    with pytest.raises(CommandFailed, match=r"no answer within 0\.3 s"):
        process.run(["sh", "-c", "trap '' TERM; sleep 60 & wait; sleep 60"], timeout=0.3)
    assert time.monotonic() - started < 3


@real
def test_lines_come_as_they_are_printed_from_both_streams() -> None:
    seen: list[tuple[str, float]] = []
    script = "echo one; sleep 0.4; echo two >&2; printf 'no end'; exit 7"
    status = process.stream(["sh", "-c", script], lambda line: seen.append((line, time.monotonic())))
    assert status == 7
    assert [line for line, _ in seen] == ["one", "two", "no end"] or [line for line, _ in seen] == ["one", "twono end"]
    assert seen[1][1] - seen[0][1] > 0.2


@real
def test_a_large_output_does_not_block() -> None:
    count = 0

    def on_line(line: str) -> None:
        nonlocal count
        count += 1

    assert process.stream(["sh", "-c", "seq 100000; seq 100000 >&2"], on_line) == 0
    assert count == 200000


STUBBORN = """
trap '' TERM
echo $$
while :; do sleep 0.05; done
"""


@real
@pytest.mark.parametrize(
    ("leader", "slowest"),
    [
        ("trap '' TERM; sh -c '{}' & wait; wait", 3.0),  # nobody ends by himself
        ("sh -c '{}' & wait", 3.0),  # the leader does, his child does not
    ],
    ids=["stubborn leader", "stubborn grandchild"],
)
def test_an_interruption_ends_the_whole_group(leader: str, slowest: float) -> None:
    pids: list[int] = []

    def on_line(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        process.stream(["sh", "-c", leader.format(STUBBORN.replace("'", '""'))], on_line, grace=0.3)
    assert time.monotonic() - started < slowest
    (pid,) = pids
    try:
        assert gone(pid)
    finally:
        if not gone(pid, 0.1):
            os.kill(pid, signal.SIGKILL)


@real
def test_a_program_may_clean_up_while_it_is_stopped(tmp_path: Path) -> None:
    """It gets its grace, and its last words, more than a pipe holds, do not block it."""
    mark = tmp_path / "clean"
    script = f"trap 'seq 50000; touch {mark}; exit 1' TERM; echo ready; while :; do sleep 0.05; done"

    def on_line(line: str) -> None:
        raise ValueError(line)

    with pytest.raises(ValueError, match="ready"):
        process.stream(["sh", "-c", script], on_line, grace=5)
    assert mark.exists()


@real
def test_every_program_has_its_own_group() -> None:
    assert int(process.run(["sh", "-c", "ps -o pgid= -p $$"]).stdout) != os.getpgid(0)


@real
def test_programs_of_threads_end_with_the_block() -> None:
    begun: list[str] = []
    with ThreadPoolExecutor(3) as pool, process.Children(grace=5) as children:
        futures = [pool.submit(children.stream, ["sh", "-c", "echo $$; sleep 60"], begun.append) for _ in range(2)]
        waiting = pool.submit(children.pause, 60)
        end = time.monotonic() + 20
        while len(begun) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        done: list[str] = []
        assert children.stream(["echo", "done"], done.append) == 0
    assert done == ["done"]
    assert [future.result(20) for future in futures] == [-signal.SIGTERM] * 2
    assert all(gone(int(pid)) for pid in begun)
    with pytest.raises(Interrupted):
        waiting.result(20)
    with pytest.raises(Interrupted, match="is not started any more"):
        children.stream(["sleep", "60"], begun.append)
