"""What the benchmarks share: running a command with its time and memory, and a table."""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Between looks at a command's memory: of a command that prints much they would take longer than the command
_EVERY_SECONDS = 0.02


@dataclass(frozen=True)
class Run:
    """One run of a command."""

    seconds: float
    processor_seconds: float
    """Of the command and of all that it started and waited for: other work on the machine hardly changes it."""
    peak_mib: float
    """Peak resident memory of the command's own process, without its children."""
    output: str


def timed(
    command: Sequence[str | Path],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    statuses: Container[int] = (0,),
) -> Run:
    """Run a command to its end.

    :param statuses: what it may end with
    :raises RuntimeError: it failed
    """
    started, used = time.monotonic(), _processor_seconds()
    peak, asked = 0, 0.0
    with subprocess.Popen(
        command, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        assert child.stdout is not None
        lines = []
        for line in child.stdout:
            lines.append(line)
            if time.monotonic() - asked > _EVERY_SECONDS:
                asked = time.monotonic()
                peak = max(peak, _peak_kib(child.pid))
        status = child.wait()
    output = "".join(lines)
    if status not in statuses:
        raise RuntimeError(f"{command[0]} failed with {status}:\n{output[-3000:]}")
    return Run(time.monotonic() - started, _processor_seconds() - used, peak / 1024, output)


def _processor_seconds() -> float:
    """Of all commands that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _peak_kib(pid: int) -> int:
    """VmHWM of proc(5)."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


def table(rows: Sequence[Sequence[object]]) -> str:
    """Rows as text, the first column to the left, all others to the right."""
    cells = [[f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    )


def in_flight(most: int, seconds: float, one_by_one: float) -> list[list[object]]:
    """The rows that say what asking at the same time has gained."""
    return [
        ["most in flight", most],
        ["seconds", f"{seconds:.2f}"],
        ["seconds that the answers take one after the other", f"{one_by_one:.2f}"],
        ["ratio", f"{seconds / one_by_one:.2f}"],
    ]
