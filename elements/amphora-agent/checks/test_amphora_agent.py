"""What is around the amphora agent, asked of the programs that will read it."""

import pytest

UNITS = "/etc/systemd/system", "/usr/lib/systemd/system"


@pytest.mark.parametrize("unit", ["amphora-agent", "prometheus-proxy"])
def test_unit(host, unit):
    """systemd understands the unit, and finds the programs that it starts"""
    if not any(host.file(f"{place}/{unit}.service").exists for place in UNITS):
        pytest.skip("it is not in this image")
    verified = host.run("systemd-analyze verify %s.service", unit)
    # Of units that it depends on it tells, too.
    assert [line for line in verified.stderr.splitlines() if unit in line] == []


def test_rsyslog(host):
    """rsyslog understands its configuration, with the socket for HAProxy and keepalived"""
    if not host.exists("rsyslogd"):
        pytest.skip("rsyslog is not in this image")
    checked = host.run("rsyslogd -N1")
    assert checked.succeeded, checked.stderr
