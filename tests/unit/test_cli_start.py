"""The command line in an interpreter of its own: imports, terminals, completion."""

from __future__ import annotations

import json
import os
import pty
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from diskimage_create import cli

pytestmark = pytest.mark.subprocess("a fresh interpreter")

MAIN = "import sys; from diskimage_create.cli import main; status = main(sys.argv[1:])"
HEAVY = (
    "rich",
    "diskimage_create.validate",
    "diskimage_builder",
    "diskimage_create.pipeline",
    "diskimage_create.matrix",
    "asyncio",
    "requests",
    "pkg_resources",
)


def python(code: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env={**clean, **environ}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        (["--help"], ("yaml", "diskimage_create.config", "diskimage_create.cli.build")),
        (["--version"], ("yaml", "diskimage_create.config")),
        (["plan", "-i", "debian", "--format", "json"], ("diskimage_create.cli.build",)),
        (["build", "--help"], ()),
        (["validate", "--help"], ("yaml",)),
        (["diff", "--help"], ("yaml", "diskimage_create.diff")),
        (["elements", "lint", "--help"], ("yaml", "diskimage_create.catalogue", "diskimage_create.config")),
        (["elements", "list"], ("yaml", "diskimage_create.catalogue.lint", "diskimage_create.config", "subprocess")),
        (["elements", "graph", "vm"], ("yaml", "diskimage_create.catalogue.drawing", "diskimage_create.config")),
        (["images", "lint", "--help"], ("yaml", "diskimage_create.helm", "diskimage_create.findings")),
        (["images", "lint", "--list-rules"], ("diskimage_create.catalogue", "jsonschema", "subprocess")),
        (["values", "split", "--help"], ("yaml", "diskimage_create.helm")),
        (["values", "amphora", "--tag", "a", "--owner-id", "b"], ("yaml", "jsonschema", "subprocess")),
        (["doctor", "--help"], ("yaml",)),
    ],
    ids=" ".join,
)
def test_nothing_is_imported_that_is_not_used(arguments: list[str], more: tuple[str, ...]) -> None:
    done = python(f"{MAIN}; print('\\n'.join(sys.modules), file=sys.stderr); sys.exit(status)", *arguments)
    assert done.returncode == 0
    loaded = set(done.stderr.split())
    assert "click" in loaded
    assert not {name for name in (*HEAVY, *more) if name in loaded}


def test_a_validation_imports_neither_the_boot_test_nor_what_reports_need() -> None:
    done = python(f"{MAIN}; print('\\n'.join(sys.modules), file=sys.stderr); sys.exit(status)", "validate", "--list")
    loaded = set(done.stderr.split())
    assert "diskimage_create.validate" in loaded
    assert not loaded & {
        "diskimage_create.boot",
        "diskimage_create.reports.page",
        "oslo_utils",
        "sqlite3",
        "xml",
        "yaml",
    }


def processor_seconds(*command: str) -> float:
    """The least of a few runs: other work on this machine only ever adds."""
    found = []
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        found.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(found)


def test_help_starts_fast() -> None:
    """At most 2.5 times what ``import click`` takes."""
    assert processor_seconds("-m", "diskimage_create", "--help") < 2.5 * processor_seconds("-c", "import click")


def test_the_module_is_the_command(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "diskimage_create", "plan", "-s", "0"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_do_not_matter(closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -m diskimage_create "$@" {closed}', sys.executable, "plan", "-s", "0"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: size") or "2>&-" in closed


@pytest.mark.parametrize(
    ("arguments", "status"),
    [("plan -s 0 2>/dev/full", 2), ("plan -i debian >/dev/full", 4), ("--help >/dev/full 2>&1", 4)],
)
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_nobody_to_tell_is_no_second_error(arguments: str, status: int, unbuffered: str) -> None:
    command = ["sh", "-c", f'"$0" -m diskimage_create {arguments}', sys.executable]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONUNBUFFERED": unbuffered}, stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == status
    assert "Exception ignored" not in done.stderr


def on_terminal(arguments: list[str], **environ: str) -> str:
    """What a command prints to a terminal as its standard error."""
    ours, theirs = pty.openpty()
    clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    with subprocess.Popen(
        [sys.executable, "-m", "diskimage_create", *arguments],
        env={**clean, "TERM": "xterm", **environ},
        stdout=theirs, stderr=theirs,
    ):  # fmt: skip
        os.close(theirs)
        text = b""
        # A terminal holds a few thousand characters: who waits for the end before reading waits for ever.
        while True:
            try:
                text += os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
    os.close(ours)
    return text.decode()


def test_colours_on_a_terminal_unless_somebody_minds() -> None:
    assert "\x1b[" in on_terminal(["plan", "-s", "0"])
    plain = on_terminal(["plan", "-s", "0"], NO_COLOR="1")
    assert "\x1b[" not in plain
    assert plain.startswith("error: size '0'")


def test_a_plan_on_a_terminal_is_plain_json() -> None:
    assert json.loads(on_terminal(["plan", "-i", "debian", "--format", "json"]))["schema"] == 1


def completions(words: str) -> set[str]:
    done = python(MAIN, _DISKIMAGE_CREATE_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(words.count(" ")))
    assert done.stderr == ""
    return {line.partition(",")[2] for line in done.stdout.splitlines()}


def test_shell_completion_knows_the_lazy_commands() -> None:
    assert completions("diskimage-create ") == set(cli.COMMANDS)
    assert completions("diskimage-create val") == {"validate", "values"}
    assert {"--release", "--root-password"} <= completions("diskimage-create build --r")
    assert completions("diskimage-create plan --form") == {"--format"}
    assert completions("diskimage-create plan --format ") == {"text", "json"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_get_their_script(shell: str) -> None:
    done = python(MAIN, _DISKIMAGE_CREATE_COMPLETE=f"{shell}_source")
    if "shell completion is not supported" not in done.stderr.lower():  # click asks bash for its version
        assert "_DISKIMAGE_CREATE_COMPLETE" in done.stdout


@pytest.mark.parametrize("form", ["text", "json"])
def test_variables_of_any_bytes_can_be_printed(form: str) -> None:
    name = os.fsdecode(b"a\xffb")
    done = python(f"{MAIN}; sys.exit(status)", "plan", "-i", "debian", "--format", form, DIB_X=name, LC_ALL="C.UTF-8")
    assert done.returncode == 0, done.stderr
    assert r"a\udcffb" in done.stdout
