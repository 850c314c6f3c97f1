"""What is wrong with a modification is told before anything is run, all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diskimage_create.containers.model import Modification
from diskimage_create.containers.modify.variables import packages_in, problems

ROLE = "tripleo-modify-image"


def messages(append_tag: str = "-x", role: str = ROLE, **variables: Any) -> list[str]:
    return [problem.message for problem in problems(Modification(role, variables, append_tag))]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("b.rpm", "a.rpm", "a.src.rpm", "a.deb", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "Dockerfile").write_text("FROM x\n")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    "variables",
    [
        {"tasks_from": "rpm_install.yml", "rpms_path": "."},
        {"tasks_from": "rpm_install", "debs_path": "."},
        {"tasks_from": "deb_install.yml", "debs_path": ".", "container_build_tool": "buildah"},
        {"tasks_from": "yum_update.yml"},
        {"tasks_from": "yum_update.yml", "yum_repos_dir_path": ".", "compare_host_packages": True, "update_repo": "a"},
        {"tasks_from": "modify_image.yml", "modify_dir_path": ".", "source_image": "quay.io/a/b:c"},
        {"tasks_from": "dev_install.yml", "refspecs": [{"project": "heat", "refspec": "refs/changes/12/1234/3"}]},
        {
            "tasks_from": "dev_install.yml",
            "refspecs": [{"project": "heat", "refspec": "master refs/changes/12/1234/3"}],
            "repository_url": "/srv/git/{project}",
            "python": "/opt/venv/bin/python",
        },
    ],
)
def test_what_the_tasks_know_is_right(files: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, Any]) -> None:
    monkeypatch.chdir(files)
    assert messages(**variables) == []


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "modify_vars: there is no tasks_from"),
        ({"tasks_from": "yum_upgrade.yml"}, "modify_vars: unknown tasks_from 'yum_upgrade.yml'"),
        ({"tasks_from": "rpm_install.yml"}, "modify_vars: rpm_install.yml needs rpms_path or debs_path"),
        ({"tasks_from": "modify_image.yml"}, "modify_vars: modify_image.yml needs modify_dir_path"),
        ({"tasks_from": "dev_install.yml"}, "modify_vars: dev_install.yml needs refspecs"),
        ({"tasks_from": "rpm_install.yml", "rpms_path": "gone"}, "modify_vars: rpms_path is no directory: gone"),
        ({"tasks_from": "rpm_install.yml", "rpms_path": "empty"}, "modify_vars: rpms_path holds no *.rpm file: empty"),
        ({"tasks_from": "rpm_install.yml", "rpms_path": 3}, "modify_vars: rpms_path must be the path of a directory"),
        ({"tasks_from": "yum_update.yml", "compare_host_packages": "yes"}, "must be true or false"),
        ({"tasks_from": "yum_update.yml", "update_repo": ""}, "modify_vars: update_repo must be text"),
        ({"tasks_from": "yum_update.yml", "container_build_tool": "docker"}, "must be buildah"),
        ({"tasks_from": "yum_update.yml", "source_image": "a/B:c"}, "modify_vars: source_image is no image: "),
        ({"tasks_from": "modify_image.yml", "modify_dir_path": "empty"}, "has no Dockerfile that can be read"),
        ({"tasks_from": "dev_install.yml", "refspecs": "master"}, "must be a list of mappings"),
        ({"tasks_from": "dev_install.yml", "refspecs": [{"project": "heat"}]}, "has an entry 1 that is no mapping"),
        (
            {"tasks_from": "dev_install.yml", "refspecs": [{"project": "../heat", "refspec": "a"}]},
            "whose project '../heat' cannot be one",
        ),
        (
            {"tasks_from": "dev_install.yml", "refspecs": [{"project": "heat", "refspec": "--upload-pack=x"}]},
            "whose refspec '--upload-pack=x' cannot be one",
        ),
        (
            {"tasks_from": "dev_install.yml", "refspecs": [{"project": "heat", "refspec": " "}]},
            "has an entry 1 whose refspec is empty",
        ),
    ],
)
def test_what_is_wrong_is_named(
    files: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, Any], message: str
) -> None:
    monkeypatch.chdir(files)
    (found,) = messages(**variables)
    assert message in found


def test_everything_is_named_at_once_with_its_place() -> None:
    variables = {"tasks_from": "yum_update.yml", "yum_repo_dir_path": ".", "update_repo": 1}
    found = problems(Modification(ROLE, variables, " "), "file.yaml:7")
    assert {problem.where for problem in found} == {"file.yaml:7"}
    assert [problem.message for problem in found] == [
        "modify_append_tag ' ' cannot be a part of a tag",
        "modify_vars: unknown variable yum_repo_dir_path",
        "modify_vars: update_repo must be text",
    ]
    assert found[1].hint == "did you mean yum_repos_dir_path?"


@pytest.mark.parametrize("variable", ["repository_url", "changes_url"])
def test_credentials_in_an_address_are_refused_and_not_shown(variable: str) -> None:
    refspecs = [{"project": "heat", "refspec": "master"}]
    address = "https://user:s3cret@git.example/{project}"
    (found,) = problems(Modification(ROLE, {"tasks_from": "dev_install.yml", "refspecs": refspecs, variable: address}))
    assert "credentials" in found.message
    assert "s3cret" not in f"{found}{found.hint}"


def test_variables_of_other_roles_are_theirs() -> None:
    assert messages(role="add-foo-plugin", foo_version="1.0.1") == []


def test_source_packages_are_none_to_install(files: Path) -> None:
    assert [path.name for path in packages_in(files, "*.rpm")] == ["a.rpm", "b.rpm"]
