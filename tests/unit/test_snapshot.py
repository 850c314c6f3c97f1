"""A dated state of the archives: the request, and what a build makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import samples
from hypothesis import given
from hypothesis import strategies as st
from server import Server, serving

from diskimage_create import snapshot
from diskimage_create.dated import resolve_snapshot
from diskimage_create.errors import InputError, RemoteError
from diskimage_create.model import BuildPlan, Source

THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ID = "20260102T030405Z"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as state:
        yield state


# the request


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("20260102T030405Z", ID),
        ("2026-01-02T03:04:05Z", ID),
        ("2026-01-02T05:04:05.9+02:00", ID),
        (" 2026-01-02 03:04:05 ", ID),
        ("20260102", "20260102T000000Z"),
        ("2026-01-02", "20260102T000000Z"),
    ],
)
def test_times(text: str, means: str) -> None:
    assert snapshot.timestamp(text) == means
    setting = samples.read({"os": "debian", "snapshot": text}).environment[snapshot.TIMESTAMP]
    assert (setting.value, setting.source) == (means, Source.FLAG)


@given(st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(2026, 1, 1), timezones=st.timezones()))
def test_every_time_is_written_in_utc(moment: datetime) -> None:
    assert snapshot.moment(snapshot.timestamp(moment.isoformat())) == moment.astimezone(UTC).replace(microsecond=0)


@given(st.text())
def test_garbage_is_no_time(text: str) -> None:
    try:
        assert snapshot.moment(snapshot.timestamp(text)) <= datetime.now(UTC)
    except ValueError:
        pass


TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()


@pytest.mark.parametrize(
    ("options", "environ", "problems"),
    [
        ({"snapshot": "yesterday"}, {}, {"'yesterday' is no point in time (--snapshot)"}),
        ({"snapshot": ""}, {}, {"'' is no point in time (--snapshot)"}),
        ({"snapshot": TOMORROW}, {}, {f"'{TOMORROW}' is still to come (--snapshot)"}),
        ({"snapshot": ID, "os": "centos"}, {}, {"snapshots are not available for centos (--snapshot)"}),
        ({"snapshot": ID, "os": "fedora"}, {}, {"snapshots are not available for fedora (--snapshot)"}),
        (
            {"snapshot": "x", "env": ("DIB_APT_SOURCES=/x",)},
            {
                "DIB_OFFLINE": "1",
                snapshot.MIRROR: "https://h/no-place-for-it",
                snapshot.SECURITY_MIRROR: "@SNAPSHOTID@",
            },
            {
                "'x' is no point in time (--snapshot)",
                "DIB_APT_SOURCES brings in packages of another time than the snapshot's (DIB_APT_SOURCES)",
                "DIB_OFFLINE brings in packages of another time than the snapshot's (DIB_OFFLINE)",
                f"it is no address with a place for the time ({snapshot.MIRROR})",
                f"it is no address with a place for the time ({snapshot.SECURITY_MIRROR})",
            },
        ),
    ],
)
def test_what_is_refused(options: dict[str, Any], environ: dict[str, str], problems: set[str]) -> None:
    with pytest.raises(InputError) as refused:
        samples.read({"os": "debian", **options}, environ)
    assert {str(problem) for problem in refused.value.problems} == problems


def test_the_plan_shows_the_request_and_it_is_an_input() -> None:
    plans = [samples.plan({"os": "debian", "snapshot": text}) for text in ("2026-01-02", "2026-01-03")]
    assert plans[0].environment[snapshot.TIMESTAMP].shown == "20260102T000000Z"
    assert plans[0].fingerprint != plans[1].fingerprint
    assert plans[0].fingerprint == samples.plan({"os": "debian", "snapshot": "20260102T000000Z"}).fingerprint


def test_a_mirror_without_a_request_means_nothing() -> None:
    assert snapshot.MIRROR not in samples.read({"os": "debian"}, {snapshot.MIRROR: "rubbish"}).environment


# the dated archives

pytest_bash = pytest.mark.subprocess("bash sources environment.d")


def release(date: datetime = THEN, **fields: str) -> bytes:
    lines = [f"{name}: {value}" for name, value in {"Origin": "Ours", **fields}.items()]
    return "\n".join(
        [
            "-----BEGIN PGP SIGNED MESSAGE-----",
            "Hash: SHA256",
            "",
            *lines,
            f"Date: {format_datetime(date)}",
            "SHA256:",
            " 00 1 Packages",
        ]
    ).encode()


def publish(server: Server, archive: str, suites: list[str], date: datetime = THEN, **fields: str) -> None:
    for suite in suites:
        server.files[f"{archive}/dists/{suite}/InRelease"] = release(date, **fields)


def debian(server: Server, user: str = "", **environ: str) -> BuildPlan:
    """A plan for bookworm from a mirror that has dated copies of both archives, and says so."""
    for archive, suites in (("debian", ["bookworm", "bookworm-updates"]), ("debian-security", ["bookworm-security"])):
        publish(server, f"/{archive}", suites, Snapshots=server.url(f"/snapshot/@SNAPSHOTID@/{archive}/"))
        publish(server, f"/snapshot/{ID}/{archive}", suites)
    mirrors = {
        "DIB_DISTRIBUTION_MIRROR": server.url("/debian/", user),
        "DIB_DEBIAN_SECURITY_MIRROR": server.url("/debian-security", user),
    }
    return samples.plan({"os": "debian", "release": "bookworm", "snapshot": ID}, {**mirrors, **environ})


@pytest_bash
def test_a_build_installs_from_the_dated_archives_alone(server: Server) -> None:
    plan = debian(server)
    dated = samples.values(resolve_snapshot(plan).environment)
    main, security = server.url(f"/snapshot/{ID}/debian"), server.url(f"/snapshot/{ID}/debian-security")
    assert dated["DIB_DISTRIBUTION_MIRROR"] == main
    assert dated["DIB_APT_SOURCES_CONF"].splitlines() == [
        f"default:deb {main} bookworm main",
        f"updates:deb {main} bookworm-updates main",
        f"security:deb {security} bookworm-security main",
    ]
    assert dated["DISKIMAGE_CREATE_SNAPSHOT_SOURCES"].splitlines() == [
        f"{main} {server.url('/debian')}",
        f"{security} {server.url('/debian-security')}",
    ]


@pytest_bash
def test_nothing_is_asked_without_a_request() -> None:
    plan = samples.plan({"os": "debian"}, {"DIB_DISTRIBUTION_MIRROR": "http://mirror.invalid/debian"})
    assert resolve_snapshot(plan) is plan


@pytest_bash
def test_archives_of_the_users_own_are_dated_too(server: Server) -> None:
    publish(server, "/own", ["stable"], Snapshots=server.url("/own-@SNAPSHOTID@"))
    publish(server, f"/own-{ID}", ["stable"])
    lines = (
        f"default:deb {server.url('/debian')} bookworm main\nown:deb  [arch=amd64]\t{server.url('/own/')}\tstable main"
    )
    dated = samples.values(resolve_snapshot(debian(server, DIB_APT_SOURCES_CONF=lines)).environment)
    assert dated["DIB_APT_SOURCES_CONF"].splitlines()[1] == (
        f"own:deb  [arch=amd64] {server.url(f'/own-{ID}')} stable main"
    )


@pytest_bash
@pytest.mark.parametrize("with_path", [True, False])
def test_the_user_may_name_where_they_are(server: Server, with_path: bool) -> None:
    named = {
        snapshot.MIRROR: server.url("/named/@PATH@/@TIMESTAMP@" if with_path else "/named/debian/@SNAPSHOTID@/"),
        snapshot.SECURITY_MIRROR: "" if with_path else server.url("/named/debian-security/@SNAPSHOTID@"),
    }
    plan = debian(server, **named)
    publish(server, f"/named/debian/{ID}", ["bookworm", "bookworm-updates"])
    publish(server, f"/named/debian-security/{ID}", ["bookworm-security"])
    dated = samples.values(resolve_snapshot(plan).environment)
    assert dated["DIB_DISTRIBUTION_MIRROR"] == server.url(f"/named/debian/{ID}")
    assert server.url(f"/named/debian-security/{ID} bookworm-security") in dated["DIB_APT_SOURCES_CONF"]


@pytest_bash
def test_ubuntu(server: Server) -> None:
    suites = ["noble", "noble-updates", "noble-security", "noble-backports"]
    publish(server, "/ubuntu", suites, Snapshots=server.url("/ubuntu-@SNAPSHOTID@"))
    publish(server, f"/ubuntu-{ID}", suites)
    plan = samples.plan({"os": "ubuntu", "snapshot": ID}, {"DIB_DISTRIBUTION_MIRROR": server.url("/ubuntu")})
    dated = samples.values(resolve_snapshot(plan).environment)
    assert dated["DIB_DISTRIBUTION_MIRROR"] == server.url(f"/ubuntu-{ID}")
    assert "DIB_APT_SOURCES_CONF" not in dated


@pytest_bash
def test_credentials_are_for_the_server_that_they_are_for(server: Server) -> None:
    server.password = "me:pw-canary"
    plan = resolve_snapshot(debian(server, "me:pw-canary@"))
    for name in ("DIB_DISTRIBUTION_MIRROR", "DIB_APT_SOURCES_CONF", "DISKIMAGE_CREATE_SNAPSHOT_SOURCES"):
        assert f"me:pw-canary@{server.address}/snapshot/{ID}" in plan.environment[name].value
        assert "pw-canary" not in plan.environment[name].shown


@pytest_bash
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"Snapshots": "no"}, "bookworm-security: its archive says nothing of snapshots"),
        ({"Snapshots": "https://h.invalid/"}, "bookworm-security: its archive says where"),
        ({}, "bookworm-security: its archive says nothing of snapshots"),
    ],
)
def test_an_archive_without_snapshots(server: Server, damage: dict[str, str], message: str) -> None:
    plan = debian(server)
    publish(server, "/debian-security", ["bookworm-security"], **damage)
    with pytest.raises(RemoteError, match=message) as refused:
        resolve_snapshot(plan)
    assert refused.value.exit_code == 6
    assert "  bookworm:" not in refused.value.message
    assert snapshot.MIRROR in str(refused.value.hint)


@pytest_bash
def test_every_suite_that_is_missing_is_named(server: Server) -> None:
    plan = debian(server)
    publish(server, f"/snapshot/{ID}/debian-security", ["bookworm-security"], THEN + timedelta(seconds=1))
    server.broken["/debian/dists/bookworm/InRelease"] = 500
    server.broken[f"/snapshot/{ID}/debian/dists/bookworm-updates/InRelease"] = 429
    with pytest.raises(RemoteError) as refused:
        resolve_snapshot(plan)
    assert "bookworm: the server answers with status 500" in refused.value.message
    assert "bookworm-updates: of its snapshots: the server answers with status 429" in refused.value.message
    assert "bookworm-security: what is served as its snapshot is younger" in refused.value.message
    assert "127.0.0.1" not in refused.value.message


@pytest_bash
def test_what_apt_knows_of_the_distributions(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = debian(server)
    publish(server, "/debian", ["bookworm", "bookworm-updates"], Origin="Debian", Label="Debian")
    publish(server, "/debian-security", ["bookworm-security"], Origin="Debian", Label="Debian-Security")
    known = [
        ("Label", "Debian-Security", server.url("/s/security/@SNAPSHOTID@")),
        ("Origin", "Debian", server.url("/s/main/@SNAPSHOTID@")),
    ]
    monkeypatch.setattr("diskimage_create.dated._KNOWN", known)
    publish(server, f"/s/main/{ID}", ["bookworm", "bookworm-updates"])
    publish(server, f"/s/security/{ID}", ["bookworm-security"])
    dated = samples.values(resolve_snapshot(plan).environment)
    assert dated["DIB_DISTRIBUTION_MIRROR"] == server.url(f"/s/main/{ID}")
    assert dated["DIB_DEBIAN_SECURITY_MIRROR"] == server.url(f"/s/security/{ID}")
