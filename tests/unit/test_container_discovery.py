"""What registries are asked about a deployment's images: each thing once, and much of it at once."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from counting_registry import Counts, counting_registry

import tripleo_table
from diskimage_create.containers import deployment, packaged, prepare
from diskimage_create.containers.deployment import Given
from diskimage_create.containers.prepare import Resolved
from diskimage_create.errors import HostError, RemoteProblems
from diskimage_create.registries import Access


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tripleo_table.write(tmp_path)


def resolve(registry: Counts, entries: str, table: bool = True) -> Resolved:
    """The images of entries in which ``HERE`` is the registry."""
    text = f"parameter_defaults: {{ContainerImagePrepare: [{entries}]}}"
    Path("x.yaml").write_text(text.replace("HERE", registry.host))
    small = {"template": Path("table.yaml.j2"), "defaults": Path("defaults.yaml")} if table else {}
    access = Access(insecure=frozenset({registry.host}))
    found = deployment.read(Given((Path("x.yaml"),), **small), access, time.localtime())
    with prepare.resolve(found, 16) as resolved:
        return resolved


def test_each_image_takes_three_requests_and_many_are_asked_at_once():
    try:
        packaged.find(packaged.TABLE, "--template")
    except HostError:
        pytest.skip("tripleo-common is not installed")
    with counting_registry() as registry:
        registry.labels = {"rdo_version": "1_2"}
        registry.gather = 8
        entry = (
            "{tag_from_label: rdo_version, set: {namespace: HERE/n, ceph_images: false, pushgateway_namespace: HERE/p}}"
        )
        images = resolve(registry, f"{entry}, {entry}", table=False).images
        distinct = {image.source for image in images}
        asked = Counter(registry.asked)
    assert len(distinct) == 88
    assert max(count for path, count in asked.items() if "/manifests/" in path) == 1
    assert len(registry.asked) == 3 * len(distinct)
    assert registry.most >= 8
    assert {image.source.tag for image in images} == {"1_2"}


def test_a_tag_that_is_the_one_that_is_known_is_not_asked_for():
    with counting_registry() as registry:
        registry.labels = {"rdo_version": "current-tripleo"}
        resolve(registry, "{tag_from_label: rdo_version, includes: [nova], set: {namespace: HERE/n}}")
    assert len(registry.asked) == 2 * 2


def test_images_that_no_parameter_needs_are_not_asked_for():
    first = "{tag_from_label: rdo_version, set: {namespace: HERE/old, ceph_images: false}}"
    with counting_registry() as registry:
        registry.labels = {"rdo_version": "1"}
        second = "{set: {namespace: HERE/new, ceph_images: false}}"
        images = resolve(registry, f"{first}, {second}").images
    assert registry.asked == []
    assert {image.source.repository.partition("/")[0] for image in images} == {"new"}


def test_missing_labels_leave_the_tag_and_are_told_once():
    with counting_registry() as registry:
        registry.labels = {"version": "1"}
        resolved = resolve(
            registry, "{tag_from_label: '{version}-{release}', includes: [nova-], set: {namespace: HERE/n}}"
        )
    assert {image.source.tag for image in resolved.images} == {"current-tripleo"}
    assert resolved.notes == (
        "2 images have not the labels of tag_from_label {version}-{release}, and keep the tag: "
        "centos-binary-nova-api, centos-binary-nova-compute",
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no-such", "its labels make the tag no-such, and the registry has none"),
        ("a b", "its labels make 'a b', which cannot be a tag"),
    ],
)
def test_labels_that_make_no_tag_are_told_for_every_image(value, message):
    with counting_registry() as registry:
        registry.labels = {"rdo_version": value}
        with pytest.raises(RemoteProblems) as raised:
            resolve(registry, "{tag_from_label: rdo_version, includes: [nova-], set: {namespace: HERE/n}}")
    assert len(raised.value.problems) == 2
    assert all(message in problem.message for problem in raised.value.problems)


@pytest.mark.parametrize(
    ("only", "changed"),
    [
        ("", {"nova-api", "neutron-server-ovn"}),
        ("modify_only_with_labels: [nix, version],", {"nova-api", "neutron-server-ovn"}),
        ("modify_only_with_labels: [nix],", set()),
        ("modify_only_with_source: [kolla],", {"neutron-server-ovn"}),
        ("modify_only_with_source: [kolla], modify_only_with_labels: [nix],", {"neutron-server-ovn"}),
    ],
)
def test_only_some_images_are_changed(only, changed):
    entry = "{set: {namespace: HERE/n}, includes: [nova-api, ovn], push_destination: HERE/to, "
    with counting_registry() as registry:
        registry.labels = {"version": "1"}
        images = resolve(registry, f"{entry} {only} modify_role: r, modify_append_tag: -x}}").images
    assert {image.name.removeprefix("centos-binary-") for image in images if image.modification} == changed
    for image in images:
        assert image.destination.tag == ("current-tripleo-x" if image.modification else "current-tripleo")
        assert str(image.destination).startswith(f"{registry.host}/to/n/")


def test_a_name_without_registry_is_looked_for_where_it_is_to_go():
    entry = "{includes: [nova-api], push_destination: HERE, set: {namespace: built, tag: TAG}}"
    with counting_registry() as registry:
        (there,) = resolve(registry, entry.replace("TAG", "hotfix")).images
        (missing,) = resolve(registry, entry.replace("TAG", "no-hotfix")).images
    assert there.source == there.destination
    assert missing.source != missing.destination
    assert str(missing.source) == "built/centos-binary-nova-api:no-hotfix"
    assert str(missing.destination) == f"{registry.host}/built/centos-binary-nova-api:no-hotfix"
