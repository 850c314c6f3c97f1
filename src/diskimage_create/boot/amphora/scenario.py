"""The life of an amphora in short: its controller finds it, gives it an address and a load balancer, and clients come.

Octavia's own scenario tests do this in a cloud. Here the controller, the clients and the members are on loopback.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diskimage_create.boot import qemu
from diskimage_create.boot.amphora import configuration
from diskimage_create.boot.amphora.backends import HEALTH, Backend, two_backends
from diskimage_create.boot.amphora.certificates import Identity
from diskimage_create.boot.amphora.client import Client, NoAnswer, Refused, Rejected, body
from diskimage_create.boot.amphora.configuration import Credentials, LoadBalancer
from diskimage_create.boot.amphora.heartbeat import Receiver, receiving
from diskimage_create.boot.configdrive import File
from diskimage_create.boot.trial import Failed, Trial

VIP_MAC = "52:54:00:00:03:0f"
_REQUESTS = 20
#: Seconds that the agent has when all that starts by itself is started: it imports much
_AGENT_PATIENCE = 180.0
#: Seconds until haproxy's health checks have seen that a member stopped
_UNTIL_DOWN = 30.0


@dataclass
class Scenario:
    """An amphora's surroundings, and what is known of it so far."""

    credentials: Credentials
    heartbeats: Receiver
    members: tuple[Backend, Backend]
    client: Client
    api: qemu.Forward
    front: qemu.Forward
    balancer: LoadBalancer
    beat: dict[str, Any] = field(default_factory=dict)
    """The newest heartbeat"""

    @property
    def files(self) -> list[File]:
        """What the config drive brings."""
        return configuration.files(self.credentials, self.heartbeats.port)

    @property
    def vip_network(self) -> qemu.Network:
        """The network of the virtual address."""
        return qemu.Network(configuration.VIP_SUBNET, VIP_MAC, (self.front,), restricted=False)

    def run(self, trial: Trial) -> None:
        """All of it."""
        checks = (
            ("agent-api", "The amphora API answers its controller over TLS", self._api, True),
            ("agent-info", "The agent knows itself and its haproxy", self._info, False),
            ("agent-refuses", "The agent refuses whoever is not its controller", self._strangers, False),
            ("heartbeat", "Heartbeats reach the health manager, with the right HMAC", self._heartbeat, False),
            ("vip", "The virtual address is plugged into its namespace", self._vip, True),
            ("load-balancer", "A load balancer is configured and started", self._load_balancer, True),
            ("traffic", "HTTP requests through the virtual address reach both members", self._traffic, True),
            ("failover", "When a member stops, the other one serves all", self._failover, False),
            ("heartbeat-status", "Heartbeats tell the state of listener and members", self._status, False),
        )
        for id, title, run, vital in checks:

            def translated(run: Any = run) -> Any:
                try:
                    return run(trial)
                except (NoAnswer, Refused, Rejected) as error:
                    raise Failed(trial.machine.over() or str(error)) from None

            trial.check(id, title, translated, vital=vital)

    def _api(self, trial: Trial) -> str:
        last = NoAnswer("nobody answered")

        def asked() -> str | None:
            nonlocal last
            self._take_heartbeat(trial)
            try:
                return self.client.version()
            except NoAnswer as error:
                last = error
            if trial.machine.guest_report() is not None:
                trial.event("everything is started")
                if trial.machine.age() > trial.events["everything is started"] + _AGENT_PATIENCE:
                    raise Failed(f"everything is started, and for {_AGENT_PATIENCE:.0f} s nobody answers")
            return None

        try:
            version = trial.wait("the amphora API", asked)
        except Failed as failure:
            if trial.machine.over() is not None:
                raise
            raise Failed(f"{failure} ({last})") from None
        trial.event("amphora API answers")
        return f"version {version}"

    def _info(self, trial: Trial) -> str:
        info, details = self.client.info(), self.client.details()
        missing = [name for name in ("hostname", "haproxy_version", "api_version") if not info.get(name)]
        if missing:
            raise Failed(f"/1.0/info lacks {', '.join(missing)}")
        if details.get("active") is not True or details.get("listeners") != []:
            raise Failed("/1.0/details: a new amphora is active, and has no listeners")
        return f"{info['hostname']}, haproxy {info['haproxy_version']}"

    def _strangers(self, trial: Trial) -> str:
        others: dict[str, Identity | None] = {
            "without a certificate": None,
            "with a certificate of another authority": self.credentials.stranger,
        }
        for who, identity in others.items():
            try:
                status = self.client.ask_as(identity)
            except Refused:
                continue
            raise Failed(f"a client {who} got an answer: {status}")
        self.client.version()  # it still answers its controller: refusing was no breakdown
        return f"refused: clients {' and '.join(others)}"

    def _heartbeat(self, trial: Trial) -> str:
        trial.wait(
            f"a genuine heartbeat ({'; '.join(self.heartbeats.forged[:1]) or 'no packet came'})",
            lambda: self.beat or self._take_heartbeat(trial),
            limit=60,
        )
        if self.beat.get("id") != self.credentials.amphora_id:
            raise Failed(f"it is from {self.beat.get('id')!r}, not from this amphora")
        if self.heartbeats.forged:
            raise Failed(f"a packet was not genuine: {self.heartbeats.forged[0]}")
        return f"version {self.beat.get('ver')}, {self.heartbeats.received} received"

    def _take_heartbeat(self, trial: Trial) -> dict[str, Any] | None:
        if beat := self.heartbeats.newest():
            self.beat = beat
            trial.event("first heartbeat")
        return beat

    def _vip(self, trial: Trial) -> str:
        here = configuration
        reply = self.client.plug_vip(here.VIP, here.VIP_SUBNET, here.VIP_GATEWAY, VIP_MAC, here.VRRP_ADDRESS)
        trial.event("virtual address plugged")
        return str(reply.get("details", "plugged"))

    def _load_balancer(self, trial: Trial) -> str:
        self.client.upload(self.balancer.id, configuration.haproxy(self.balancer, HEALTH))
        self.client.start(self.balancer.id)
        trial.event("load balancer started")
        states = {each.get("uuid"): each.get("status") for each in self.client.listeners()}
        if states != {self.balancer.listener: "ACTIVE"}:
            raise Failed(f"listeners should be the new one, ACTIVE, and are {states}")
        return "listener ACTIVE"

    def _traffic(self, trial: Trial) -> str:
        trial.wait("an HTTP answer through the virtual address", lambda: self._ask("/first"), limit=60)
        trial.event("first answer through the load balancer")
        answers = self._ask_many(trial, "/both")
        served = {member.name: sum(path.startswith("/both") for path in member.asked) for member in self.members}
        if any(count != answers.count(name) for name, count in served.items()):
            raise Failed(f"clients and members disagree: {answers}, and members saw {served}")
        if min(served.values()) == 0:
            raise Failed(f"all requests reached one member: {served}")
        return f"{_REQUESTS} requests, {' and '.join(f'{count} by {name}' for name, count in served.items())}"

    def _failover(self, trial: Trial) -> str:
        gone, left = self.members
        gone.stop()
        answers = self._ask_many(trial, "/failover")
        if set(answers) != {left.name}:
            raise Failed(f"member {gone.name} was stopped, and answers came from {sorted(set(answers))}")
        if sum(path.startswith("/failover") for path in left.asked) != _REQUESTS:
            raise Failed(f"member {left.name} did not see all {_REQUESTS} requests")
        trial.event("one member serves all")
        return f"{_REQUESTS} requests, all by {left.name}"

    def _status(self, trial: Trial) -> str:
        (gone, _), (left, _) = self.balancer.members
        wanted = {gone: "DOWN", left: "UP"}

        def told() -> str | None:
            beat = self._take_heartbeat(trial) or {}
            listener = beat.get("listeners", {}).get(self.balancer.listener, {})
            members = beat.get("pools", {}).get(self.balancer.backend, {}).get("members")
            return (
                "listener OPEN, one member UP and one DOWN"
                if (listener.get("status"), members)
                == (
                    "OPEN",
                    wanted,
                )
                else None
            )

        try:
            return trial.wait("a heartbeat with what happened", told, limit=_UNTIL_DOWN)
        except Failed as failure:
            raise Failed(f"{failure}; the last one says {self.beat}") from None

    def _ask(self, path: str) -> str | None:
        """One request through the virtual address; returns the member's name, None where there is no good answer."""
        import requests

        url = f"http://{qemu.LOOPBACK}:{self.front.host_port}{path}"
        try:
            with requests.Session() as session:
                session.trust_env = False
                reply = session.get(url, timeout=20, stream=True, allow_redirects=False)
                return body(reply) if reply.status_code == 200 else None
        except (requests.RequestException, Rejected):
            return None

    def _ask_many(self, trial: Trial, path: str) -> list[str]:
        answers = []
        for number in range(_REQUESTS):
            if (answer := self._ask(f"{path}/{number}")) is None:
                raise Failed(trial.machine.over() or f"request {number + 1} of {_REQUESTS} was not answered")
            answers.append(answer)
        return answers


@contextmanager
def surroundings(directory: Path) -> Iterator[Scenario]:
    """What an amphora needs around it, as long as the block runs.

    :param directory: where nobody else can read; gets keys
    """
    credentials = configuration.new_credentials()
    with (
        qemu.reserved_port() as api_port,
        qemu.reserved_port() as front_port,
        receiving(credentials.heartbeat_key) as heartbeats,
        two_backends() as members,
    ):
        api = qemu.Forward(api_port, configuration.API_PORT)
        front = qemu.Forward(front_port, 80, configuration.VIP)
        balancer = configuration.new_load_balancer([each.port for each in members])
        client = Client(credentials, api.host_port, directory)
        yield Scenario(credentials, heartbeats, members, client, api, front, balancer)
