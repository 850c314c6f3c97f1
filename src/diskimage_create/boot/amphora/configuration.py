"""What Octavia's controller gives an amphora: its configuration at boot, and a load balancer later."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from diskimage_create.boot.amphora.certificates import Identity, authority, signed
from diskimage_create.boot.configdrive import File

#: Where the agent listens (Octavia's default)
API_PORT = 9443
#: Seconds between heartbeats. Octavia's default of 10 would only make a test longer.
HEARTBEAT_SECONDS = 3

#: The network of the virtual address. QEMU's own network has this host at .2.
VIP_SUBNET = "10.0.3.0/24"
VIP_GATEWAY = "10.0.3.2"
VIP = "10.0.3.15"
VRRP_ADDRESS = "10.0.3.16"
MANAGEMENT_HOST = "10.0.2.2"


@dataclass(frozen=True)
class Credentials:
    """Who the controller and the amphora are to each other."""

    amphora_id: str
    heartbeat_key: str = field(repr=False)
    server_authority: Identity = field(repr=False)
    client_authority: Identity = field(repr=False)
    server: Identity = field(repr=False)
    client: Identity = field(repr=False)
    stranger: Identity = field(repr=False)
    """A client whom an authority signed that the amphora does not know"""


def new_credentials() -> Credentials:
    """Credentials for one amphora, used once."""
    amphora_id = str(uuid.uuid4())
    servers, clients = authority("Test CA of amphorae"), authority("Test CA of controllers")
    return Credentials(
        amphora_id,
        secrets.token_hex(16),
        servers,
        clients,
        signed(amphora_id, servers),
        signed("controller", clients),
        signed("controller", authority("Test CA of strangers")),
    )


def files(credentials: Credentials, heartbeat_port: int) -> list[File]:
    """The files that the controller puts on an amphora's config drive.

    :param heartbeat_port: UDP port of this host that heartbeats go to
    """
    return [
        File("/etc/octavia/amphora-agent.conf", _agent(credentials.amphora_id, credentials, heartbeat_port)),
        File("/etc/octavia/certs/server.pem", credentials.server.pem),
        File("/etc/octavia/certs/client_ca.pem", credentials.client_authority.certificate_pem),
    ]


def _agent(amphora_id: str, credentials: Credentials, heartbeat_port: int) -> str:
    """amphora-agent.conf; options as in Octavia's configuration reference."""
    return f"""\
[DEFAULT]
debug = False
use_syslog = True
syslog_log_facility = LOG_LOCAL1

[haproxy_amphora]
base_cert_dir = /var/lib/octavia/certs
base_path = /var/lib/octavia
bind_host = ::
bind_port = {API_PORT}
haproxy_cmd = /usr/sbin/haproxy
user_log_facility = 0
administrative_log_facility = 1

[health_manager]
controller_ip_port_list = {MANAGEMENT_HOST}:{heartbeat_port}
heartbeat_interval = {HEARTBEAT_SECONDS}
heartbeat_key = {credentials.heartbeat_key}

[amphora_agent]
agent_server_ca = /etc/octavia/certs/client_ca.pem
agent_server_cert = /etc/octavia/certs/server.pem
agent_request_read_timeout = 180
amphora_id = {amphora_id}
amphora_udp_driver = keepalived_lvs
agent_tls_protocol = TLSv1.2

[controller_worker]
loadbalancer_topology = SINGLE
"""


@dataclass(frozen=True)
class LoadBalancer:
    """A listener for HTTP with one pool of members, each with a name of its own in Octavia's way."""

    id: str
    listener: str
    pool: str
    members: tuple[tuple[str, int], ...]
    """ID and port of each, on the host of the virtual address's network"""

    @property
    def backend(self) -> str:
        """The pool as haproxy and heartbeats call it."""
        return f"{self.pool}:{self.listener}"


def new_load_balancer(ports: Sequence[int]) -> LoadBalancer:
    """A load balancer before members that listen on these ports of this host."""
    members = tuple((str(uuid.uuid4()), port) for port in ports)
    return LoadBalancer(str(uuid.uuid4()), str(uuid.uuid4()), str(uuid.uuid4()), members)


def haproxy(balancer: LoadBalancer, health: str) -> str:
    """haproxy's configuration of a load balancer: round robin, with a health check a second.

    The agent reads some of it: the socket's line, and the names and modes of frontends.

    :param health: path that members are asked for
    """
    servers = "".join(
        f"    server {member} {VIP_GATEWAY}:{port} weight 1 check inter 1s fall 2 rise 2\n"
        for member, port in balancer.members
    )
    return f"""\
global
    daemon
    user nobody
    log /run/rsyslog/octavia/log local0
    log /run/rsyslog/octavia/log local1 notice
    stats socket /var/lib/octavia/{balancer.id}.sock mode 0666 level user
    maxconn 1000

defaults
    log global
    retries 3
    option redispatch
    option http-keep-alive

frontend {balancer.listener}
    maxconn 1000
    bind {VIP}:80
    mode http
    default_backend {balancer.backend}
    timeout client 50000

backend {balancer.backend}
    mode http
    balance roundrobin
    timeout check 5s
    option httpchk GET {health}
    http-check expect rstatus 200
    option forwardfor
    fullconn 1000
    option allbackups
    timeout connect 5000
    timeout server 50000
{servers}"""
