"""``container image prepare`` from the command line, as far as no registry is needed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

import tripleo_table
from contract import schema_errors
from diskimage_create import cli
from diskimage_create.cli import container_prepare

API = "docker.io/tripleomaster/centos-binary-nova-api"
TAGGED = "parameter_defaults: {ContainerImagePrepare: [{set: {tag: t}}]}\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("DISKIMAGE_CREATE_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    tripleo_table.write(tmp_path)


def run(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["container", "image", "prepare", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def prepare(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    return run(capsys, *arguments, "--template", "table.yaml.j2", "--defaults", "defaults.yaml")


def parameters(text: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(text)["parameter_defaults"]
    return found


def test_the_defaults_are_printed_and_can_be_given_back(capsys):
    status, out, err = run(capsys, "default", "--defaults", "defaults.yaml")
    assert (status, err) == (0, "")
    assert parameters(out) == {
        "ContainerImagePrepare": [
            {
                "set": {
                    "ceph_image": "daemon",
                    "ceph_namespace": "docker.io/ceph",
                    "ceph_tag": "4.10",
                    "name_prefix": "centos-binary-",
                    "name_suffix": "",
                    "namespace": "docker.io/tripleomaster",
                    "neutron_driver": None,
                    "tag": "current-tripleo",
                },
                "tag_from_label": "rdo_version",
            }
        ]
    }
    Path("again.yaml").write_text(out)
    assert run(capsys, "default", "--defaults", "again.yaml")[1] == out


def test_the_local_registry_and_logins_can_be_asked_for(capsys):
    Path("F").write_text("old\n")
    options = ("--local-push-destination", "--enable-registry-login", "--output-env-file", "F")
    status, out, err = run(capsys, "default", "--defaults", "defaults.yaml", *options)
    assert status == 0, err
    assert parameters(out)["ContainerImagePrepare"][0]["push_destination"] is True
    assert parameters(out)["ContainerImageRegistryLogin"] is True
    assert parameters(Path("F").read_text()) == parameters(out)
    assert Path("F.backup").read_text() == "old\n"


def test_parameters_are_printed_and_always_the_same(capsys):
    Path("x.yaml").write_text(TAGGED)
    status, out, err = prepare(capsys, "-e", "x.yaml")
    assert status == 0, err
    assert parameters(out)["ContainerNovaApiImage"] == f"{API}:t"
    assert list(parameters(out)) == sorted(parameters(out))
    assert prepare(capsys, "-e", "x.yaml")[1] == out
    assert "6 images: 6 left in place" in err
    status, out, _ = prepare(capsys, "-e", "x.yaml", "--parameter-prefix", "Docker")
    assert parameters(out)["DockerNovaApiImage"] == f"{API}:t"


def test_files_of_directories_come_first(capsys):
    Path("d").mkdir()
    Path("d/z.yaml").write_text(TAGGED.replace("tag: t", "tag: z"))
    Path("d/a.yaml").write_text(TAGGED.replace("tag: t", "tag: a"))
    status, out, _ = prepare(capsys, "--environment-directory", "d")
    assert parameters(out)["ContainerNovaApiImage"] == f"{API}:z"
    Path("x.yaml").write_text(TAGGED)
    status, out, _ = prepare(capsys, "-e", "x.yaml", "--environment-directory", "d")
    assert status == 0
    assert parameters(out)["ContainerNovaApiImage"] == f"{API}:t"


def test_roles_filter(capsys):
    Path("x.yaml").write_text(TAGGED)
    Path("roles.yaml").write_text(
        "- {name: A, CountDefault: 1, ServicesDefault: ['OS::TripleO::Services::NovaCompute']}\n"
    )
    status, out, err = prepare(capsys, "-e", "x.yaml", "-r", "roles.yaml")
    assert status == 0, err
    assert list(parameters(out)) == ["ContainerNovaComputeImage"]


def test_the_report_is_as_its_schema_says(capsys):
    Path("x.yaml").write_text(TAGGED)
    status, out, _ = prepare(capsys, "-e", "x.yaml", "--format", "json", "--report", "report.json")
    assert status == 0
    report = json.loads(out)
    assert report == json.loads(Path("report.json").read_text())
    assert schema_errors(report, "container-images") == []
    assert report["images"][0] == {
        "name": "centos-binary-neutron-metadata-agent",
        "parameters": ["ContainerNeutronMetadataImage"],
        "source": "docker.io/tripleomaster/centos-binary-neutron-metadata-agent:t",
        "destination": "docker.io/tripleomaster/centos-binary-neutron-metadata-agent:t",
        "modified": False,
        "status": "skipped",
        "why": "there is no push_destination",
        "digest": None,
        "size": 0,
        "seconds": 0.0,
    }


def test_bad_input_is_told_at_once_and_nothing_is_written(capsys):
    Path("x.yaml").write_text("parameter_defaults:\n  ContainerImagePrepare:\n  - includes: x\n")
    Path("y.yaml").write_text("a: [\n")
    status, out, err = prepare(capsys, "-e", "x.yaml", "-e", "y.yaml", "-e", "z.yaml", "--output-env-file", "out.yaml")
    assert (status, out) == (2, "")
    assert [line.rpartition("(")[2] for line in err.splitlines() if line.startswith("error:")] == [
        "x.yaml:3)",
        "y.yaml:2)",
        "z.yaml)",
    ]
    assert not Path("out.yaml").exists()


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (("--output-env-file", "no/out.yaml"), "--output-env-file"),
        (("--report", "no/report.json"), "--report"),
        (("--parameter-prefix", "a-b"), "--parameter-prefix"),
        (("--environment-directory", "no"), "--environment-directory"),
        (("-r", "no.yaml"), "no.yaml"),
        (("--cleanup", "some"), "--cleanup"),
        (("--jobs", "0"), "--jobs"),
    ],
)
def test_bad_options_are_told_before_anything_is_done(capsys, options, where):
    Path("x.yaml").write_text(TAGGED)
    status, out, err = prepare(capsys, "-e", "x.yaml", *options)
    assert (status, out) == (2, "")
    assert where in err


def test_a_host_without_tripleo_common_is_told_what_to_do(capsys, monkeypatch):
    monkeypatch.setattr("diskimage_create.places.shares", list)
    Path("x.yaml").write_text(TAGGED)
    status, _, err = run(capsys, "-e", "x.yaml")
    assert status == 3
    assert "pip install --no-deps tripleo-common" in err
    Path("x.yaml").write_text("parameter_defaults: []\n")
    assert run(capsys, "-e", "x.yaml")[0] == 2
    Path("x.yaml").write_text(TAGGED)
    assert prepare(capsys, "-e", "x.yaml")[0] == 0


def test_defaults_without_values_are_told(capsys):
    Path("none.yaml").write_text("parameter_defaults: {ContainerImagePrepare: []}\n")
    status, _, err = run(capsys, "default", "--defaults", "none.yaml")
    assert status == 2
    assert "has no defaults (none.yaml)" in err


def test_every_option_is_explained():
    assert [option.name for option in container_prepare.prepare.params if not getattr(option, "help", None)] == []


def test_defaults_show_what_one_may_want_to_change_alone(capsys):
    Path("more.yaml").write_text(
        """\
parameter_defaults:
  ContainerImagePrepare:
  - set: {namespace: quay.io/a, tag: t, ceph_tag: c, ceph_grafana_tag: '1', rhel_containers: false}
  - set: {namespace: quay.io/b, ceph_grafana_tag: '2', rhel_containers: false}
    includes: [b]
"""
    )
    status, out, _ = run(capsys, "default", "--defaults", "more.yaml")
    assert status == 0
    first, second = parameters(out)["ContainerImagePrepare"]
    assert first == {"set": {"namespace": "quay.io/a", "tag": "t", "ceph_tag": "c"}}
    # Those of the first are the defaults of the second: what differs from them would be lost.
    assert second == {"set": {"namespace": "quay.io/b", "ceph_grafana_tag": "2"}, "includes": ["b"]}


def test_options_before_default_are_not_silently_lost(capsys):
    status, out, err = run(capsys, "--output-env-file", "x.yaml", "default", "--defaults", "defaults.yaml")
    assert (status, out) == (2, "")
    assert "--output-env-file: options of 'default' come after it" in err


def test_where_nothing_can_be_written_is_told_with_all_else_that_is_wrong(capsys):
    Path("prepare.yaml").write_text("parameter_defaults: {ContainerImagePrepare: [{includs: [x]}]}\n")
    Path("dir").mkdir()
    Path("kept.yaml.backup").mkdir()
    status, out, err = prepare(capsys, "-e", "prepare.yaml", "--output-env-file", "dir", "--report", "nowhere/x")
    assert (status, out) == (2, "")
    assert "dir cannot be written: Is a directory (--output-env-file)" in err
    assert "nowhere/x cannot be written: No such file or directory (--report)" in err
    assert "unknown key includs (prepare.yaml:1)" in err
    status, _, err = prepare(capsys, "--dry-run", "--output-env-file", "kept.yaml", "--report", "kept.yaml")
    assert status == 2
    assert "kept.yaml.backup is a directory (--output-env-file)" in err
    assert "it is what --output-env-file writes, too (--report)" in err


@pytest.mark.parametrize("option", ["--output-env-file", "--report"])
@pytest.mark.parametrize("file", ["prepare.yaml", "table.yaml.j2", "defaults.yaml", "link"])
def test_what_is_read_is_not_written_over(capsys, option, file):
    Path("prepare.yaml").write_text(TAGGED)
    Path("link").symlink_to("prepare.yaml")
    before = Path(file).read_text()
    status, _, err = prepare(capsys, "-e", "prepare.yaml", "--dry-run", option, file)
    assert (status, Path(file).read_text()) == (2, before)
    assert f"{file} is what is read ({option})" in err


def test_of_a_link_what_it_leads_to_is_written_and_kept(capsys):
    Path("prepare.yaml").write_text(TAGGED)
    Path("there").mkdir()
    Path("there/images.yaml").write_text("old\n")
    Path("link").symlink_to("there/images.yaml")
    status, _, err = prepare(capsys, "-e", "prepare.yaml", "--dry-run", "--output-env-file", "link")
    assert status == 0, err
    assert Path("link").is_symlink()
    assert parameters(Path("there/images.yaml").read_text())["ContainerNovaApiImage"] == f"{API}:t"
    assert Path("there/images.yaml.backup").read_text() == "old\n"


def test_a_pipe_is_written_to_and_stays_one(capsys):
    Path("prepare.yaml").write_text(TAGGED)
    os.mkfifo("pipe")
    with open(os.open("pipe", os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8") as reading:
        status, out, err = prepare(capsys, "-e", "prepare.yaml", "--dry-run", "--output-env-file", "pipe")
        assert (status, out) == (0, ""), err
        assert parameters(reading.read())["ContainerNovaApiImage"] == f"{API}:t"
    assert Path("pipe").is_fifo()
    assert not Path("pipe.backup").exists()


def test_a_dash_is_standard_output(capsys, tmp_path):
    plain = run(capsys, "default", "--defaults", "defaults.yaml")
    assert run(capsys, "default", "--defaults", "defaults.yaml", "--output-env-file", "-") == plain
    assert not (tmp_path / "-").exists()
