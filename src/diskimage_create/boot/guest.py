"""What the machine says of itself when it is up: a script in the guest, and how its report is read.

The script comes with the config drive and writes to a virtio-serial port of its own, so that nothing the kernel or
systemd prints gets in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Name of the port
PORT = "org.openstack.diskimage-create.0"

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
class GuestReport:
    """What the guest found when everything that starts by itself was started."""

    state: str
    """Of systemd: ``running``, ``degraded``, ..."""
    multi_user_seconds: float | None
    """From the start of the kernel until multi-user.target; None where it was not reached."""
    failed: tuple[Failed, ...]
    kernel_errors: tuple[str, ...]
    kernel_warnings: tuple[str, ...]


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
    microseconds = "".join(found.get("multi-user", ()))
    is_time = len(microseconds) < 19 and microseconds.isascii() and microseconds.isdigit()
    return GuestReport(
        state="".join(found.get("state", ("unknown",))),
        multi_user_seconds=int(microseconds) / 1e6 if is_time and int(microseconds) else None,
        failed=tuple(Failed(unit, tuple(logs.get(unit, ()))) for unit in found.get("failed", ())),
        kernel_errors=tuple(found.get("kernel-error", ())),
        kernel_warnings=tuple(found.get("kernel-warning", ())),
    )
