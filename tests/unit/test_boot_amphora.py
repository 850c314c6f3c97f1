"""The controller's side of an amphora: certificates, the API's client, heartbeats and members."""

from __future__ import annotations

import configparser
import hashlib
import hmac
import json
import socket
import ssl
import stat
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest
import requests
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from diskimage_create.boot import qemu
from diskimage_create.boot.amphora import configuration, heartbeat
from diskimage_create.boot.amphora.backends import HEALTH, Backend, two_backends
from diskimage_create.boot.amphora.certificates import authority, signed
from diskimage_create.boot.amphora.client import Client, NoAnswer, Refused, Rejected, body
from diskimage_create.boot.amphora.configuration import Credentials, haproxy, new_credentials, new_load_balancer
from diskimage_create.boot.amphora.heartbeat import Forged, opened, receiving

KEY = "insecure"
BEAT = {"id": "a", "seq": 1, "listeners": {}, "pools": {}, "ver": 3}


@pytest.fixture(scope="module")
def credentials() -> Credentials:
    return new_credentials()


def packed(document: object, key: str = KEY) -> bytes:
    """A heartbeat, as an amphora makes it."""
    payload = zlib.compress(json.dumps(document).encode(), 9)
    return payload + hmac.new(key.encode(), payload, hashlib.sha256).hexdigest().encode()


def test_a_heartbeat_of_an_amphora() -> None:
    """One that an agent of release 19.0.0 sent, with the key that it was given."""
    recorded = (Path(__file__).parent / "recorded/heartbeat.json").read_text()
    sample = json.loads(recorded)
    beat = opened(bytes.fromhex(sample["packet"]), sample["key"])
    assert (beat["ver"], beat["listeners"], beat["pools"]) == (3, {}, {})


@given(st.dictionaries(st.text(), st.integers() | st.text()), st.text(min_size=1))
def test_what_was_packed_is_what_is_opened(document: dict[str, object], key: str) -> None:
    assert opened(packed(document, key), key) == document


@given(st.data())
def test_no_bit_of_a_heartbeat_can_be_changed(data: st.DataObject) -> None:
    packet = bytearray(packed(BEAT))
    packet[data.draw(st.integers(0, len(packet) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(Forged):
        opened(bytes(packet), KEY)


@given(st.binary(max_size=200))
def test_what_is_no_heartbeat_is_forged(packet: bytes) -> None:
    with pytest.raises(Forged):
        opened(packet, KEY)


@pytest.mark.parametrize("payload", [b"no zlib", zlib.compress(b"no json"), zlib.compress(b"[1]")])
def test_a_right_hmac_makes_no_document(payload: bytes) -> None:
    with pytest.raises(Forged, match="it holds no"):
        opened(payload + hmac.new(KEY.encode(), payload, hashlib.sha256).hexdigest().encode(), KEY)


def test_heartbeats_arrive() -> None:
    with receiving(KEY) as receiver, socket.socket(type=socket.SOCK_DGRAM) as sender:
        assert receiver.newest() is None
        for packet in (packed({"seq": 1}), packed({"seq": 2}, "another key"), packed({"seq": 3})):
            sender.sendto(packet, (qemu.LOOPBACK, receiver.port))
        assert receiver.newest() == {"seq": 3}
        assert (receiver.received, receiver.forged) == (2, ["its HMAC is not that of the heartbeat key"])


def test_certificates_are_signed_by_their_authority() -> None:
    ours, other = authority("ours"), authority("other")
    party = signed("party", ours)
    party.certificate.verify_directly_issued_by(ours.certificate)
    with pytest.raises((ValueError, Exception)) as error:
        party.certificate.verify_directly_issued_by(other.certificate)
    assert error.value is not None
    names = party.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["party"]


def test_keys_are_nobody_elses_to_read(tmp_path: Path, credentials: Credentials) -> None:
    path = credentials.client.save(tmp_path / "client.pem")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "PRIVATE KEY" in path.read_text()
    assert "PRIVATE KEY" not in credentials.client.certificate_pem
    assert credentials.heartbeat_key not in repr(credentials)


def test_the_agents_configuration(credentials: Credentials) -> None:
    files = {each.path: each for each in configuration.files(credentials, 5555)}
    agent = configparser.ConfigParser()
    agent.read_string(files["/etc/octavia/amphora-agent.conf"].content)
    assert agent["health_manager"]["controller_ip_port_list"] == "10.0.2.2:5555"
    assert agent["health_manager"]["heartbeat_key"] == credentials.heartbeat_key
    assert agent["amphora_agent"]["amphora_id"] == credentials.amphora_id
    assert files[agent["amphora_agent"]["agent_server_cert"]].content == credentials.server.pem
    trusted = files[agent["amphora_agent"]["agent_server_ca"]].content
    assert trusted == credentials.client_authority.certificate_pem
    assert {each.permissions for each in files.values()} == {"0600"}


def test_haproxys_configuration_is_what_the_agent_reads_of_it() -> None:
    balancer = new_load_balancer([8001, 8002])
    lines = [line.strip() for line in haproxy(balancer, HEALTH).splitlines()]
    assert f"stats socket /var/lib/octavia/{balancer.id}.sock mode 0666 level user" in lines
    assert lines.count(f"frontend {balancer.listener}") == lines.count(f"backend {balancer.backend}") == 1
    servers = [line.split()[1:3] for line in lines if line.startswith("server ")]
    assert servers == [[member, f"10.0.3.2:{port}"] for member, port in balancer.members]


class Agent(BaseHTTPRequestHandler):
    """Answers like an agent, so far as it is asked here."""

    asked: list[tuple[str, str, bytes]]

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append((self.command, self.path, body))
        status, reply = (200, {"api_version": "1.0"}) if self.path == "/" else (202, {"message": "OK"})
        if "bad" in self.path:
            status, reply = 500, {"message": "Error", "details": "x" * 2000 + "\nthe reason"}
        text = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_PUT = do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def agent(tmp_path: Path, credentials: Credentials) -> Iterator[tuple[int, type[Agent]]]:
    """A server that asks for certificates as the agent does; its port, and what it was asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.server.save(tmp_path / "server.pem"))
    context.load_verify_locations(cadata=credentials.client_authority.certificate_pem)
    context.verify_mode = ssl.CERT_REQUIRED
    handler = type("Handler", (Agent,), {"asked": []})
    with ThreadingHTTPServer((qemu.LOOPBACK, 0), handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign,assignment]
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1], handler
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "keys"
    path.mkdir()
    return path


def test_the_controller_is_answered_and_nobody_else(
    agent: tuple[int, type[Agent]], credentials: Credentials, keys: Path
) -> None:
    client = Client(credentials, agent[0], keys)
    assert client.version() == "1.0"
    for stranger in (None, credentials.stranger):
        with pytest.raises(Refused):
            client.ask_as(stranger)
    assert client.ask_as(credentials.client) == 200


def test_what_the_agent_is_asked(agent: tuple[int, type[Agent]], credentials: Credentials, keys: Path) -> None:
    client = Client(credentials, agent[0], keys)
    client.plug_vip("10.0.3.15", "10.0.3.0/24", "10.0.3.2", "52:54:00:00:03:0f", "10.0.3.16")
    client.upload("lb", "global\n")
    client.start("lb")
    (_, _, network), *others = agent[1].asked
    assert agent[1].asked[0][:2] == ("POST", "/1.0/plug/vip/10.0.3.15")
    assert json.loads(network)["mac_address"] == "52:54:00:00:03:0f"
    assert others == [
        ("PUT", f"/1.0/loadbalancer/{credentials.amphora_id}/lb/haproxy", b"global\n"),
        ("PUT", "/1.0/loadbalancer/lb/start", b""),
    ]
    with pytest.raises(Rejected, match=r"PUT /1.0/loadbalancer/bad/start: 500 .* the reason"):
        client.start("bad")


def test_another_amphora_is_not_talked_to(agent: tuple[int, type[Agent]], credentials: Credentials, keys: Path) -> None:
    """The certificate has to name the amphora that is meant, not only to be of the right authority."""
    from dataclasses import replace

    client = Client(replace(credentials, amphora_id="another"), agent[0], keys)
    with pytest.raises(NoAnswer, match="another"):
        client.version()
    assert agent[1].asked == []


def test_nobody_there_is_no_answer(credentials: Credentials, keys: Path) -> None:
    with pytest.raises(NoAnswer, match="refused"):
        Client(credentials, qemu.free_port(), keys).version()


def test_members_know_who_asked_them_what() -> None:
    with two_backends() as (one, two):
        for path in ("/a", HEALTH, "/b"):
            with urlopen(f"http://{qemu.LOOPBACK}:{one.port}{path}") as reply:
                assert reply.read() == b"one"
        assert (one.asked, two.asked) == (["/a", "/b"], [])
        one.stop()
        with pytest.raises(URLError):
            urlopen(f"http://{qemu.LOOPBACK}:{one.port}/", timeout=5)
        with urlopen(f"http://{qemu.LOOPBACK}:{two.port}/c") as reply:
            assert reply.read() == b"two"


def test_a_packet_can_not_fill_the_memory() -> None:
    """Whoever has the key may still be broken."""
    assert heartbeat._LONGEST < 2**24
    with pytest.raises(Forged):
        opened(packed({"x": "0" * 2**24}), KEY)


def test_an_answer_can_not_fill_the_memory() -> None:
    long = Backend("x" * 2**22)
    try:
        with (
            requests.get(f"http://{qemu.LOOPBACK}:{long.port}/", stream=True, timeout=30) as reply,
            pytest.raises(Rejected, match="longer than 1 MiB"),
        ):
            body(reply)
    finally:
        long.stop()


def test_a_flood_of_packets_ends_no_later_than_any_other() -> None:
    with receiving(KEY) as receiver, socket.socket(type=socket.SOCK_DGRAM) as sender:
        sender.connect((qemu.LOOPBACK, receiver.port))
        over = threading.Event()

        def flood() -> None:
            while not over.is_set():
                sender.send(b"?")

        thread = threading.Thread(target=flood)
        thread.start()
        try:
            for _ in range(5):
                assert receiver.newest() is None
        finally:
            over.set()
            thread.join()
        assert len(receiver.forged) <= heartbeat._PACKETS


def test_a_client_that_goes_away_is_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    one = Backend("x" * 2**22)
    try:
        with socket.create_connection((qemu.LOOPBACK, one.port)) as gone:
            gone.sendall(b"GET /gone HTTP/1.0\r\n\r\n")
            while not one.asked:
                time.sleep(0.01)
            gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with urlopen(f"http://{qemu.LOOPBACK}:{one.port}/") as reply:
            assert reply.read(1) == b"x"
        time.sleep(0.2)  # for what would be printed
    finally:
        one.stop()
    assert capfd.readouterr().err == ""


def test_a_reserved_port_is_for_one_machine_alone() -> None:
    """Who asks for any free port gets another one, and QEMU, which says SO_REUSEADDR, can listen there."""
    with qemu.reserved_port() as port, socket.socket() as machine, socket.socket() as other:
        machine.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind((qemu.LOOPBACK, port))
        machine.bind((qemu.LOOPBACK, port))
        machine.listen()
        with socket.create_connection((qemu.LOOPBACK, port)):
            assert machine.accept()[1][0] == qemu.LOOPBACK
