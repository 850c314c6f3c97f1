"""What a machine says of itself."""

from __future__ import annotations

import pytest

from diskimage_create.boot import guest
from diskimage_create.boot.guest import Failed, parse

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
