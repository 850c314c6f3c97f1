"""What is read of the host: apt's sources, pip's configuration, proxies."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from samples import HOST

from diskimage_create import host
from diskimage_create.host import AptSource, _apt_sources, _package_index, _pip_configuration

ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb http://a.example/debian bookworm main contrib
deb [arch=amd64 signed-by=/usr/share/keyrings/x.gpg] https://b.example/debian  bookworm-updates main  # remark
deb-src http://a.example/debian bookworm main
deb cdrom:[Debian GNU/Linux 12]/ bookworm main
   deb\thttp://c.example/security bookworm-security main
deb file:///srv/packages ./
debris http://d.example x y
"""
DEB822 = """\
# A comment before it all
Types: deb deb-src
URIs: http://a.example/debian http://b.example/debian
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb-src
URIs: http://src.example/debian
Suites: trixie

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: trixie

URIs: http://no-types.example/debian
Suites: trixie

Types: deb
URIs: https://c.example/security
Suites:
 trixie-security
"""


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_apt_sources_of_one_line(tmp_path: Path) -> None:
    write(tmp_path / "sources.list", ONE_LINE)
    assert list(_apt_sources(tmp_path)) == [
        AptSource("http://a.example/debian", "bookworm"),
        AptSource("https://b.example/debian", "bookworm-updates"),
        AptSource("http://c.example/security", "bookworm-security"),
    ]


def test_apt_sources_of_paragraphs(tmp_path: Path) -> None:
    write(tmp_path / "sources.list.d/debian.sources", DEB822)
    assert [f"{source.uri} {source.suite}" for source in _apt_sources(tmp_path)] == [
        "http://a.example/debian trixie",
        "http://a.example/debian trixie-updates",
        "http://b.example/debian trixie",
        "http://b.example/debian trixie-updates",
        "https://c.example/security trixie-security",
    ]


def test_files_that_apt_does_not_read_are_not_read(tmp_path: Path) -> None:
    for name in ("old.list.save", "new.list.disabled", "README", "x.sources.bak"):
        write(tmp_path / "sources.list.d" / name, "deb http://wrong.example/debian bookworm main\n")
    (tmp_path / "sources.list.d/latin1.list").write_bytes(b"# \xe9\ndeb http://right.example/debian bookworm main\n")
    (tmp_path / "sources.list.d/directory.list").mkdir()
    assert [source.uri for source in _apt_sources(tmp_path)] == ["http://right.example/debian"]
    assert list(_apt_sources(tmp_path / "nowhere")) == []


def test_the_mirror_is_the_distribution_s_and_not_a_vendor_s() -> None:
    """Vendors' suites are called trixie too, and their files sort before debian.sources."""
    sources = (
        AptSource("https://packages.vendor.example/deb", "trixie"),
        AptSource("http://mirror.example/debian", "trixie"),
        AptSource("http://mirror.example/debian", "trixie-updates"),
        AptSource("http://mirror.example/security", "trixie-security"),
    )
    debian = replace(HOST, distribution="debian", codename="trixie", apt_sources=sources)
    assert debian.mirror("debian") == "http://mirror.example/debian"
    assert debian.security_mirror("debian") == "http://mirror.example/security"
    assert (debian.mirror("ubuntu"), debian.security_mirror("ubuntu")) == (None, None)
    assert replace(debian, apt_sources=sources[1:2]).mirror("debian") == "http://mirror.example/debian"
    assert replace(debian, apt_sources=()).mirror("debian") is None


@pytest.fixture
def pip_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Places of pip's configuration, from the weakest to the strongest, none of them the host's."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    return {
        "system": tmp_path / "xdg/pip/pip.conf",
        "legacy": tmp_path / "home/.pip/pip.conf",
        "user": tmp_path / "home/.config/pip/pip.conf",
        "venv": tmp_path / "venv/pip.conf",
        "named": tmp_path / "named.conf",
    }


def environ_for(files: dict[str, Path], *, named: bool = False) -> dict[str, str]:
    root = files["named"].parent
    environ = {"HOME": str(root / "home"), "XDG_CONFIG_DIRS": str(root / "xdg")}
    return {**environ, "PIP_CONFIG_FILE": str(files["named"])} if named else environ


def test_later_files_of_pip_win(pip_files: dict[str, Path]) -> None:
    for number, place in enumerate(("system", "legacy", "user", "venv")):
        write(pip_files[place], f"[global]\nindex-url = https://{place}.example\nlevel{number} = x\n")
        found = _pip_configuration(environ_for(pip_files))
        assert found["index-url"] == f"https://{place}.example"
        assert f"level{number}" in found


def test_the_file_that_pip_s_variable_names_wins_and_hides_the_user_s(pip_files: dict[str, Path]) -> None:
    for place in pip_files:
        write(pip_files[place], f"[global]\nindex-url = https://{place}.example\n{place} = x\n")
    found = _pip_configuration(environ_for(pip_files, named=True))
    assert found["index-url"] == "https://named.example"
    assert {"system", "venv", "named"} <= set(found)
    assert not {"legacy", "user"} & set(found)
    assert _pip_configuration({**environ_for(pip_files), "PIP_CONFIG_FILE": os.devnull}) == {}


def test_the_section_of_the_command_wins_over_the_global_one(pip_files: dict[str, Path]) -> None:
    write(pip_files["system"], "[install]\nindex_url = https://install.example\n[wheel]\nfind-links = x\n")
    write(pip_files["venv"], "[global]\nindex-url = https://global.example\n")
    found = _pip_configuration(environ_for(pip_files))
    assert found["index-url"] == "https://install.example"
    assert "find-links" not in found


@pytest.mark.parametrize("content", [b"no section = x", b"[global\n", b"\xff\xfe\x00", b"[global]\nx"])
def test_a_broken_file_of_pip_is_passed_over(pip_files: dict[str, Path], content: bytes) -> None:
    write(pip_files["venv"], "").write_bytes(content)
    write(pip_files["user"], "[global]\nindex-url = https://user.example\n")
    assert _pip_configuration(environ_for(pip_files))["index-url"] == "https://user.example"


@pytest.mark.subprocess("pip itself says what it reads")
@pytest.mark.parametrize("named", [False, True])
def test_pip_reads_the_same(pip_files: dict[str, Path], named: bool) -> None:
    for place in ("system", "legacy", "user", "named"):
        write(pip_files[place], f"[global]\nindex-url = https://{place}.example\n[install]\nfind_links = /{place}\n")
    environ = {**environ_for(pip_files, named=named), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], env=environ, capture_output=True, text=True, check=True
    ).stdout
    said = dict(
        line.replace("'", "").split("=", 1) for line in told.splitlines() if line.startswith(("global.", "inst"))
    )
    found = _pip_configuration(environ)
    assert found["index-url"] == said["global.index-url"]
    assert found["find-links"] == said["install.find-links"]


def test_indexes_from_the_environment_win_and_are_told_to_uv(pip_files: dict[str, Path]) -> None:
    text = "index-url = https://file.example\nextra-index-url =\n  https://one.example\n  https://two.example\n"
    write(pip_files["user"], f"[global]\n{text}")
    environ = environ_for(pip_files)
    settings, unreachable = _package_index(environ)
    assert settings == {
        **dict.fromkeys(("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), "https://file.example"),
        **dict.fromkeys(("PIP_EXTRA_INDEX_URL", "UV_INDEX"), "https://one.example https://two.example"),
    }
    assert unreachable == ()
    settings, _ = _package_index({**environ, "PIP_INDEX_URL": "https://pip.example"})
    assert (settings["PIP_INDEX_URL"], settings["UV_DEFAULT_INDEX"]) == ("https://pip.example", "https://pip.example")
    settings, _ = _package_index({**environ, "UV_DEFAULT_INDEX": "https://uv.example"})
    assert (settings["PIP_INDEX_URL"], settings["UV_DEFAULT_INDEX"]) == ("https://file.example", "https://uv.example")


def test_indexes_on_the_host_s_disk_are_not_lent(pip_files: dict[str, Path]) -> None:
    text = "index-url = file:///opt/simple\nfind-links = /opt/wheels https://wheels.example\n"
    write(pip_files["venv"], f"[global]\n{text}")
    settings, unreachable = _package_index(environ_for(pip_files))
    assert settings == {"PIP_FIND_LINKS": "https://wheels.example", "UV_FIND_LINKS": "https://wheels.example"}
    assert unreachable == ("file:///opt/simple", "/opt/wheels")


def test_this_host(tmp_path: Path) -> None:
    bundle = write(tmp_path / "bundle.pem", "x")
    environ = {"http_proxy": "http://p:1", "NO_PROXY": "localhost", "https_proxy": "", "HOME": str(tmp_path)}
    found = host.detect({**environ, "SSL_CERT_FILE": str(bundle)})
    assert found.proxies == {"http_proxy": "http://p:1", "NO_PROXY": "localhost"}
    assert found.ca_bundle == bundle
    assert found.arch == host.MACHINES.get(platform.machine(), platform.machine())
    assert found.memory_bytes > 2**20
    assert host.detect({**environ, "SSL_CERT_FILE": "/nowhere"}).ca_bundle != Path("/nowhere")


def test_facts_do_not_show_secrets() -> None:
    facts = replace(
        HOST, proxies={"http_proxy": "http://u:canary@p"}, package_index={"PIP_INDEX_URL": "https://canary@h"}
    )
    assert "canary" not in repr(facts)
