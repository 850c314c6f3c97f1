"""What environment files and roles say of a deployment's images, and what is wrong with them."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tripleo_table
from diskimage_create.containers import deployment, environment, heat
from diskimage_create.containers.deployment import Deployment, Given
from diskimage_create.containers.environment import Section
from diskimage_create.errors import DiskImageError, InputError, Problem
from diskimage_create.registries import Access, Credentials

NOW = time.strptime("2026-01-02 03:04:05", "%Y-%m-%d %H:%M:%S")
ROLES = """\
- name: Controller
  CountDefault: 1
  ServicesDefault: ['OS::TripleO::Services::NovaApi', 'OS::TripleO::Services::NeutronApi']
- name: Compute
  ServicesDefault: ['OS::TripleO::Services::NovaCompute']
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tripleo_table.write(tmp_path)


def read(*texts: str, access: Access | None = None, roles: str | None = None) -> Deployment:
    """What environment files of some texts say; they are x0.yaml, x1.yaml, ..."""
    paths = []
    for number, text in enumerate(texts):
        paths.append(Path(f"x{number}.yaml"))
        paths[-1].write_text(text)
    if roles is not None:
        Path("roles.yaml").write_text(roles)
    files = Given(
        tuple(paths),
        roles=Path("roles.yaml") if roles is not None else None,
        defaults=Path("defaults.yaml"),
        template=Path("table.yaml.j2"),
    )
    return deployment.read(files, access or Access(), NOW)


def problems(*texts: str, **more: str) -> list[Problem]:
    with pytest.raises(InputError) as raised:
        read(*texts, **more)
    return list(raised.value.problems)


def parameters(**values: object) -> str:
    return json.dumps({"parameter_defaults": values}, indent=0)


def entry(**values: object) -> str:
    """An environment file with one entry, each of its keys on a line of its own."""
    return parameters(ContainerImagePrepare=[values])


def wanted(found: Deployment) -> dict[str, str]:
    return {parameter: each.row.imagename for each in found.wanted for parameter in each.parameters}


# Merging


def test_the_last_file_that_sets_a_parameter_counts():
    found = read(
        entry(set={"tag": "first"}) + "\n",
        parameters(Other=1),
        entry(set={"tag": "second"}),
    )
    assert wanted(found)["ContainerNovaApiImage"].endswith(":second")


def test_directories_come_first_in_the_order_of_names(tmp_path):
    directory = tmp_path / "environments"
    directory.mkdir()
    for name in ("b.yaml", "a.yaml", "c.txt"):
        (directory / name).write_text("")
    found: list[Problem] = []
    assert heat.files([Path("x")], [directory], found) == [directory / "a.yaml", directory / "b.yaml", Path("x")]
    assert found == []
    assert heat.files([], [Path("nowhere")], found) == []
    assert [problem.message for problem in found] == ["nowhere is no directory"]


@pytest.mark.parametrize("text", ["", "parameter_defaults:\n", parameters(ContainerImagePrepare=[]), parameters(X=1)])
def test_without_entries_the_defaults_are_used(text):
    found = read(text)
    assert wanted(found)["ContainerNovaApiImage"] == "docker.io/tripleomaster/centos-binary-nova-api:current-tripleo"
    assert found.wanted[0].entry.tag_from_label == "rdo_version"
    assert found.notes == ("there is no ContainerImagePrepare: tripleo-common's defaults are used",)


def test_tags_are_as_they_are_written():
    found = read("parameter_defaults: {ContainerImagePrepare: [{set: {tag: 1.10, ceph_tag: 2026-01-02}}]}")
    assert wanted(found)["ContainerNovaApiImage"].endswith(":1.10")
    assert wanted(found)["ContainerCephDaemonImage"].endswith(":2026-01-02")


def test_values_of_an_earlier_entry_are_not_inherited():
    first = {"set": {"namespace": "q.io/first", "name_prefix": "p"}, "excludes": ["nova-api"]}
    second = {"set": {"tag": "t"}, "includes": ["nova-api"]}
    found = wanted(read(parameters(ContainerImagePrepare=[first, second])))
    assert found["ContainerNovaComputeImage"] == "q.io/first/p-nova-compute:current-tripleo"
    assert found["ContainerNovaApiImage"] == "docker.io/tripleomaster/centos-binary-nova-api:t"


def test_notes_name_what_has_no_effect():
    found = read(
        entry(set={"namspace": "q.io/n"}, includes=["nova", "cinder"]),
    )
    assert [note.replace("x0.yaml:4", "X") for note in found.notes] == [
        "set.namspace (X) is nothing that the table of images uses: did you mean namespace?",
        "includes: cinder (X) is in no image's name",
    ]


# Roles


@pytest.mark.parametrize(
    ("more", "left"),
    [
        ({}, {"neutron-server", "neutron-server-ovn", "nova-api"}),
        ({"ControllerCount": 0}, set()),
        ({"ComputeCount": "2"}, {"neutron-server", "neutron-server-ovn", "nova-api", "nova-compute"}),
        ({"ControllerServices": ["OS::TripleO::Services::CephMon"]}, {"daemon"}),
        ({"NeutronMechanismDrivers": "openvswitch"}, {"neutron-server", "nova-api"}),
    ],
)
def test_only_services_of_roles_with_nodes_count(more, left):
    found = read(parameters(**more), roles=ROLES)
    assert {each.row.name.removeprefix("centos-binary-") for each in found.wanted} == left


def test_services_that_are_mapped_to_nothing_do_not_count():
    text = "resource_registry: {'OS::TripleO::Services::NovaApi': OS::Heat::None}"
    assert "ContainerNovaApiImage" not in wanted(read(text, roles=ROLES))
    assert "ContainerNovaApiImage" in wanted(read(text))


def test_wrong_roles_are_told():
    assert problems("", roles="- nam: x\n- name: y\n  CountDefault: many\n") == [
        Problem("0: there is no name", "roles.yaml:1"),
        Problem("1.CountDefault must be a whole number", "roles.yaml:3"),
    ]
    assert problems(parameters(ControllerCount="x", ComputeCount=1, ComputeServices="y"), roles=ROLES) == [
        Problem("ControllerCount must be a whole number", "x0.yaml:3"),
        Problem("ComputeServices must be a list of services", "x0.yaml:5"),
    ]


# Entries


def test_every_problem_is_told_with_its_line():
    text = """\
parameter_defaults:
  ContainerImagePrepare:
  - set: namespace
    includes: nova
    exclude: [x]
    push_destination: 5
  - set: {tag: [x]}
  - tag_from_label: {version}
    multi_arch: maybe
"""
    found = problems(text, parameters(ContainerImagePrepare="x"))
    assert [(problem.where, problem.message.partition(".ContainerImagePrepare.")[2]) for problem in found] == [
        ("x0.yaml:3", "0.set must be a mapping or nothing"),
        ("x0.yaml:4", "0.includes must be a list or nothing"),
        ("x0.yaml:5", "0: unknown key exclude"),
        ("x0.yaml:6", "0.push_destination must be text or true or false or nothing"),
        ("x0.yaml:7", "1.set.tag must not be a mapping or a list"),
        ("x0.yaml:8", "2.tag_from_label must be text or nothing"),
        ("x0.yaml:9", "2.multi_arch must be true or false or nothing"),
        ("x1.yaml:3", ""),
    ]
    assert found[2].hint == "did you mean excludes?"
    assert "'{version}-{release}'" in (found[5].hint or "")


def test_a_template_without_quotes_is_told_as_that():
    (found,) = problems(
        "parameter_defaults:\n  ContainerImagePrepare:\n  - tag_from_label: {version}-{release}\n    set: {}\n"
    )
    assert found.where == "x0.yaml:3"
    assert found.hint == "put it in quotes: '{version}-{release}'"


@pytest.mark.parametrize("text", ["{version", "version}", "{}", "{a}{", ""])
def test_a_template_that_is_none_is_told(text):
    (found,) = problems(entry(tag_from_label=text))
    assert found.message == f"{text!r} is no template of labels"
    assert found.where == "x0.yaml:5"


@pytest.mark.parametrize(
    ("values", "message", "where"),
    [
        ({"push_destination": "undercloud"}, "push_destination has no registry", "x0.yaml:5"),
        ({"push_destination": "http://h:1"}, "push_destination is an address of the web", "x0.yaml:5"),
        ({"modify_role": "tripleo-modify-image"}, "modify_role needs a push_destination", "x0.yaml:5"),
        ({"set": {"tag": "a b"}}, "image docker.io/tripleomaster/centos-binary-neutron", "x0.yaml:4"),
        ({"set": {"namespace": "q.io/UPPER"}, "push_destination": "h:1"}, "image q.io/UPPER/centos", "x0.yaml:4"),
        ({"pull_source": "q.io"}, "image docker.io/tripleomaster", "x0.yaml:4"),
    ],
)
def test_what_a_schema_cannot_say_is_told(values, message, where):
    found = problems(entry(**values))
    assert found[0].message.startswith(message)
    assert found[0].where == where


def test_a_change_is_described():
    found = read(
        entry(
            push_destination="h:1",
            includes=["nova-api"],
            modify_role="some-role",
            modify_vars={"x": 1},
            modify_only_with_labels=["a"],
        )
    )
    modification = found.wanted[0].entry.modification
    assert modification is not None
    assert (modification.role, modification.append_tag) == ("some-role", "-modified-20260102030405")
    assert (dict(modification.variables), modification.only_with_labels) == ({"x": 1}, ("a",))


def test_a_change_of_several_architectures_is_refused():
    text = entry(push_destination="h:1", modify_role="some-role", multi_arch=True)
    assert problems(text)[0].message == "an image of several architectures cannot be changed"


@pytest.mark.parametrize(
    ("more", "many"),
    [({}, False), ({"multi_arch": True}, True)],
)
def test_architectures(more, many):
    assert read(entry(**more)).wanted[0].entry.multi_arch is many
    both = parameters(AdditionalArchitectures=["ppc64le"], ContainerImagePrepare=[more or {"multi_arch": False}])
    assert read(both).wanted[0].entry.multi_arch is many


@pytest.mark.parametrize(("address", "place"), [("192.168.24.1", "192.168.24.1:8787"), ("fd00::1", "[fd00::1]:8787")])
def test_true_is_the_local_registry(address, place):
    found = read(parameters(LocalContainerRegistry=address, ContainerImagePrepare=[{"push_destination": True}]))
    assert found.wanted[0].entry.push_destination == place


# Registries


def test_credentials_are_added_to_those_of_the_host():
    known = Access({"a.io": Credentials("u", "p"), "b.io": Credentials("u", "p")})
    found = read(parameters(ContainerImageRegistryCredentials={"b.io": {"me": "secret"}}), access=known)
    assert found.access.credentials == {"a.io": Credentials("u", "p"), "b.io": Credentials("me", "secret")}


@pytest.mark.parametrize(
    "given",
    [
        "hunter2",
        ["hunter2"],
        {"quay.io": "hunter2"},
        {"quay.io": ["hunter2"]},
        {"quay.io": {"user": "me", "password": "hunter2"}},
        {"quay.io": {}},
        {"quay.io": {"me": 1234567}},
        {"quay.io": {"me": {"hunter2": 1}}},
        {"quay.io": {"me": ""}},
        {"quay.io": {"": "hunter2"}},
        {"quay.io": {"hunter2:x": "y"}},
        {"quay": {"me": "hunter2"}},
        {"https://quay.io": {"me": "hunter2"}},
        {"hunter2 quay.io": {"me": "x"}},
    ],
)
def test_credentials_of_another_form_are_refused_and_not_shown(given):
    found = problems(parameters(ContainerImageRegistryCredentials=given))
    assert all("ContainerImageRegistryCredentials" in problem.message for problem in found)
    assert [problem.where for problem in found if not (problem.where or "").startswith("x0.yaml:")] == []
    assert "hunter2" not in str(found)
    assert "1234567" not in str(found)


@pytest.mark.parametrize("password", ["!hunter2", "!!int hunter2", "*hunter2", "@hunter2", "{hunter2", '"\\hunter2"'])
def test_a_password_that_is_no_yaml_is_not_shown(password):
    text = f"parameter_defaults:\n  ContainerImageRegistryCredentials:\n    quay.io:\n      me: {password}\n"
    (found,) = problems(text)
    assert "hunter2" not in str(found)
    assert (found.where or "").startswith("x0.yaml:")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.recursive(
        st.just("hunter2") | st.integers() | st.none() | st.booleans(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["quay.io", "hunter2"]), inner),
        max_leaves=6,
    )
)
def test_no_form_of_credentials_is_shown(given):
    try:
        shown = str(read(parameters(ContainerImageRegistryCredentials=given)))
    except DiskImageError as error:
        shown = str(error)
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("namespace", "more", "user"),
    [
        ("quay.io/ceph", {}, "me"),
        ("quay.io/ceph/deep", {"quay.io/ceph": {"part": "p"}}, "part"),
        ("docker.io/ceph", {"docker.io": {"hub": "p"}}, "hub"),
        ("ceph", {"docker.io": {"hub": "p"}}, "hub"),
        ("other.io/ceph", {}, None),
    ],
)
def test_the_credentials_of_cephs_registry_are_told_apart(namespace, more, user):
    given = {"quay.io": {"me": "p"}, **more}
    found = read(
        parameters(
            ContainerImageRegistryCredentials=given,
            ContainerImagePrepare=[{"set": {"ceph_namespace": namespace}}],
        )
    )
    assert (found.ceph.user if found.ceph else None) == user


def test_without_ceph_its_credentials_are_not_told():
    entries = [{"set": {"ceph_namespace": "quay.io/ceph", "ceph_images": False}}]
    found = read(parameters(ContainerImageRegistryCredentials={"quay.io": {"me": "p"}}, ContainerImagePrepare=entries))
    assert found.ceph is None


@pytest.mark.parametrize("given", [["a.io", "b:5000"], "a.io, b:5000"])
def test_insecure_registries(given):
    found = read(parameters(DockerInsecureRegistryAddress=given), access=Access(insecure=frozenset({"c:1"})))
    assert found.insecure == ("a.io", "b:5000")
    assert found.access.insecure == {"a.io", "b:5000", "c:1"}


@pytest.mark.parametrize(
    "values",
    [
        {"DockerInsecureRegistryAddress": ["http://a.io"]},
        {"DockerInsecureRegistryAddress": ["a.io/path"]},
        {"DockerRegistryMirror": "mirror"},
        {"DockerRegistryMirror": 5},
        {"LocalContainerRegistry": "http://h", "ContainerImagePrepare": [{"push_destination": True}]},
        {"NeutronMechanismDrivers": 5},
    ],
)
def test_wrong_siblings_are_told(values):
    (found,) = problems(parameters(**values))
    assert next(iter(values)) in found.message
    assert found.where == ("x0.yaml:3" if not isinstance(values[next(iter(values))], list) else found.where)


def test_a_mirror_without_tls_is_used_without():
    found = read(parameters(DockerRegistryMirror="http://m:5000/"))
    assert (found.mirror, found.access.insecure, found.insecure) == ("m:5000", {"m:5000"}, ())


# What is written


def test_the_environment_file_is_always_the_same_and_says_what_is_in_it():
    sections = [
        Section("Images", {"B": "q.io/b:1", "A": "q.io/a:1"}),
        Section("Nothing", {}),
        Section("More", {"C": [1]}),
    ]
    text = environment.as_yaml(sections, "By a test")
    assert text == (
        "# By a test\nparameter_defaults:\n  # Images\n  A: q.io/a:1\n  B: q.io/b:1\n  # More\n  C:\n  - 1\n"
    )
    assert yaml.safe_load(text) == {"parameter_defaults": {"A": "q.io/a:1", "B": "q.io/b:1", "C": [1]}}
    assert yaml.safe_load(environment.as_yaml([])) == {"parameter_defaults": {}}


@given(st.dictionaries(st.text(), st.text() | st.lists(st.text()), max_size=4))
def test_any_values_can_be_read_again(values):
    assert yaml.safe_load(environment.as_yaml([Section("x", values)])) == {"parameter_defaults": values}


def test_what_was_there_is_kept(tmp_path):
    path = tmp_path / "out.yaml"
    assert environment.write(path, [Section("x", {"A": "1"})], "h", "--o") is None
    first = path.read_text()
    assert environment.write(path, [Section("x", {"A": "2"}, secret=True)], "h", "--o") == tmp_path / "out.yaml.backup"
    assert (tmp_path / "out.yaml.backup").read_text() == first
    assert path.stat().st_mode & 0o777 == 0o600
    assert environment.write(path, [Section("x", {"A": "3"})], "h", "--o")
    assert "A: '2'" in (tmp_path / "out.yaml.backup").read_text()
    assert (tmp_path / "out.yaml.backup").stat().st_mode & 0o777 == 0o600
    assert sorted(each.name for each in tmp_path.glob("*out*")) == ["out.yaml", "out.yaml.backup"]


@pytest.mark.parametrize(
    ("name", "renamed"),
    [
        ("ContainerNovaApiImage", "DockerNovaApiImage"),
        ("PrometheusContainerImage", "PrometheusContainerImage"),
        ("ContainerX", "ContainerX"),
    ],
)
def test_parameters_can_have_their_old_names(name, renamed):
    assert environment.renamed(name, "Docker") == renamed
    assert environment.renamed(name, "Container") == name


def test_one_problem_does_not_hide_the_others():
    text = """\
parameter_defaults:
  ContainerImageRegistryCredentials: {quay.io: hunter2}
  ControllerCount: many
  ContainerImagePrepare:
  - includs: [a]
  - tag_from_label: '{version'
    push_destination: nohost
  - 5
"""
    found = problems(text, roles=ROLES)
    assert [problem.where for problem in found] == [f"x0.yaml:{line}" for line in (5, 8, 3, 7, 6, 2)]
    assert "hunter2" not in str(found)


def test_a_name_that_cannot_be_is_told_once_for_all_images():
    (problem,) = problems(entry(set={"tag": "in valid"}))
    assert "neutron-metadata-agent:in valid (and 4 more): 'in valid' cannot be a tag" in problem.message


@pytest.mark.parametrize("address", ["1.2.3.4:8787", "undercloud:8787"])
def test_the_local_registry_has_no_port(address):
    text = parameters(LocalContainerRegistry=address, ContainerImagePrepare=[{"push_destination": True}])
    (problem,) = problems(text)
    assert problem.message == "LocalContainerRegistry must be an address, or a name, without a port"


@pytest.mark.parametrize("value", ["{hunter2: a, hunter2: b}", "{[hunter2]: a}", "{a: *hunter2}", "{a: 2024-13-45}"])
def test_what_is_wrong_with_credentials_as_yaml_shows_none(value):
    found = problems(f"parameter_defaults:\n  ContainerImageRegistryCredentials:\n    quay.io: {value}\n")
    assert {problem.where for problem in found} == {"x0.yaml:3"}
    assert "hunter2" not in str(found)
    assert "2024" not in str(found)
