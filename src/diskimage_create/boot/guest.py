"""What the machine says of itself when it is up: a script in the guest, and how its report is read.

The script comes with the config drive and writes to a virtio-serial port of its own, so that nothing the kernel or
systemd prints gets in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

#: Name of the port
PORT = "org.openstack.diskimage-create.0"

#: Properties of a unit (org.freedesktop.systemd1(5)): microseconds since the kernel's start, 0 for never
_TIMES = ("InactiveExitTimestampMonotonic", "ActiveEnterTimestampMonotonic", "InactiveEnterTimestampMonotonic")
#: Units that are told of: those that took longest, and those that took any time at all
_MOST_UNITS, _LEAST_SECONDS = 40, 0.001

_SCRIPT = f"""
modprobe virtio_console
exec > /dev/virtio-ports/{PORT} 2> /dev/null
printf 'state '
systemctl is-system-running --wait
printf 'multi-user '
systemctl show --value --property=ActiveEnterTimestampMonotonic multi-user.target
printf 'cloud-init '
cloud-init status
for unit in $(systemctl --failed --no-legend --plain | cut -d ' ' -f 1); do
    echo "failed $unit"
    journalctl --no-pager --output=cat --lines=5 --unit="$unit" | sed "s/^/log $unit /"
done
dmesg --level=emerg,alert,crit,err --notime | sed 's/^/kernel-error /'
dmesg --level=warn --notime | sed 's/^/kernel-warning /'
systemctl show --property=InitRDTimestampMonotonic,UserspaceTimestampMonotonic | sed 's/^/stage /'
systemctl show --property=Id,{",".join(_TIMES)} '*.service' '*.mount' '*.socket' | sed 's/^/unit /'
echo end
"""

#: Starts the script beside the boot, whose end it waits for: a part of it would wait for itself
COMMAND: Sequence[str] = ("systemd-run", "--no-block", "--unit=boot-report", "/bin/sh", "-c", _SCRIPT)


@dataclass(frozen=True)
class Failed:
    """A unit that failed, with the last lines of its log."""

    unit: str
    log: tuple[str, ...]


@dataclass(frozen=True)
class UnitTime:
    """How long a unit took to start."""

    unit: str
    begun: float
    """Seconds since the kernel's start"""
    seconds: float


@dataclass(frozen=True)
class GuestReport:
    """What the guest found when everything that starts by itself was started."""

    state: str
    """Of systemd: ``running``, ``degraded``, ..."""
    multi_user_seconds: float | None
    """From the start of the kernel until multi-user.target; None where it was not reached."""
    failed: tuple[Failed, ...]
    kernel_errors: tuple[str, ...]
    kernel_warnings: tuple[str, ...]
    units: tuple[UnitTime, ...] = ()
    """The slowest ones, in the order in which they were begun"""
    stages: tuple[tuple[str, float], ...] = ()
    """What ran, and from when on in seconds since the kernel's start: ``initrd``, ``system``"""


def parse(text: str) -> GuestReport | None:
    """The report; None as long as it is not complete."""
    lines = text.splitlines()
    if "end" not in lines:
        return None
    found: dict[str, list[str]] = {}
    for line in lines:
        word, _, rest = line.partition(" ")
        found.setdefault(word, []).append(rest.strip())
    logs: dict[str, list[str]] = {}
    for entry in found.get("log", ()):
        unit, _, said = entry.partition(" ")
        logs.setdefault(unit, []).append(said)
    multi_user = _seconds("".join(found.get("multi-user", ())))
    return GuestReport(
        state="".join(found.get("state", ("unknown",))),
        multi_user_seconds=multi_user or None,
        failed=tuple(Failed(unit, tuple(logs.get(unit, ()))) for unit in found.get("failed", ())),
        kernel_errors=tuple(found.get("kernel-error", ())),
        kernel_warnings=tuple(found.get("kernel-warning", ())),
        units=_slowest(found.get("unit", ())),
        stages=tuple(_stages(found.get("stage", ()))),
    )


def _seconds(microseconds: str) -> float:
    """0 for what is no time, or never was."""
    is_time = len(microseconds) < 19 and microseconds.isascii() and microseconds.isdigit()
    return int(microseconds) / 1e6 if is_time else 0.0


def _slowest(lines: Sequence[str]) -> tuple[UnitTime, ...]:
    """The units that took longest to start; their properties are told apart by empty lines."""
    units: list[UnitTime] = []
    properties: dict[str, str] = {}
    for line in (*lines, ""):
        name, _, value = line.partition("=")
        if line:
            properties[name] = value
            continue
        if (time := _unit_time(properties)) is not None:
            units.append(time)
        properties = {}
    slowest = sorted(units, key=lambda unit: -unit.seconds)[:_MOST_UNITS]
    return tuple(sorted(slowest, key=lambda unit: (unit.begun, unit.unit)))


def _unit_time(properties: Mapping[str, str]) -> UnitTime | None:
    """From the beginning of a unit until it was active; one that ends at once never is, and counts until its end."""
    begun, started, over = (_seconds(properties.get(name, "")) for name in _TIMES)
    end = next((time for time in (started, over) if time >= begun), 0.0)
    unit = properties.get("Id", "")
    return UnitTime(unit, begun, end - begun) if unit and begun and end - begun >= _LEAST_SECONDS else None


def _stages(lines: Sequence[str]) -> Iterator[tuple[str, float]]:
    times = dict(line.partition("=")[::2] for line in lines)
    for name, key in (("initrd", "InitRDTimestampMonotonic"), ("system", "UserspaceTimestampMonotonic")):
        if seconds := _seconds(times.get(key, "")):
            yield name, seconds
