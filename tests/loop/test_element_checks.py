"""The checks that elements bring, run in real images: what they say, and what an image cannot do meanwhile."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from diskimage_create import process
from diskimage_create.errors import InputError
from diskimage_create.model import Expectation, Finding, Report, Status, Suite
from diskimage_create.validate import OF_ELEMENTS, How, suites, validate
from diskimage_create.validate.selection import Selection, select
from diskimage_create.validate.suites import sandbox
from made_files import elf

pytestmark = pytest.mark.loop

ImageMaker = Callable[..., Path]
Check = Callable[..., Report]
PROGRAMS = ("sh", "cat", "grep", "id", "ls", "mkdir", "mount", "sleep", "stat", "test", "touch", "uname")


def run(*argv: str | Path) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def write(tree: Path, name: str, content: str | bytes, mode: int = 0o644) -> None:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)


@pytest.fixture(scope="module", autouse=True)
def sandbox_works() -> None:
    """Skip, with the reason, where bubblewrap cannot make namespaces."""
    if not shutil.which("bwrap"):
        pytest.skip("not installed: bwrap (bubblewrap)")
    try:
        run("bwrap", "--unshare-pid", "--unshare-net", "--ro-bind", "/", "/", "true")
    except AssertionError as error:
        pytest.skip(f"no sandbox here: {error}")


@pytest.fixture
def alive(tree: Path) -> Path:
    """A tree with some of this host's programs, which run there."""
    for name in PROGRAMS:
        program = Path(os.path.realpath(shutil.which(name) or "/nowhere"))
        write(tree, f"usr/bin/{name}", program.read_bytes(), 0o755)
        for library in re.findall(r"(/\S+) \(0x", run("ldd", program)):
            write(tree, library.removeprefix("/"), Path(library).read_bytes(), 0o755)
    (tree / "bin").symlink_to("usr/bin")
    write(tree, "usr/bin/hangs", (tree / "usr/bin/sh").read_bytes(), 0o755)
    write(tree, "usr/bin/dpkg", (tree / "usr/bin/cat").read_bytes(), 0o755)
    for place in ("proc", "dev", "run", "tmp"):
        (tree / place).mkdir(exist_ok=True)
    return tree


@pytest.fixture
def check(alive: Path, make_image: ImageMaker, expectation: Expectation, tmp_path: Path) -> Check:
    """Makes tests those of the element vm, and runs them in an image."""

    def validated(files: Mapping[str, str] | str, selection: Selection = OF_ELEMENTS) -> Report:
        place = tmp_path / "elements/vm/checks"
        for name, text in {"test_vm.py": files}.items() if isinstance(files, str) else files.items():
            write(place, name, text)
        suite = Suite("vm", place, element=True)
        report = validate(make_image("tar"), replace(expectation, suites=(suite,)), How(selection=selection))
        # Nothing was written beside the tests.
        assert {path.suffix for path in place.rglob("*")} <= {".py"}
        return report

    return validated


def by_id(report: Report) -> dict[str, Finding]:
    return {finding.id: finding for finding in report.findings}


def statuses(report: Report) -> dict[str, str]:
    return {id: finding.status.value for id, finding in by_id(report).items()}


TESTS = '''\
"""Sample tests."""
import pytest


def test_release(host):
    """It is Debian.

    More of it.
    """
    assert "ID=debian" in host.file("/etc/os-release").content_string


def test_owner(host):
    file = host.file("/etc/shadow")
    assert file.user == "haproxy", f"{file.user} has it"


@pytest.mark.warning
def test_unsure(host):
    assert host.file("/etc/passwd").size == 1


@pytest.mark.parametrize("name", ["dpkg", "nothing"])
def test_program(host, name):
    if not host.exists(name):
        pytest.skip(f"there is no {name}")


class TestInside:
    def test_release(self, host):
        assert host.file("/etc/os-release").is_file


@pytest.fixture
def broken():
    raise OSError("broken \\x1b[2J")


def test_fixture(broken):
    pass
'''


def test_every_test_is_a_finding(check: Check) -> None:
    report = check(TESTS)
    assert not report.ok
    assert statuses(report) == {
        "element-checks": "pass",
        "vm/test_release": "pass",
        "vm/test_owner": "fail",
        "vm/test_unsure": "warn",
        "vm/test_program[dpkg]": "pass",
        "vm/test_program[nothing]": "skip",
        "vm/TestInside.test_release": "pass",
        "vm/test_fixture": "fail",
    }
    found = by_id(report)
    assert found["vm/test_release"].title == "It is Debian"
    assert found["vm/test_owner"].title == "test owner"
    assert found["vm/test_owner"].message == "vm/checks/test_vm.py:15: root has it"
    assert found["vm/test_unsure"].message.startswith("vm/checks/test_vm.py:20: assert ")
    assert found["vm/test_program[nothing]"].message == "there is no nothing"
    assert found["vm/test_fixture"].message == r"vm/checks/test_vm.py:36: OSError: broken \x1b[2J"
    assert found["element-checks"].message == "7 of vm"


def test_through_sudo_they_say_the_same(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    if process.which("sudo") is None:
        pytest.skip("sudo is not installed")
    by_root = check(TESTS)
    monkeypatch.setattr(process, "is_root", lambda: False)
    by_user = check(TESTS)
    assert [replace(finding, seconds=0) for finding in by_user.findings] == [
        replace(finding, seconds=0) for finding in by_root.findings
    ]


def test_some_of_them(check: Check) -> None:
    report = check(TESTS, select(["vm/*"], ["vm/test_owner", "vm/*fixture"]))
    assert report.ok
    assert statuses(report)["vm/test_owner"] == "skip"
    assert statuses(report)["vm/test_fixture"] == "skip"
    assert set(statuses(check(TESTS, select(["vm/test_release", "kernel"], [])))) == {
        "element-checks", "vm/test_release", "kernel",
    }  # fmt: skip
    assert statuses(check(TESTS, select([], ["element-checks"])))["element-checks"] == "skip"
    with pytest.raises(InputError, match="this image has no check vm/test_relaese"):
        check(TESTS, select(["vm/test_relaese"], []))


CONFINED = """\
import re


def test_confined(host):
    def fails(line):
        done = host.run(line)
        assert done.failed, (line, done.stdout, done.stderr)
        return done.stderr

    assert "Read-only" in fails("touch /etc/x")
    assert "Read-only" in fails("touch /x")
    fails("mount -t tmpfs none /run")
    fails("mkdir /proc/1/root/home/x")
    for name in ("sys/kernel/core_pattern", "sys/kernel/hostname", "sys/vm/overcommit_memory", "self/oom_score_adj"):
        fails(f"cat /proc/{name} > /proc/{name}")
    fails("> /proc/sysrq-trigger")
    fails("cat HERE")
    fails("test -e HERE")
    fails("grep -q SECRET_OF_THE_USER /proc/self/environ")
    assert host.run("touch /tmp/x /run/x").succeeded
    assert host.check_output("ls /tmp /run").split() == ["/run:", "/tmp:"]
    assert host.check_output("id -u") == "0"
    status = host.check_output("cat /proc/self/status")
    assert [line.split()[1] for line in status.splitlines() if re.match("Cap(Inh|Prm|Eff|Amb)", line)] == ["0" * 16] * 4
    assert "NoNewPrivs:\\t1" in status
    devices = host.check_output("cat /proc/net/dev").splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]
    assert host.check_output("uname -n") == "image"
    assert set(host.check_output("ls /dev").split()) < set(
        "console core fd full null ptmx pts random shm stderr stdin stdout tty urandom zero".split()
    )
    pids = [name for name in host.check_output("ls /proc").split() if name.isdigit()]
    assert len(pids) < 5
"""


def test_the_image_sees_nothing_of_the_host(check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    monkeypatch.setenv("SECRET_OF_THE_USER", "x")
    with socket.create_server(("127.0.0.1", 0)):
        report = check(CONFINED.replace("HERE", str(secret)))
    assert by_id(report)["vm/test_confined"].message == "test confined"
    assert report.ok


def test_on_a_disk_where_nothing_may_be_executed_otherwise(
    alive: Path, make_image: ImageMaker, expectation: Expectation, tmp_path: Path
) -> None:
    write(tmp_path, "mine/test_sh.py", "def test_sh(host):\n    assert host.check_output('id -u') == '0'\n")
    (suite,) = suites.of_directories([tmp_path / "mine"], "--checks")
    report = validate(make_image("qcow2"), expectation, How(selection=select(["mine/*"], []), suites=(suite,)))
    assert statuses(report) == {"element-checks": "pass", "mine/test_sh": "pass"}


def test_settings_and_plugins_of_the_user_do_not_count(
    check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    write(tmp_path, "elements/conftest.py", "raise SystemExit")
    write(tmp_path, "elements/pytest.ini", "[pytest]\naddopts = --no-such-option\n")
    own = "import pytest\n@pytest.fixture\ndef three():\n    return 3\n"
    report = check({"conftest.py": own, "test_a.py": "def test_a(three):\n    assert three == 3\n"})
    assert statuses(report) == {"element-checks": "pass", "vm/test_a": "pass"}


def test_two_files_with_tests_of_one_name(check: Check) -> None:
    test = "def test_a():\n    pass\n"
    report = check({"test_one.py": test, "test_two.py": test})
    assert set(statuses(report)) == {"element-checks", "vm/test_one.test_a", "vm/test_two.test_a"}


def test_a_file_that_cannot_be_read_fails(check: Check) -> None:
    report = check({"test_a.py": "def test_a(:\n", "test_b.py": "def test_b():\n    pass\n"})
    assert statuses(report) == {"element-checks": "pass", "vm/test_a.py": "fail", "vm/test_b": "pass"}
    assert "SyntaxError" in by_id(report)["vm/test_a.py"].message


def test_no_test_is_a_failure(check: Check) -> None:
    assert by_id(check("nothing = 1\n"))["element-checks"].message == "no test was found in the checks of vm"


def test_tests_that_end_everything_are_a_failure(check: Check) -> None:
    report = check(
        {"test_a.py": "def test_a():\n    pass\n", "test_b.py": "import os\ndef test_b():\n    os._exit(9)\n"}
    )
    assert statuses(report) == {"element-checks": "fail", "vm/test_a": "pass"}
    assert "did not come to an end" in by_id(report)["element-checks"].message


def test_a_program_that_hangs_is_ended(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suites, "DEADLINE", 4.0)
    tests = "def test_a():\n    pass\n\ndef test_b(host):\n    host.run('sleep 87654')\n"
    report = check(tests)
    assert statuses(report) == {"element-checks": "fail", "vm/test_a": "pass"}
    assert running("sleep 87654") == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tree: write(tree, "usr/bin/dpkg", elf(258), 0o755), "(machine 258) do not run on this"),
        (lambda tree: (tree / "usr/bin/sh").unlink(), "no program of the image can be run in a sandbox"),
        (lambda tree: write(tree, "usr/bin/sh", "#!/usr/bin/hangs\nsleep 86543\n", 0o755), "no answer within"),
    ],
)
def test_an_image_in_which_nothing_can_run(
    check: Check, alive: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None], reason: str
) -> None:
    monkeypatch.setattr(sandbox, "PATIENCE", 2.0)
    change(alive)
    report = check(TESTS)
    assert set(statuses(report)) == {"element-checks"}
    assert by_id(report)["element-checks"].status is not Status.PASS
    assert reason in by_id(report)["element-checks"].message


def test_links_in_place_of_directories_lead_nowhere(check: Check, alive: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("tmp", "run"):
        (alive / name).rmdir()
        (alive / name).symlink_to(f"../../../../../../../..{outside}")
    report = check("def test_a(host):\n    assert host.run('touch /tmp/x').failed\n")
    assert report.ok
    assert list(outside.iterdir()) == []


def test_nothing_runs_unless_asked_for(alive: Path, make_image: ImageMaker, expectation: Expectation) -> None:
    write(alive, "usr/bin/sh", "#!/bin/sleep 86543\n", 0o755)
    report = validate(make_image("tar"), expectation)
    assert by_id(report)["element-checks"].status is Status.SKIP
    assert "--element-checks" in by_id(report)["element-checks"].message


def test_elements_that_the_image_does_not_hold_are_not_asked(
    alive: Path, make_image: ImageMaker, expectation: Expectation, tmp_path: Path
) -> None:
    write(tmp_path, "elements/other/checks/test_other.py", "def test_other():\n    assert False\n")
    write(tmp_path, "elements/vm/checks/test_vm.py", "def test_vm():\n    pass\n")
    found = suites.of_elements((name, tmp_path / "elements" / name) for name in ("other", "vm"))
    report = validate(make_image("tar"), expectation, How(selection=select(["*/*"], []), suites=tuple(found)))
    assert set(statuses(report)) == {"element-checks", "vm/test_vm"}


def test_a_signal_ends_what_runs_in_the_image(alive: Path, make_image: ImageMaker, tmp_path: Path) -> None:
    seconds = f"7{os.getpid():07}"  # nobody else sleeps as long
    write(tmp_path, "mine/test_long.py", f"def test_long(host):\n    host.run('echo > /tmp/x; sleep {seconds}')\n")
    argv = [sys.executable, "-m", "diskimage_create", "validate", make_image("raw"), "--checks", tmp_path / "mine"]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "scratch")}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as validating:
        try:
            while not running(f"sleep {seconds}"):
                assert validating.poll() is None
            validating.send_signal(signal.SIGTERM)
            printed = validating.communicate()[0].decode()
        finally:
            validating.kill()
    assert validating.returncode == 130, printed
    assert running(seconds) == []


def running(command: str) -> list[bytes]:
    """The command lines of this host's processes that hold these words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(path.read_bytes().replace(b"\0", b" ").strip())
    return [line for line in found if line.endswith(command.encode())]
