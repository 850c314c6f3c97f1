"""What a machine says of itself."""

from __future__ import annotations

import pytest

from diskimage_create.boot import guest
from diskimage_create.boot.guest import Failed, UnitTime, parse

DEGRADED = """\
state degraded
multi-user 51073395
cloud-init status: done
failed certs-ramfs.service
log certs-ramfs.service certs-ramfs[700]: awk: cannot open /etc/octavia/amphora-agent.conf
log certs-ramfs.service Failed with result 'exit-code'.
failed other.service
kernel-error systemd-ssh-generator[246]: Failed to query local AF_VSOCK CID
kernel-warning mtrr: your CPUs had inconsistent MTRRdefType settings
end
"""


def test_a_report() -> None:
    said = parse(DEGRADED)
    assert said is not None
    assert (said.state, said.multi_user_seconds) == ("degraded", 51.073395)
    logs = ("certs-ramfs[700]: awk: cannot open /etc/octavia/amphora-agent.conf", "Failed with result 'exit-code'.")
    assert said.failed == (Failed("certs-ramfs.service", logs), Failed("other.service", ()))
    assert said.kernel_errors == ("systemd-ssh-generator[246]: Failed to query local AF_VSOCK CID",)
    assert said.kernel_warnings == ("mtrr: your CPUs had inconsistent MTRRdefType settings",)


@pytest.mark.parametrize("length", range(0, len(DEGRADED) - 4, 17))
def test_half_a_report_is_none(length: int) -> None:
    assert parse(DEGRADED[:length]) is None


@pytest.mark.parametrize("value", ["0", "", "never"])
def test_a_target_that_was_not_reached(value: str) -> None:
    said = parse(f"state starting\nmulti-user {value}\nend\n")
    assert said is not None
    assert said.multi_user_seconds is None


@pytest.mark.subprocess("a shell reads the script, and runs nothing of it")
def test_the_script_is_one_that_a_shell_understands() -> None:
    from diskimage_create import process

    assert guest.COMMAND[-2] == "-c"
    process.run(["sh", "-n"], input=guest.COMMAND[-1])


@pytest.mark.parametrize("time", ["\u00b2", "9" * 5000, "-1", "", "n/a"])
def test_a_time_that_is_none(time: str) -> None:
    said = parse(f"state running\nmulti-user {time}\nend\n")
    assert said is not None
    assert said.multi_user_seconds is None


UNITS = """\
stage InitRDTimestampMonotonic=2000000
stage UserspaceTimestampMonotonic=5000000
unit Id=slow.service
unit InactiveExitTimestampMonotonic=6000000
unit ActiveEnterTimestampMonotonic=9500000
unit InactiveEnterTimestampMonotonic=0
unit\x20
unit InactiveEnterTimestampMonotonic=7000000
unit ActiveEnterTimestampMonotonic=0
unit InactiveExitTimestampMonotonic=5500000
unit Id=oneshot.service
unit\x20
unit Id=never.service
unit InactiveExitTimestampMonotonic=0
unit ActiveEnterTimestampMonotonic=0
unit\x20
unit Id=at-once.socket
unit InactiveExitTimestampMonotonic=6000000
unit ActiveEnterTimestampMonotonic=6000100
unit\x20
unit Id=starting.service
unit InactiveExitTimestampMonotonic=6000000
unit ActiveEnterTimestampMonotonic=0
state running
end
"""


def test_what_took_how_long() -> None:
    said = parse(UNITS)
    assert said is not None
    assert said.stages == (("initrd", 2.0), ("system", 5.0))
    assert said.units == (UnitTime("oneshot.service", 5.5, 1.5), UnitTime("slow.service", 6.0, 3.5))


def test_only_the_slowest_units_are_told_of() -> None:
    units = "".join(
        f"unit Id={number}.service\nunit InactiveExitTimestampMonotonic=1000000\n"
        f"unit ActiveEnterTimestampMonotonic={1000000 + number * 10000}\nunit \n"
        for number in range(1, 1001)
    )
    said = parse(f"{units}end\n")
    assert said is not None
    assert {unit.unit for unit in said.units} == {f"{number}.service" for number in range(961, 1001)}


@pytest.mark.parametrize("time", ["\u00b2", "9" * 5000, "-1", "", "n/a"])
def test_a_unit_that_lies_about_its_time_is_left_out(time: str) -> None:
    said = parse(
        f"unit Id=x\nunit InactiveExitTimestampMonotonic={time}\nunit ActiveEnterTimestampMonotonic=5000\nend\n"
    )
    assert said is not None
    assert said.units == ()
