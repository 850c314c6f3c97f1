"""What a plan promises: its JSON, no secrets, host mirrors, partitions, and a fingerprint of all inputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import HOST, VALID, plan, request, values

from contract import schema_errors
from diskimage_create import plan as plans
from diskimage_create import prepare as preparing
from diskimage_create.cli.plan import _as_text
from diskimage_create.errors import InputError
from diskimage_create.host import AptSource
from diskimage_create.model import Source
from diskimage_create.settings import setting

DEBIAN_HOST = replace(
    HOST,
    distribution="debian",
    codename="bookworm",
    apt_sources=(
        AptSource("https://vendor.example/apt", "bookworm"),
        AptSource("http://mirror.example/debian", "bookworm"),
        AptSource("http://mirror.example/debian", "bookworm-updates"),
        AptSource("http://mirror.example/security", "bookworm-security"),
    ),
)


@pytest.mark.parametrize("os", VALID["os"])
def test_json_is_the_contract(os: str) -> None:
    said = {"os": os, "type": "tar,qcow2", "root_password": "x", "git_branch": "master"}
    made = plan(said, {"DIB_LOCAL_IMAGE": "/x"})
    data = json.loads(json.dumps(plans.as_json(made)))
    assert schema_errors(data, "plan") == []
    assert data["image"]["output"] == "/tmp/amphora-x64-haproxy.tar"
    assert data["local_fingerprint"] == made.fingerprint
    assert {element["name"] for element in data["resolved_elements"]} >= {"vm", "amphora-agent", "block-device-mbr"}
    assert data["elements"] == data["command"][-len(data["elements"]) :]


@given(options=st.fixed_dictionaries({}, optional={n: st.sampled_from(v) for n, v in VALID.items()}))
@settings(max_examples=25)
def test_json_keeps_the_contract_for_all_options(options: dict[str, Any]) -> None:
    if options.get("arch") == "armhf":  # of which archives alone can be made; FIPS mode brings a boot loader
        options |= {"type": "tar", "fips": False}
    made = plan(options, {"DIB_LOCAL_IMAGE": "/x"}, host=DEBIAN_HOST)
    assert schema_errors(plans.as_json(made), "plan") == []
    assert "loop_partitioning" not in made.environment["DIB_BLOCK_DEVICE_CONFIG"].value


def test_the_schema_refuses_what_is_no_plan() -> None:
    good = plans.as_json(plan())
    assert schema_errors({**good, "surprise": 1}, "plan")
    assert schema_errors({**good, "schema": 2}, "plan")
    assert schema_errors({**good, "image": {**good["image"], "size_gib": "5"}}, "plan")
    assert schema_errors({**good, "inputs": {**good["inputs"], "element:vm": "unknown"}}, "plan")


def test_the_command_of_disk_image_create() -> None:
    bare = plan().command
    assert bare[:11] == (
        *("disk-image-create", "-a", "amd64", "-o", "amphora", "-t", "raw", "--image-size", "5", "--image-cache"),
        str(Path("~/.cache/image-create").expanduser()),
    )
    assert bare[11] == "base"
    said = {"arch": "arm64", "no_tmpfs": True, "trace": 2, "package": ("strace",), "size": "3"}
    full = plan(said).command
    assert full[1:3] == ("-a", "arm64")
    assert {"--no-tmpfs", "-p", "strace", "3"} <= set(full)
    assert full.count("-x") == 2


SECRETS: dict[str, Callable[[], Any]] = {
    "root password": lambda: plan({"root_password": "canary"}),
    "by name": lambda: plan({}, {"DIB_DEV_USER_PASSWORD": "canary", "DIB_my_token": "canary", "DIB_SECRETS": "canary"}),
    "on the command line": lambda: plan({"env": ("API_TOKEN=canary", "INDEX=https://u:canary@host/")}),
    "mirror": lambda: plan({}, {"DIB_DISTRIBUTION_MIRROR": "https://user:canary@host/debian"}),
    "token in an address": lambda: plan({}, {"DIB_REPOLOCATION_amphora_agent": "https://canary@host/agent.git"}),
    "host's mirrors": lambda: plan(
        {"os": "debian"},
        host=replace(
            DEBIAN_HOST,
            apt_sources=(
                AptSource("http://u:canary@h/debian", "bookworm"),
                AptSource("http://u:canary@h/security", "bookworm-security"),
            ),
        ),
    ),
    "proxy": lambda: plan(
        {}, host=replace(HOST, proxies={"http_proxy": "http://u:canary@p:1", "https_proxy": "u:canary@p:1"})
    ),
    "index": lambda: plan(
        {}, host=replace(HOST, package_index={"PIP_INDEX_URL": "https://canary@h", "UV_INDEX": "a=https://u:canary@h"})
    ),
}


@pytest.mark.parametrize("where", SECRETS)
def test_secrets_are_nowhere_in_a_plan(where: str) -> None:
    made = SECRETS[where]()
    assert "canary" in str(values(made.environment)) + str(made.spec.root_password)
    for shown in (json.dumps(plans.as_json(made)), _as_text(made), repr(made), str(made.environment)):
        assert "canary" not in shown


@pytest.mark.parametrize(
    "value", ["http://host:8080/", "git@github.com:a/b", "ssh://git@host/x", "https://h/@scope/x", "a:b"]
)
def test_what_is_no_secret_is_shown(value: str) -> None:
    assert setting("DIB_REPOLOCATION_x", value, Source.FLAG).shown == value


def test_the_plan_says_where_a_value_came_from() -> None:
    said = plan({"size": "7", "env": ("FOO=1",)}, {"DIB_RELEASE": "jammy", "DIB_X": "y"}, host=DEBIAN_HOST)
    sources = plans.as_json(said)["sources"]
    assert sources["option:size"] == "flag"
    assert sources["option:release"] == "environment"
    assert sources["option:backend"] == "profile"
    assert sources["option:arch"] == "host"
    assert (sources["environment:FOO"], sources["environment:DIB_X"]) == ("flag", "environment")
    assert "DIB_RELEASE=jammy  (environment)" in _as_text(said)


def test_mirrors_of_the_host_are_used_for_its_own_distribution() -> None:
    environment = values(plan({"os": "debian"}, host=DEBIAN_HOST).environment)
    assert environment["DIB_DISTRIBUTION_MIRROR"] == "http://mirror.example/debian"
    assert environment["DIB_DEBIAN_SECURITY_MIRROR"] == "http://mirror.example/security"


@pytest.mark.parametrize("os", ["ubuntu", "rocky", "fedora"])
def test_mirrors_of_the_host_are_not_used_for_another_distribution(os: str) -> None:
    environment = values(plan({"os": os}, host=DEBIAN_HOST).environment)
    assert not {"DIB_DISTRIBUTION_MIRROR", "DIB_DEBIAN_SECURITY_MIRROR"} & set(environment)


@pytest.mark.parametrize("how", ["environment", "flag"])
def test_mirrors_of_the_host_are_not_used_when_one_was_named(how: str) -> None:
    name, text = "DIB_DISTRIBUTION_MIRROR", "http://mine.example/debian"
    said = {"os": "debian", "env": (f"{name}={text}",) if how == "flag" else ()}
    environment = plan(said, {name: text} if how == "environment" else {}, host=DEBIAN_HOST).environment
    assert environment[name].value == text
    assert "DIB_DEBIAN_SECURITY_MIRROR" not in environment


def layout(made: Any) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = yaml.safe_load(made.environment["DIB_BLOCK_DEVICE_CONFIG"].value)
    return nodes


OWN_LAYOUT = "- local_loop: {name: d}\n- partitioning: {base: d, label: gpt, partitions: []}\n"


@pytest.mark.parametrize("given_by", ["element", "variable", "file"])
@pytest.mark.parametrize("device_mapper", [True, False])
def test_our_partitioning_exactly_where_there_is_no_device_mapper(
    device_mapper: bool, given_by: str, tmp_path: Path
) -> None:
    (tmp_path / "layout").write_text(OWN_LAYOUT)
    environ = {
        "element": {},
        "variable": {"DIB_BLOCK_DEVICE_CONFIG": OWN_LAYOUT},
        "file": {"DIB_BLOCK_DEVICE_CONFIG": f"file://{tmp_path}/layout"},
    }[given_by]
    nodes = layout(plan({"os": "debian"}, environ, host=replace(HOST, device_mapper=device_mapper)))
    keys = {key for node in nodes for key in node}
    assert ("partitioning" in keys, "loop_partitioning" in keys) == (device_mapper, not device_mapper)
    table = next(node[key] for node in nodes for key in node if key.endswith("partitioning"))
    assert table["label"] == ("mbr" if given_by == "element" else "gpt")


def test_without_partitions_there_is_nothing_to_choose() -> None:
    made = plan({}, {"DIB_ELEMENTS": "debian-minimal"}, host=replace(HOST, device_mapper=False))
    assert "partitioning" not in made.environment["DIB_BLOCK_DEVICE_CONFIG"].value


@pytest.mark.parametrize("text", ["{", "text", "- 1", "file:///nowhere", "\t"])
def test_a_layout_that_is_none_is_bad_input(text: str) -> None:
    with pytest.raises(InputError, match="DIB_BLOCK_DEVICE_CONFIG"):
        plan({}, {"DIB_BLOCK_DEVICE_CONFIG": text})


def test_bad_directories_and_bad_options_are_reported_together() -> None:
    with pytest.raises(InputError) as caught:
        preparing.prepare(request({"size": "0"}, {"ELEMENTS_PATH": "/nowhere"}))
    assert [problem.where for problem in caught.value.problems] == ["--size", "ELEMENTS_PATH"]


def test_what_validation_will_expect() -> None:
    made = plan({"os": "debian", "no_sshd": True, "size": "3"}, {"CLOUD_INIT_DATASOURCES": "OpenStack, NoCloud"})
    expected = plans.expectation(made)
    assert (expected.arch, expected.distribution, expected.size_gib) == ("amd64", "debian", 3)
    assert (expected.sshd, expected.root_password) == (False, False)
    assert expected.datasources == ("OpenStack", "NoCloud")
    assert {"haproxy", "keepalived", "nftables", "irqbalance", "open-vm-tools"} <= set(expected.packages)
    assert "openssh-server" not in expected.packages
    other = plans.expectation(plan({}, {"DIB_ELEMENTS": "vm debian-minimal"}))
    assert (other.sshd, other.datasources, other.packages) == (None, None, ())
