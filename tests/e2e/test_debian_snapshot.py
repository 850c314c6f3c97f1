"""``--snapshot``, built for real from a mirror that the tests make themselves, and that has a past."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from building import Built, leftovers, run_build
from mirror import (
    download,
    index_suite,
    link,
    make_key,
    make_package,
    served,
    sign,
    signing_home,
    skip_where_none_can_be_made,
    without_epoch,
)
from test_ubuntu import on_mirror

#: When the dated state was published, and when its Release files expired: long ago
THEN, ID = "Thu, 01 Jan 2026 00:00:00 UTC", "20260102T000000Z"
EXPIRED = "Thu, 08 Jan 2026 00:00:00 UTC"
SUITES = ("bookworm", "bookworm-updates", "bookworm-security")

#: What the bootstrap installs, and what the elements of an image without a disk ask for
_PACKAGES = tuple(
    """?essential ?priority(required) apt tzdata busybox ca-certificates gnupg libnss-systemd libpam-systemd python3
    sudo systemd-sysv systemd-timesyncd netbase initramfs-tools zstd dbus lsb-release locales python3-yaml""".split()
)
#: Packages of the tests' own: one comes with the bootstrap, one with install.d, each from a suite of its own
_WITNESSES = {"witness-bootstrap": ("bookworm", "required"), "witness-kernel": ("bookworm-security", "optional")}
_ELEMENTS = {"DIB_ELEMENTS": "debian-minimal", "DIB_SKIP_BASE_PACKAGE_INSTALL": "1"}


@dataclass(frozen=True)
class Mirror:
    url: str
    keyring: Path

    @property
    def dated(self) -> str:
        """Where the dated state is."""
        return self.url.replace("/debian", f"/snapshot/debian/{ID}")


def environment(url: str, keyring: Path) -> dict[str, str]:
    """Of a build from a mirror; the security suite is in the same archive."""
    return {**on_mirror(url, keyring), "DIB_DEBIAN_SECURITY_MIRROR": url, **_ELEMENTS}


@pytest.fixture(scope="module")
def mirror(builds: Path, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Mirror]:
    """An archive of today, and a dated one beside it that the first one's Release files speak of."""
    skip_where_none_can_be_made()
    assert pytestconfig.cache is not None
    packages = download(pytestconfig.cache.mkdir("snapshot-mirror"), ("no", _PACKAGES))
    directory = tmp_path_factory.mktemp("snapshot")
    with served(directory / "www") as address, signing_home() as home:
        keyring = make_key(home, "mirror of the tests", directory / "mirror.gpg")
        today, dated = directory / "www/debian", directory / f"www/snapshot/debian/{ID}"
        for archive, version in ((today, "2.0"), (dated, "1.0")):
            _fill(archive, packages, version)
            for suite in SUITES:
                index_suite(archive, suite, ["main"], {"Origin": "Tests", "Label": "Tests", "Codename": "bookworm"})
        for suite in SUITES:
            _edit(today / "dists" / suite, f"Snapshots: {address}/snapshot/debian/@SNAPSHOTID@/\nDate:")
            _edit(dated / "dists" / suite, f"Valid-Until: {EXPIRED}\nDate:", THEN)
            sign(home, "mirror of the tests", today / "dists" / suite)
            sign(home, "mirror of the tests", dated / "dists" / suite)
        yield Mirror(f"{address}/debian", keyring)


def _fill(archive: Path, packages: list[Path], version: str) -> None:
    for suite in SUITES:
        (archive / "pool" / suite / "main").mkdir(parents=True)
    for package in packages:
        link(package, archive / "pool/bookworm/main" / without_epoch(package.name))
    for name, (suite, priority) in _WITNESSES.items():
        make_package(archive / "pool" / suite / "main", name, version, priority=priority)


def _edit(dist: Path, date: str, moment: str | None = None) -> None:
    """Write fields before a Release file's date, and another date."""
    release = dist / "Release"
    text = re.sub("^Date:", date, release.read_text(), flags=re.MULTILINE)
    release.write_text(re.sub("^Date: .*", f"Date: {moment}", text, flags=re.MULTILINE) if moment else text)


def build(directory: Path, url: str, keyring: Path, *arguments: str) -> Built:
    directory.mkdir()
    common = ("-i", "debian", "-d", "bookworm", "-k", "witness-kernel", "-t", "tar", "--no-validate")
    return run_build(directory, *common, *arguments, env=environment(url, keyring))


@pytest.fixture(scope="module")
def dated(builds: Path, mirror: Mirror) -> Built:
    """An image of the dated state."""
    built = build(builds / "dated", mirror.url, mirror.keyring, "--snapshot", "2026-01-02")
    assert built.returncode == 0, built.stderr[-4000:]
    assert leftovers() == set()
    return built


def test_the_packages_are_those_of_that_time(dated: Built) -> None:
    versions = {package["package"]: package["version"] for package in dated.record("tar")["packages"]}
    assert {name: versions[name] for name in _WITNESSES} == dict.fromkeys(_WITNESSES, "1.0")


def test_the_record_shows_the_request_and_the_dated_archives(dated: Built, mirror: Mirror) -> None:
    recorded = dated.record("tar")["environment"]
    assert recorded["DISKIMAGE_CREATE_SNAPSHOT"] == ID
    assert recorded["DIB_DISTRIBUTION_MIRROR"] == mirror.dated
    assert recorded["DIB_APT_SOURCES_CONF"].count(mirror.dated) == len(SUITES)


def test_the_image_is_updated_from_the_archives_of_today(dated: Built, mirror: Mirror) -> None:
    with tarfile.open(dated.path("tar")) as tar:
        names = {name.removeprefix("./"): name for name in tar.getnames()}
        texts = {}
        for name, member in names.items():
            if name.startswith("etc/apt/") and tar.getmember(member).isfile():
                file = tar.extractfile(member)
                assert file is not None
                texts[name] = file.read().decode(errors="replace")
    sources = {text.strip() for name, text in texts.items() if "sources.list" in name}
    assert sources == {f"deb {mirror.url} {suite} main" for suite in SUITES}
    assert [name for name, text in texts.items() if "Valid-Until" in text or "snapshot" in text] == []
    assert [name for name in names if name.startswith("var/lib/apt/lists/") and "dists" in name] == []


def test_without_a_snapshot_of_that_time_nothing_is_built(builds: Path, mirror: Mirror, nothing_left: None) -> None:
    built = build(builds / "no-such-snapshot", mirror.url, mirror.keyring, "--snapshot", "2026-01-03")
    assert built.returncode == 6
    for suite in SUITES:
        assert f"  {suite}: it was not there at that time" in built.stderr
    assert list(built.directory.iterdir()) == []


def test_an_archive_that_has_expired_is_refused_otherwise(builds: Path, mirror: Mirror, nothing_left: None) -> None:
    built = build(builds / "expired", mirror.dated, mirror.keyring)
    assert built.returncode == 4
    assert "is expired" in built.log
