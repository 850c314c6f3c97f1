"""The seed's combination of elements, as a profile."""

from __future__ import annotations

import pytest
from samples import plan, read, values

from diskimage_create import plan as plans
from diskimage_create import profiles

SEED = ["bootstrap", "local-config", "stackuser", "heat-cfntools"]
HEAT = {"profile": "heat-instance"}


def test_the_seeds_line_has_its_equivalent() -> None:
    said = {"os": "debian", "release": "bookworm", "arch": "i386", "uncompressed": True, "output": "bootstrap"}
    spec = read({**HEAT, **said})
    assert list(spec.elements) == ["base", "vm", "debian-minimal", *SEED, "pip-cache"]
    assert (spec.kernel, spec.compressed, spec.output.name) == ("linux-image-686", False, "bootstrap")
    assert plan({**HEAT, **said}).command[:3] == ("disk-image-create", "-a", "i386")


@pytest.mark.parametrize("os_name", profiles.load("heat-instance").operating_systems)
def test_every_operating_system_plans_with_its_defaults(os_name: str) -> None:
    made = plan({**HEAT, "os": os_name})
    assert {*SEED, "lend-uv"} <= {element.name for element in made.resolved}
    assert values(made.environment)["DIB_LOCAL_CONFIG_USERNAME"] == "stack"


@pytest.mark.parametrize("sshd", [True, False])
def test_what_validation_will_expect_of_it(sshd: bool) -> None:
    made = plan({**HEAT, "no_sshd": not sshd})
    expected = plans.expectation(made)
    assert (expected.key_user, expected.password_users, expected.sshd) == ("stack", (), sshd)
    assert expected.datasources == ("ConfigDrive", "OpenStack", "NoCloud")
    assert ("openssh-server" in expected.packages) is sshd
    assert "amphora-agent" not in expected.elements


def test_a_password_that_was_asked_for_is_expected() -> None:
    made = plan(HEAT, {"DIB_STACKUSER_PASSWORD_FILE": "/nonexistent/hash"})
    assert plans.expectation(made).password_users == ("stack",)


def test_keys_are_for_the_user_that_was_named() -> None:
    made = plan({"os": "debian", "element": ("local-config",)}, {"DIB_LOCAL_CONFIG_USERNAME": "debian"})
    assert plans.expectation(made).key_user == "debian"
    nobody = plan({"os": "debian", "element": ("local-config",)})
    assert plans.expectation(nobody).key_user is None


def test_no_ssh_server_on_demand() -> None:
    assert values(read(HEAT).environment)["DIB_BOOTSTRAP_SSH"] == "True"
    assert values(read({**HEAT, "no_sshd": True}).environment)["DIB_BOOTSTRAP_SSH"] == "False"
    asked = plan(HEAT, {"DIB_BOOTSTRAP_SSH": "False"})
    assert plans.expectation(asked).sshd is False
