"""What a hotfix would make, and what an image is called in another registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from diskimage_create.containers import hotfix, undercloud
from diskimage_create.containers.push import destination_of, host_of
from diskimage_create.errors import InputError
from diskimage_create.references import parse


@pytest.fixture
def rpms(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "a.rpm").touch()
    return {"rpms_path": str(tmp_path)}


@pytest.mark.parametrize(
    ("image", "tag", "made"),
    [
        ("localhost/image/name:16.2", "latest", "localhost/image/name:16.2-latest"),
        ("localhost/image/name:16.2", "-fix1", "localhost/image/name:16.2-fix1"),
        ("localhost/name", "fix1", "localhost/name:latest-fix1"),
        ("tripleo/name:1", "a", "docker.io/tripleo/name:1-a"),
    ],
)
def test_the_tag_comes_after_that_of_the_image(rpms: dict[str, str], image: str, tag: str, made: str) -> None:
    (planned,) = hotfix.plan([image, image], rpms, tag)
    assert str(planned.made) == made


def test_all_that_is_wrong_is_named() -> None:
    with pytest.raises(InputError) as caught:
        hotfix.plan(["A", f"x@sha256:{'0' * 64}"], {"debs_path": "/nowhere"}, "a b")
    assert [str(problem) for problem in caught.value.problems] == [
        "--tag '-a b' cannot be a part of a tag",
        "--debs-path is no directory: /nowhere",
        "A: 'A' is not in lower case (--image)",
        f"x@sha256:{'0' * 64}: it has a digest, and what is made of it would need a tag (--image)",
    ]


def test_packages_are_needed() -> None:
    with pytest.raises(InputError, match="there are no packages to install"):
        hotfix.plan(["localhost/a:1"], {}, "x")


def test_a_tag_can_become_too_long(rpms: dict[str, str]) -> None:
    with pytest.raises(InputError, match="cannot be a tag"):
        hotfix.plan([f"localhost/a:{'1' * 100}"], rpms, "2" * 100)


@pytest.mark.parametrize(
    ("image", "registry", "append", "there"),
    [
        ("localhost/image/name:1-fix", "192.168.24.1:8787", "", "192.168.24.1:8787/image/name:1-fix"),
        (
            "quay.io/tripleo/nova:1",
            "http://undercloud.ctlplane:8787/",
            "-x",
            "undercloud.ctlplane:8787/tripleo/nova:1-x",
        ),
        ("nova", "r:5000/mirror", "", "r:5000/mirror/library/nova:latest"),
    ],
)
def test_an_image_keeps_its_name_in_another_registry(image: str, registry: str, append: str, there: str) -> None:
    source, destination = destination_of(image, registry, append)
    assert str(destination) == there
    assert source.normalised() == source


def test_everything_wrong_with_a_push_is_named() -> None:
    with pytest.raises(InputError) as caught:
        destination_of("A:1", "registry")
    assert [problem.where for problem in caught.value.problems] == ["--registry-url", "IMAGE"]


@pytest.mark.parametrize("text", ["", "registry", "a b:1", "host:8787/path", "@"])
def test_a_host_is_no_other_text(text: str) -> None:
    with pytest.raises(InputError):
        host_of(text, "--registry")


def test_the_local_registry_is_as_configured_or_of_this_host() -> None:
    assert undercloud.local_registry("10.0.0.1") == "10.0.0.1:8787"
    assert parse(f"{undercloud.local_registry()}/a").registry == undercloud.local_registry()
