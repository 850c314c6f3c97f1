"""Images of configuration files, built for real: one of them cannot be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from building import Built, leftovers, run_build

from contract import schema_errors
from diskimage_create.validate.image import open_image
from diskimage_create.validate.root import ImageRoot

IMAGES = """\
disk_images:
  - imagename: broken
    distro: debian-minimal
    elements: [vm, breaks]
    environment: {DIB_RELEASE: bookworm, SITE_OF_BROKEN: canary, DIB_OF_BROKEN: canary}
  - imagename: site
    distro: debian-minimal
    elements: [vm, cloud-init]
    type: qcow2,tar
    options: ["--mkfs-options '-i 32768'", --image-size 3, "--qemu-img-options lazy_refcounts=on"]
    environment: {DIB_RELEASE: bookworm, SITE_NUMBER: 0644}
"""
SITE = """\
disk_images:
  - imagename: site
    elements: [witness]
    packages: [strace]
    options: [--root-label site-root]
    environment: {DIB_GRUB_TIMEOUT: 0}
"""
HOOKS = {
    # The environment of a hook on the host, and of one in the target
    "witness/extra-data.d/10-see": 'env > "$TMP_HOOKS_PATH/seen-on-host"',
    "witness/install.d/10-see": "{ cat /tmp/in_target.d/seen-on-host; env; } | grep -E '_OF_|^SITE' > /etc/seen",
    "breaks/root.d/00-break": "echo this one cannot be built; exit 3",
}


@pytest.fixture(scope="module")
def built(builds: Path) -> Built:
    directory = builds / "configured"
    (directory / "images").mkdir(parents=True)
    for name, text in HOOKS.items():
        path = directory / "elements" / name
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/bash\nset -e\n{text}\n")
        path.chmod(0o755)
    (directory / "images.yaml").write_text(IMAGES)
    (directory / "site.yaml").write_text(SITE)
    files = ("--config", "images.yaml", "--config", "site.yaml", "--output-directory", "images")
    done = run_build(directory, *files, env={"ELEMENTS_PATH": f"{directory}/elements"})
    return Built(directory / "images", done.stdout, done.stderr, done.returncode, "site")


@pytest.fixture
def root(built: Built, tmp_path: Path) -> Iterator[ImageRoot]:
    with open_image(built.path(), workspace=tmp_path) as view:
        yield view.root


def test_one_that_cannot_be_built_does_not_keep_the_others_from_being_built(built: Built) -> None:
    assert built.returncode == 4, built.stderr[-4000:]
    assert "00-break" in built.stderr
    assert "this one cannot be built" in built.stderr
    assert built.stdout.splitlines() == [str(built.path()), str(built.path("tar"))]
    assert not (built.directory / "broken.qcow2").exists()
    assert (built.directory / "broken.log").exists()
    assert leftovers() == set()


def test_it_is_what_the_files_ask_for(built: Built) -> None:
    record = built.record()
    assert schema_errors(record, "record") == []
    assert record["validation"]["ok"]
    assert (record["image"]["profile"], record["image"]["size_gib"]) == ("site", 3)
    assert record["elements"][:4] == ["debian-minimal", "vm", "cloud-init", "witness"]
    assert "strace" in {package["package"] for package in record["packages"]}
    assert record["environment"]["SITE_NUMBER"] == "0644"
    assert "-i 32768" in built.log
    assert "site-root" in built.log


def test_variables_of_one_image_do_not_reach_the_next(root: ImageRoot) -> None:
    assert root.read_text("etc/seen").splitlines() == ["SITE_NUMBER=0644"] * 2  # on the host, and in the target


def test_it_is_not_built_again(built: Built) -> None:
    directory = built.directory.parent
    files = ("--config", "images.yaml", "--config", "site.yaml", "--output-directory", "images", "--image", "site")
    again = run_build(directory, *files, env={"ELEMENTS_PATH": f"{directory}/elements"})
    assert again.returncode == 0, again.stderr
    assert json.loads(built.path("qcow2.json").read_text())["built"] is False
