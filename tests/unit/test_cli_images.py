"""``images lint`` from the command line: statuses, forms of its report."""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract import schema_errors
from diskimage_create import cli
from diskimage_create.helm.lint import RULES

ROOT = Path(__file__).parents[2]
SOUND = "images: {tags: {x: 'quay.io/a/b:1'}}\n"
MOVING = "images: {tags: {x: 'quay.io/a/b:master'}}\n"
LATEST = "images:\n  tags:\n    x: quay.io/a/b:latest\n    y: nginx\n"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("DISKIMAGE_CREATE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def run(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["images", "lint", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def write(**files: str) -> None:
    for name, text in files.items():
        Path(f"{name}.yaml").write_text(text)


@pytest.mark.parametrize(
    ("text", "options", "status"),
    [
        (SOUND, (), 0),
        (SOUND, ("--strict",), 0),
        (SOUND, ("--require-digest",), 1),
        (MOVING, (), 0),
        (MOVING, ("--strict",), 1),
        (LATEST, (), 1),
        ("a: [\n", (), 2),
        ("a: 1\na: 2\n", (), 2),
        ("", (), 0),
    ],
)
def test_the_status(capsys: Any, text: str, options: tuple[str, ...], status: int) -> None:
    write(x=text)
    assert run(capsys, "x.yaml", *options)[0] == status


def test_text_is_a_line_for_each_finding(capsys: Any) -> None:
    write(x=LATEST)
    status, out, err = run(capsys, "x.yaml")
    assert status == 1
    assert out.splitlines()[0] == (
        "x.yaml:3: IMG004 error: quay.io/a/b:latest is whatever was pushed last (images.tags.x)"
    )
    assert [line.split(": ")[1] for line in out.splitlines()] == ["IMG004 error", "IMG002 error", "IMG003 error"]
    assert err == "2 references, 3 errors, 0 warnings\n"


def test_json_is_as_its_schema_says(capsys: Any) -> None:
    write(x=LATEST)
    status, out, _ = run(capsys, "x.yaml", "--format", "json")
    assert status == 1
    report = json.loads(out)
    assert schema_errors(report, "images-lint") == []
    assert report["checked"] == 2
    assert report["findings"][0] == {
        "rule": "IMG004",
        "severity": "error",
        "file": "x.yaml",
        "line": 3,
        "path": "images.tags.x",
        "reference": "quay.io/a/b:latest",
        "message": "quay.io/a/b:latest is whatever was pushed last",
    }
    write(x=SOUND)
    assert json.loads(run(capsys, "x.yaml", "--format", "json")[1]) == {"findings": [], "checked": 1}


def test_what_is_broken_is_told_after_the_findings_of_the_rest(capsys: Any) -> None:
    write(broken="a: b\n c: d\n", x=LATEST, double="images:\n  a: quay.io/a/b:latest\n  a: quay.io/a/b:1\n")
    status, out, err = run(capsys, "broken.yaml", "x.yaml", "double.yaml", "missing.yaml", "--format", "json")
    assert status == 2
    assert len(json.loads(out)["findings"]) == 3
    assert "error: is no YAML: mapping values are not allowed in this context (broken.yaml:2)" in err
    assert "error: key 'a' is there twice (double.yaml:3)" in err
    assert "error: cannot be read: No such file or directory (missing.yaml)" in err


def test_defaults(capsys: Any) -> None:
    write(values=SOUND, x="images: {tags: {z: 'quay.io/a/b:1'}}\n", none="a: 1\n")
    status, out, _ = run(capsys, "x.yaml", "--defaults", "values.yaml", "--strict")
    assert status == 1
    assert "IMG201" in out
    status, _, err = run(capsys, "x.yaml", "--defaults", "none.yaml")
    assert status == 2
    assert "has no images section (none.yaml)" in err
    status, _, err = run(capsys, "x.yaml", "--defaults", "missing.yaml")
    assert status == 2
    assert err.count("missing.yaml") == 1


def test_nothing_to_check(capsys: Any) -> None:
    status, _, err = run(capsys)
    assert status == 2
    assert "nothing says which files" in err


def test_annotations_for_github(capsys: Any) -> None:
    write(x=LATEST)
    status, out, _ = run(capsys, "x.yaml", "--format", "github")
    assert status == 1
    assert out.splitlines()[0] == (
        "::error file=x.yaml,line=3,title=IMG004 latest::quay.io/a/b:latest is whatever was pushed last"
    )


def test_a_report_for_gitlab(capsys: Any, tmp_path: Path) -> None:
    """docs.gitlab.com, "Code Quality report format": what it requires of each entry."""
    write(x=LATEST)
    (tmp_path / "sub").mkdir()
    report = json.loads(run(capsys, str(tmp_path / "x.yaml"), "--format", "gitlab")[1])
    assert [each["check_name"] for each in report] == ["IMG004", "IMG002", "IMG003"]
    for each in report:
        assert set(each) == {"description", "check_name", "fingerprint", "severity", "location"}
        assert each["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert each["location"]["path"] == "x.yaml"  # relative to the repository
    assert report[0]["location"]["lines"] == {"begin": 3}
    marks = {each["fingerprint"] for each in report}
    assert len(marks) == 3
    write(x="# a line more\n" + LATEST)
    later = json.loads(run(capsys, "x.yaml", "--format", "gitlab")[1])
    assert {each["fingerprint"] for each in later} == marks
    write(x=SOUND)
    assert json.loads(run(capsys, "x.yaml", "--format", "gitlab")[1]) == []


def test_sarif(capsys: Any) -> None:
    """SARIF 2.1.0: sections 3.13, 3.14, 3.19, 3.27 and 3.49."""
    Path("a b.yaml").write_text(LATEST)
    status, out, _ = run(capsys, "a b.yaml", "--format", "sarif")
    assert status == 1
    log = json.loads(out)
    assert log["version"] == "2.1.0"
    (one,) = log["runs"]
    known = one["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in known] == sorted(RULES)
    for result in one["results"]:
        assert known[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] == known[result["ruleIndex"]]["defaultConfiguration"]["level"]
        (location,) = result["locations"]
        assert location["physicalLocation"]["artifactLocation"]["uri"] == "a%20b.yaml"
    first = one["results"][0]
    assert first["message"]["text"] == "quay.io/a/b:latest is whatever was pushed last"
    assert first["locations"][0]["physicalLocation"]["region"] == {"startLine": 3}
    assert first["locations"][0]["logicalLocations"] == [{"fullyQualifiedName": "images.tags.x"}]


def test_a_table_for_a_terminal(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write(x=LATEST, y="heat:\n  images: {tags: {a: 'quay.io/a/b:master', b: '[bold]'}}\n")
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    status, out, _ = run(capsys, "x.yaml", "y.yaml")
    assert status == 1
    plain = re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines()
    assert [line for line in plain if line and not line.startswith((" ", "IMG"))] == ["no chart", "heat"]
    assert [line.split()[:3] for line in plain if line.startswith("IMG")] == [
        ["IMG004", "error", "x.yaml:3"],
        ["IMG002", "error", "x.yaml:4"],
        ["IMG003", "error", "x.yaml:4"],
        ["IMG001", "error", "y.yaml:2"],
        ["IMG101", "warning", "y.yaml:2"],
    ]
    assert "'[bold]' is no reference" in "\n".join(plain)


def test_the_rules_are_listed(capsys: Any) -> None:
    status, out, _ = run(capsys, "--list-rules")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()] == sorted(RULES)
    listed = json.loads(run(capsys, "--list-rules", "--format", "json")[1])
    assert schema_errors(listed, "images-rules") == []
    assert [rule["id"] for rule in listed["rules"]] == sorted(RULES)


def test_the_hook_for_pre_commit(capsys: Any) -> None:
    """It calls the command with the names of files that its patterns choose."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert hook["id"] == "images-lint"
    program, *command = hook["entry"].split()
    assert program == "diskimage-create"
    for name in ("heat/values.yaml", "values.yml", "values_overrides/heat/tls.yaml", "values-test.yaml"):
        assert re.search(hook["files"], name)
    for name in ("heat/Chart.yaml", "zuul.d/jobs.yaml", "heat/templates/values.txt"):
        assert not re.search(hook["files"], name)
    write(values=LATEST)
    assert cli.main([*command, "values.yaml"]) == 1
    assert "IMG004" in capsys.readouterr().out


def test_a_pipe_is_read_like_a_file(capsys: Any, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = "images:\n  a: quay.io/a/b:latest\n"
    writer = threading.Thread(target=lambda: pipe.write_text(text))
    writer.start()
    status, out, _ = run(capsys, str(pipe))
    writer.join(10)
    assert (status, "IMG004" in out) == (1, True)


ODD = 'images:\n  tags:\n    "a\\n::error::b\\e[31m": nginx\n'


@pytest.mark.parametrize("columns", ["20", "150"])
def test_what_is_in_a_file_does_not_control_a_terminal(
    columns: str, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(x=ODD)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", columns)
    for terminal in (False, True):
        monkeypatch.setattr("sys.stdout.isatty", lambda answer=terminal: answer)
        status, out, _ = run(capsys, "x.yaml")
        assert (status, "\x1b[31m" in out, "\n::error" in out) == (1, False, False)
        assert "::error::b" in out.replace("\n", "")


def test_a_narrow_terminal_shows_everything(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write(x=LATEST)
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    out = run(capsys, "x.yaml")[1]
    for word in ("x.yaml:3:", "IMG004", "whatever", "images.tags.x"):
        assert word in out.replace("\n", "")


@pytest.mark.parametrize("form", ["text", "json", "github", "gitlab", "sarif"])
def test_names_of_files_may_be_any_bytes(form: str, capsys: Any) -> None:
    Path("x\udcff.yaml").write_text(LATEST)
    assert run(capsys, "x\udcff.yaml", "--format", form)[0] == 1


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("images: {a: [quay.io/a/b:latest]}", "images.a[0]"),
        ("images: {tags: [quay.io/a/b:latest]}", "images.tags[0]"),
        ("images: {tags: quay.io/a/b:latest}", "images.tags"),
        ("images: {a: {image: quay.io/a/b:latest}}", "images.a.image"),
        ("heat: {images: {a: [quay.io/a/b:latest], b: 'quay.io/a/b:1'}}", "heat.images.a[0]"),
    ],
)
def test_no_image_is_passed_over_where_a_section_is_odd(text: str, place: str, capsys: Any) -> None:
    write(x=text)
    status, out, _ = run(capsys, "x.yaml", "--format", "json")
    assert status == 1
    assert [(each["rule"], each["path"]) for each in json.loads(out)["findings"]] == [("IMG004", place)]
