"""What a build is given, and what it must not tell."""

from __future__ import annotations

import io
import os
import re
import shlex
import stat
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from samples import HOST, plan, values

from diskimage_create import build, elements, process
from diskimage_create.errors import BuildError, HostError, InputError
from diskimage_create.progress import Lines, Tracker
from diskimage_create.workspace import Workspace


@pytest.fixture
def work(tmp_path: Path) -> Workspace:
    made = Workspace(tmp_path)
    for directory in (made.tmp, made.out, made.disk):
        directory.mkdir()
    return made


def test_the_secrets_of_a_plan() -> None:
    environ = {
        "DIB_DEV_USER_PASSWORD": "p@ss://word",
        "DIB_DISTRIBUTION_MIRROR": "https://user:first@host/debian",
        "DIB_REPOLOCATION_x": "https://sometoken@git.example/x",
        "DIB_EMPTY_TOKEN": "",
    }
    index = {"PIP_EXTRA_INDEX_URL": "https://u:one@a/simple https://u:two@b/simple"}
    made = plan({"root_password": "r00t"}, environ, host=replace(HOST, package_index=index))
    found = sorted(build.secrets(made).values())
    assert found == sorted(["r00t", "p@ss://word", "first", "sometoken", "one", "two"])
    assert build.secrets(plan({"os": "debian"})) == {}


def test_secrets_are_replaced_in_every_line() -> None:
    redact = build.redactor({"a": "secret", "b": "secretive.*", "c": "first line\nsecond line\n\n", "d": ""})
    assert redact("+ x=secret; y=secretive.*; secretary") == "+ x=***; y=***; ***ary"
    assert redact("first line") == "***"
    assert redact("and second line.") == "and ***."
    assert redact("") == ""
    assert build.redactor({"empty": ""})("as it is") == "as it is"
    assert build.redactor({})("as it is") == "as it is"


def test_what_the_host_lends_and_the_image_must_not_keep() -> None:
    host = replace(
        HOST,
        proxies={"http_proxy": "http://proxy:1", "no_proxy": "localhost"},
        package_index={"PIP_INDEX_URL": "https://index.example"},
    )
    assert build.lent(plan({}, host=host), host) == {
        "http_proxy": "http://proxy:1",
        "PIP_INDEX_URL": "https://index.example",
    }
    own = plan({"env": ("http_proxy=http://mine:1",)}, host=host)
    assert "http_proxy" not in build.lent(own, host)


def test_the_environment_of_a_build_has_nothing_by_accident(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plan({"os": "debian"}, {"DIB_MINE": "x"})
    for name in list(os.environ):
        if name not in ("PATH", "HOME", "PYTEST_CURRENT_TEST"):
            monkeypatch.delenv(name)
    accidents = {
        **{"DISKIMAGE_CREATE_ROOT_PASSWORD": "canary", "DIB_PASSWORD": "canary", "AWS_SECRET_ACCESS_KEY": "canary"},
        **{"PYTHONPATH": "/canary", "VIRTUAL_ENV": "/canary", "DIB_LATER": "canary", "BASH_ENV": "/canary"},
        **{"TMPDIR": "/canary", "LD_PRELOAD": "/canary", "http_proxy": "canary", "LANG": "C.UTF-8"},
    }
    for name, value in accidents.items():
        monkeypatch.setenv(name, value)
    environment = build._environment(made, work)
    ours = {"HOME", "USER", "LANG", "PATH", "TMP_DIR", "TMPDIR", "DIB_LOCKFILES", "DIB_NO_TIMESTAMP", "DIB_PYTHON_EXEC"}
    assert set(environment) == ours | set(made.environment)
    assert "canary" not in str(environment)
    assert environment["TMP_DIR"] == environment["TMPDIR"] == str(work.tmp)
    assert environment["DIB_PYTHON_EXEC"] == sys.executable
    changed = {name for name, value in values(made.environment).items() if environment[name] != value}
    assert changed <= {"DIB_BLOCK_DEVICE_CONFIG"}
    assert str(work.disk) in environment["DIB_BLOCK_DEVICE_CONFIG"]


def test_a_checkout_of_diskimage_builder_goes_first(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIB_REPO_PATH", str(work.path / "dib"))
    parts = build._environment(plan(), work)["PATH"].split(":")
    assert parts[0] == str(work.path / "dib/bin")


@pytest.mark.subprocess("openssl hashes the password")
def test_the_password_travels_hashed_in_a_file_of_mode_0600(work: Workspace) -> None:
    password = "s3cret: with $pecial ünicode"
    made = plan({"root_password": password})
    environment = build._environment(made, work)
    assert password not in str(environment)
    assert "DIB_PASSWORD" not in environment
    path = Path(environment["DISKIMAGE_CREATE_ROOT_PASSWORD_FILE"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert work.tmp not in path.parents, "diskimage-builder's directories may be copied into the image"
    match = re.fullmatch(r"root:(\$6\$([^$]+)\$[./0-9A-Za-z]+)\n", path.read_text())
    assert match
    again = process.run(["openssl", "passwd", "-6", "-salt", match[2], "-stdin"], input=password)
    assert again.stdout.strip() == match[1]


def test_octavia_s_own_element_gets_the_password_it_knows(work: Workspace, tmp_path: Path) -> None:
    (tmp_path / "octavia/elements/root-passwd").mkdir(parents=True)
    made = plan({"root_password": "canary"}, {"OCTAVIA_REPO_PATH": str(tmp_path / "octavia")})
    environment = build._environment(made, work)
    assert environment["DIB_PASSWORD"] == "canary"
    assert "DISKIMAGE_CREATE_ROOT_PASSWORD_FILE" not in environment
    assert any("DIB_PASSWORD" in note for note in made.notes)
    ours = next(element for element in plan({"root_password": "x"}).resolved if element.name == "root-passwd")
    assert ours.path.is_relative_to(elements.OURS.resolve())


@pytest.mark.parametrize("root", [True, False])
def test_a_build_is_fenced_in(root: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "is_root", lambda: root)
    environment: Mapping[str, str] = {"PATH": "/p", "HOME": "/h", "USER": "u"}
    command = build._fenced(["/x/disk-image-create", "vm"], environment)
    assert command[-2:] == ["/x/disk-image-create", "vm"]
    line = shlex.join(command)
    assert "setpriv --pdeathsig KILL unshare --fork --pid --mount-proc --mount --ipc --kill-child=SIGKILL --" in line
    assert (command[0] == "sudo") != root
    assert (f"--reuid={os.getuid()}" in command) != root


def fake_builder(monkeypatch: pytest.MonkeyPatch, work: Workspace, script: str) -> None:
    """A small shell script in place of disk-image-create, without namespaces (which need root)."""
    program = work.path / "disk-image-create"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(build, "_disk_image_create", lambda _environment: str(program))
    monkeypatch.setattr(build, "_fenced", lambda command, _environment: command)


@pytest.mark.subprocess("a shell script in place of disk-image-create")
def test_the_log_has_every_line_with_the_time_and_no_secret(work: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_builder(monkeypatch, work, 'echo "mirror $DIB_DISTRIBUTION_MIRROR"; echo x > amphora.raw; echo done >&2')
    made = plan({"output": "amphora", "env": ("DIB_DISTRIBUTION_MIRROR=http://u:canary@h/d",)})
    log = io.StringIO()
    heard: list[str] = []
    assert build.run_build(made, work, Tracker(Lines()), log, {}, heard.append) == work.out / "amphora.raw"
    first, *lines = log.getvalue().splitlines()
    assert "disk-image-create -a amd64 -o amphora -t raw" in first
    assert all(re.match(r"\d\d:\d\d:\d\d\.\d{6} ", line) for line in (first, *lines))
    assert [line.split(" ", 1)[1] for line in lines] == ["mirror http://u:***@h/d", "done"]


@pytest.mark.subprocess("a shell script in place of disk-image-create")
@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'dib-run-parts Running /h/install.d/75-x'; echo E: canary; exit 9", "exit status 9 in install.d/75-x"),
        ("kill -9 $$", "signal 9 outside any element script"),
        ("true", "exit status 0"),
    ],
    ids=["a script failed", "killed", "no image"],
)
def test_a_failure_says_where_and_shows_why(
    work: Workspace, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    fake_builder(monkeypatch, work, script)
    made = plan({"root_password": None, "env": ("DIB_X_TOKEN=canary",)})
    with pytest.raises(BuildError, match=message) as caught:
        build.run_build(made, work, Tracker(Lines()), io.StringIO(), {}, str)
    assert "canary" not in caught.value.message
    if "E:" in script:
        assert "| E: ***" in caught.value.message


def test_the_log_is_kept_when_the_build_fails(tmp_path: Path) -> None:
    spec = plan({"output": str(tmp_path / "amphora"), "logfile": str(tmp_path / "mine.log")}).spec

    def interrupted() -> None:
        with build.build_log(spec) as log:
            log.write("a line\n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "amphora.log").read_text() == (tmp_path / "mine.log").read_text() == "a line\n"


def test_one_build_at_a_time_to_an_output(tmp_path: Path) -> None:
    spec = plan({"output": str(tmp_path / "amphora")}).spec
    with build.build_log(spec) as log:
        log.write("a line\n")
        with pytest.raises(InputError, match=r"another build to .*amphora is running"), build.build_log(spec):
            pass
    assert (tmp_path / "amphora.log").read_text() == "a line\n"
    with build.build_log(spec):
        pass
    assert (tmp_path / "amphora.log").read_text() == ""


def test_a_log_that_cannot_be_written_or_copied_says_which(tmp_path: Path) -> None:
    (tmp_path / "amphora.log").symlink_to("/dev/full")
    spec = plan({"output": str(tmp_path / "amphora")}).spec
    with pytest.raises(BuildError, match=r"No space left on device \(.*amphora\.log\)"), build.build_log(spec) as log:
        build._write(log, "a line\n")
    other = replace(spec, output=tmp_path / "other", logfile=tmp_path / "gone/mine.log")
    with pytest.raises(BuildError, match=r"No such file or directory \(.*gone/mine\.log\)"), build.build_log(other):
        pass
    with pytest.raises(KeyboardInterrupt), build.build_log(other):
        raise KeyboardInterrupt


def test_without_diskimage_builder_there_is_no_build(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="not installed"):
        build._disk_image_create({"PATH": str(tmp_path)})
