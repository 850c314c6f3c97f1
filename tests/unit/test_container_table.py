"""The table of a deployment's images: evaluated, filtered, layered."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tripleo_table
from diskimage_create.containers import destinations, filters, heat, packaged, table
from diskimage_create.containers.entries import Entry
from diskimage_create.containers.layering import layered
from diskimage_create.containers.table import Row
from diskimage_create.errors import HostError, InputError
from diskimage_create.references import InvalidReference, parse


@pytest.fixture
def small(tmp_path: Path) -> table.Table:
    tripleo_table.write(tmp_path)
    return table.load(tmp_path / "table.yaml.j2")


@pytest.fixture
def defaults(tmp_path: Path) -> dict[str, object]:
    tripleo_table.write(tmp_path)
    return heat.read([tmp_path / "defaults.yaml"], []).written("ContainerImagePrepare", 0, "set")


def names(rows: list[Row]) -> list[str]:
    return [row.name for row in rows]


def test_the_table_is_evaluated(small, defaults):
    rows = small.rows(table.values({}, defaults, None))
    assert rows[2] == Row(
        "docker.io/tripleomaster/centos-binary-nova-api:current-tripleo",
        ("ContainerNovaApiImage", "ContainerNovaConfigImage"),
        frozenset({"OS::TripleO::Services::NovaApi"}),
        "tripleo",
    )
    assert rows[-1].imagename == "docker.io/ceph/daemon:4.10"
    assert {"namespace", "ceph_images", "ceph_tag"} <= small.variables


def test_missing_values_come_from_the_defaults(defaults):
    made = table.values({"namespace": "mylocal", "tag": None}, defaults, None)
    assert (made["namespace"], made["tag"], made["name_prefix"]) == ("mylocal", "current-tripleo", "centos-binary-")


@pytest.mark.parametrize(
    ("prefix", "suffix", "made"),
    [("", "", ("", "")), ("a", "b", ("a-", "-b")), ("a-", "-b", ("a-", "-b")), (None, None, ("centos-binary-", ""))],
)
def test_prefix_and_suffix_get_their_hyphens(defaults, prefix, suffix, made):
    values = table.values({"name_prefix": prefix, "name_suffix": suffix}, defaults, None)
    assert (values["name_prefix"], values["name_suffix"]) == made


@pytest.mark.parametrize(
    ("said", "drivers", "driver"),
    [
        (None, None, "ovn"),
        ("", ["openvswitch", "ovn"], "ovn"),
        (None, "openvswitch, ovn", "ovn"),
        (None, "openvswitch", "other"),
        (None, ["ovnish"], "other"),
        (None, [], "other"),
        ("other", None, "other"),
    ],
)
def test_the_neutron_driver_follows_the_mechanism_drivers(defaults, said, drivers, driver):
    assert (
        table.values({"neutron_driver": said}, defaults | {"neutron_driver": "ovn"}, drivers)["neutron_driver"]
        == driver
    )


def test_ceph_can_be_left_out(small, defaults):
    without = small.rows(table.values({"ceph_images": False}, defaults, None))
    assert "daemon" not in names(without)


@pytest.mark.parametrize(
    ("text", "message", "where"),
    [
        ("a\n{% if %}", "is no template: Expected an expression", "table.j2:2"),
        ("a: 1\n\n{{ nix }}", "cannot be evaluated: 'nix' is undefined", "table.j2:3"),
        ("{{ namespace }}", "cannot be evaluated: 'namespace' is undefined", "table.j2:1"),
        ("{% include 'inner.j2' %}", "cannot be evaluated: 'no' is undefined", "inner.j2:2"),
        ("{% include 'missing.j2' %}", "includes missing.j2, which is not there", "table.j2"),
        ("{{ ''.__class__ }}", "cannot be evaluated: access to attribute '__class__'", "table.j2:1"),
        ("{{ 1 / 0 }}", "cannot be evaluated: division by zero", "table.j2:1"),
        ("a: [1}", "makes no table: is no YAML", "table.j2, line 1 of what it makes"),
        ("[]", "makes no table: the file must be a mapping", "table.j2, line 1 of what it makes"),
        (
            "container_images_template:\n- imagenam: x",
            "makes no table: container_images_template.0: there is no imagename",
            "table.j2, line 2 of what it makes",
        ),
    ],
)
def test_a_wrong_template_is_told_by_its_line(tmp_path, text, message, where):
    (tmp_path / "table.j2").write_text(text)
    (tmp_path / "inner.j2").write_text("x\n{{ no }}")
    with pytest.raises(InputError) as raised:
        table.load(tmp_path / "table.j2").rows({})
    (problem,) = raised.value.problems
    assert problem.message.startswith(message)
    assert problem.where == f"{tmp_path}/{where}"


def test_tripleo_commons_table_is_read():
    try:
        path = packaged.find(packaged.TABLE, "--template")
    except HostError:
        pytest.skip("tripleo-common is not installed")
    values = heat.read([packaged.find(packaged.DEFAULTS, "--defaults")], []).written("ContainerImagePrepare", 0, "set")
    rows = table.load(path).rows(table.values({}, values, None))
    assert len(rows) == 95
    assert len({parameter for row in rows for parameter in row.parameters}) == 148


def test_what_is_not_installed_is_said(tmp_path):
    with pytest.raises(HostError, match="is not installed") as raised:
        packaged.find(packaged.TABLE, "--template", [tmp_path])
    assert "--template" in (raised.value.hint or "")
    installed = tmp_path / "share/openstack-tripleo-common/container-images" / packaged.TABLE
    installed.parent.mkdir(parents=True)
    installed.touch()
    assert packaged.find(packaged.TABLE, "--template", [tmp_path / "no", tmp_path]) == installed


# Filters


ROWS = [
    Row("q.io/n/nova-api:1", services=frozenset({"A"})),
    Row("q.io/n/nova-compute:1", services=frozenset({"B"})),
    Row("q.io/ceph/daemon:1", services=frozenset({"A", "C"})),
]


@pytest.mark.parametrize(
    ("includes", "excludes", "services", "left"),
    [
        ((), (), None, ["nova-api", "nova-compute", "daemon"]),
        (("nova",), (), None, ["nova-api", "nova-compute"]),
        ((), ("nova-api",), None, ["nova-compute", "daemon"]),
        (("nova-api",), ("nova",), None, ["nova-api"]),
        ((), ("ceph",), None, ["nova-api", "nova-compute"]),
        (("nova.api",), (), None, []),
        ((), (), {"A"}, ["nova-api", "daemon"]),
        (("nova",), (), {"B"}, ["nova-compute"]),
        ((), (), set(), []),
    ],
)
def test_includes_win_over_excludes_and_services_count_besides(includes, excludes, services, left):
    assert names(filters.chosen(ROWS, includes, excludes, services)) == left


# Layers


rows = st.builds(
    Row,
    imagename=st.sampled_from(["q.io/a:1", "q.io/b:1", "q.io/c:2"]),
    parameters=st.lists(st.sampled_from("PQRST"), unique=True).map(tuple),
)


@given(st.lists(st.lists(rows, max_size=4), max_size=4))
def test_a_later_entry_overwrites_the_parameters_that_it_sets(layers):
    entries = [(Entry(f"x:{number}"), each) for number, each in enumerate(layers)]
    wanted = layered(entries)
    plain = {name: row.imagename for each in layers for row in each for name in row.parameters}
    assert {name: each.row.imagename for each in wanted for name in each.parameters} == plain
    assert all(each.parameters or not each.row.parameters for each in wanted)


# Names


@pytest.mark.parametrize(
    ("imagename", "to", "append", "there"),
    [
        ("docker.io/tripleomaster/x:1", "192.168.24.1:8787", "", "192.168.24.1:8787/tripleomaster/x:1"),
        ("mylocal/x:1", "192.168.24.1:8787", "", "192.168.24.1:8787/mylocal/x:1"),
        ("localhost/x:1", "h:1", "", "h:1/x:1"),
        ("docker.io//x:1", "h:1", "", None),
        ("q.io/n/x:1", "h:1/pre/fix", "-hotfix", "h:1/pre/fix/n/x:1-hotfix"),
        ("q.io/n/x", "h:1", "-hotfix", "h:1/n/x:latest-hotfix"),
        ("x:1", "h:1", "", "h:1/x:1"),
        ("x:1", "h:1", "!", None),
    ],
)
def test_the_registry_is_replaced_and_all_else_stays(imagename, to, append, there):
    if there is None:
        with pytest.raises(InvalidReference):
            destinations.destination(destinations.source(imagename), to, append)
    else:
        assert str(destinations.destination(destinations.source(imagename), to, append)) == there


@pytest.mark.parametrize("slashes", ["h:1//pre//fix/", "h:1/pre/fix", "h:1/pre/fix//"])
def test_there_are_no_double_slashes(slashes):
    assert str(destinations.destination(parse("q.io/n/x:1"), slashes)) == "h:1/pre/fix/n/x:1"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("192.168.24.1:8787", False),
        ("[fd00::1]:8787", False),
        ("localhost", False),
        ("r.example.com/prefix", False),
        ("undercloud", True),
        ("http://h:1", True),
        ("h:1/UPPER", True),
        ("", True),
        ("h:1 ", True),
    ],
)
def test_a_push_destination_names_a_registry(text, wrong):
    assert (destinations.wrong_with(text) is not None) == wrong


def test_the_registry_of_names_without_one_can_be_given():
    assert str(destinations.source("n/x:1", "q.io/m/")) == "q.io/m/n/x:1"
    with pytest.raises(InvalidReference):
        destinations.source("q.io/n/x:1", "q.io")


@pytest.mark.parametrize(
    ("address", "registry"),
    [
        ("https://m.example.com/", ("m.example.com", False)),
        ("http://192.168.24.1:5000", ("192.168.24.1:5000", True)),
        ("m.example.com", None),
        ("ftp://m.example.com", None),
        ("https://user:secret@m.example.com", None),
        ("https://m.example.com/path", None),
        ("http://mirror", None),
    ],
)
def test_the_mirror_is_a_registry(address, registry):
    if registry is None:
        with pytest.raises(ValueError, match=r"^(is|has) ") as raised:
            destinations.mirror(address)
        assert "secret" not in str(raised.value)
    else:
        assert destinations.mirror(address) == registry


@pytest.mark.parametrize("hub", ["docker.io/library/nginx:1", "nginx:1", "index.docker.io/nginx:1"])
def test_only_images_of_docker_hub_come_from_the_mirror(hub):
    assert str(destinations.through(parse(hub), "m:1")) == "m:1/library/nginx:1"
    assert destinations.through(parse("q.io/x:1"), "m:1") == parse("q.io/x:1")
    assert destinations.through(parse(hub), None) == parse(hub)
