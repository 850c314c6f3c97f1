"""Whether HAProxy can do what the amphora agent tells it to."""

import pytest

# In the form of what the agent writes for a listener with metrics, and a pool whose members are asked for their health
LISTENER = """\
global
    log /run/rsyslog/octavia/log local0
    maxconn 50000
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
frontend metrics
    bind 127.0.0.1:9101
    http-request use-service prometheus-exporter if { path /metrics }
frontend listener
    bind 127.0.0.1:8080
    option httplog
    default_backend pool
backend pool
    balance roundrobin
    option httpchk GET /
    server member 127.0.0.2:80 check inter 5s fall 3 rise 3
"""


@pytest.mark.parametrize("feature", ["OPENSSL", "PROMEX"])
def test_feature(host, feature):
    """HAProxy has TLS, and metrics for Prometheus"""
    assert f"+{feature}" in host.check_output("haproxy -vv").split()


def test_listener(host):
    """HAProxy accepts a listener, with the group that it is to run as and that the agent names first"""
    group = "/var/lib/octavia/haproxy-default-user-group.conf"
    checked = host.run("printf %%s %s > /tmp/listener && haproxy -c -f %s -f /tmp/listener", LISTENER, group)
    assert checked.rc == 0, checked.stdout + checked.stderr
