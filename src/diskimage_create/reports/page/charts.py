"""Times and sizes as bars: each a row with its numbers, so that a table says the same as the picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from diskimage_create.model import Node, PhaseTiming
from diskimage_create.reports.page.sizes import share
from diskimage_create.reports.subject import written_out

#: How deep the table of directories goes, and what part of everything is worth a line of it
_DEPTH, _LEAST = 2, 0.01
_SLOWEST = 12


def boot(report: Mapping[str, Any]) -> dict[str, Any]:
    """The boot of a machine: what was seen from outside, and what it said of its units."""
    machine = report["machine"]
    return {
        "machine": f"{machine['arch']}, {machine['accelerator']}, firmware {machine['firmware']}",
        "state": written_out(report["state"] or "nothing: it did not report"),
        "multi_user_seconds": report["multi_user_seconds"],
        "timeline": list(_timeline(report["timeline"])),
        "units": list(_units(report)),
        "failed_units": [
            {"unit": written_out(each["unit"]), "log": [written_out(line) for line in each["log"]]}
            for each in report["failed_units"] or ()
        ],
        "messages": [
            (severity, written_out(line))
            for severity, key in (("error", "kernel_errors"), ("warning", "kernel_warnings"))
            for line in report[key] or ()
        ],
    }


def _timeline(events: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each event with the time since the one before it."""
    last = 0.0
    whole = max((event["seconds"] for event in events), default=0.0)
    for event in events:
        yield _bar(written_out(event["event"]), last, event["seconds"] - last, whole)
        last = event["seconds"]


def _units(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The stages of the boot, and the units that took longest, by the machine's clock."""
    units, stages = report.get("units") or (), report.get("stages") or ()
    bars = [*_stages(stages, report["multi_user_seconds"])]
    bars += [(written_out(each["unit"]), each["begun"], each["seconds"]) for each in units]
    whole = max((begun + seconds for _, begun, seconds in bars), default=0.0)
    for number, (name, begun, seconds) in enumerate(bars):
        yield {**_bar(name, begun, seconds, whole), "stage": number < len(bars) - len(units)}


def _stages(stages: Sequence[Mapping[str, Any]], end: float | None) -> Iterator[tuple[str, float, float]]:
    """Each ends where the next one begins; the kernel begins before them all."""
    # Not every initrd tells systemd that it was there.
    begun, name = 0.0, "kernel" if len(stages) > 1 else "kernel and initrd"
    for each in stages:
        yield name, begun, each["begun"] - begun
        begun, name = each["begun"], each["stage"]
    if stages and end and end > begun:
        yield f"{name}, to multi-user.target", begun, end - begun


def _bar(name: str, begun: float, seconds: float, whole: float) -> dict[str, Any]:
    return {
        "name": name,
        "begun": begun,
        "end": begun + seconds,
        "seconds": seconds,
        "x": share(begun, whole),
        "width": share(seconds, whole),
    }


def build(timings: Iterable[PhaseTiming]) -> dict[str, Any]:
    """The phases of a build one after the other, and its slowest steps; its last timing is that of all of it."""
    *steps, total = timings
    phases: dict[str, float] = {}
    for step in steps:
        phases[step.phase] = phases.get(step.phase, 0.0) + step.seconds
    whole = max(sum(phases.values()), total.seconds)
    begun, bars = 0.0, []
    for phase, seconds in phases.items():
        bars.append(_bar(written_out(phase), begun, seconds, whole))
        begun += seconds
    slowest = sorted(steps, key=lambda step: -step.seconds)[:_SLOWEST]
    return {
        "seconds": total.seconds,
        "phases": bars,
        "slowest": [
            _bar(written_out(f"{step.phase}/{step.script}"), 0.0, step.seconds, slowest[0].seconds) for step in slowest
        ],
    }


def directories(tree: Sequence[Node]) -> list[dict[str, Any]]:
    """The directories that hold most, each under its parent."""
    below: dict[int, list[int]] = {}
    for index, node in enumerate(tree):
        below.setdefault(node.parent, []).append(index)

    def rows(index: int, path: str, depth: int) -> Iterator[dict[str, Any]]:
        for child in below.get(index, ()):
            node = tree[child]
            if node.kind != "directory" or node.bytes < _LEAST * tree[0].bytes:
                continue
            name = f"{path}/{written_out(node.name)}"
            width = share(node.bytes, tree[0].bytes)
            yield {"name": name, "bytes": node.bytes, "files": node.files, "share": width, "depth": depth}
            if depth < _DEPTH:
                yield from rows(child, name, depth + 1)

    return list(rows(0, "", 1))
