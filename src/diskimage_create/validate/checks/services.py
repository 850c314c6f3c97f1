"""Checks of the services that an amphora is made of, besides the agent."""

from __future__ import annotations

import re
from typing import Any

from diskimage_create.model import Expectation
from diskimage_create.validate.registry import Outcome, check, listed, skipped, verdict
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.system.units import enabling_links, is_enabled
from diskimage_create.validate.view import ImageView

_SSH_UNITS = ("ssh.service", "sshd.service", "ssh.socket", "sshd.socket")


@check("haproxy", "haproxy is there, its own service is not enabled", element="haproxy-octavia")
def haproxy(view: ImageView, expectation: Expectation) -> Outcome:
    """The agent starts one haproxy for each load balancer; the distribution's service would take the ports."""
    return _installed_but_idle(view.root, "/usr/sbin/haproxy", "haproxy.service")


@check("keepalived", "keepalived is there, its own service is not enabled", element="keepalived-octavia")
def keepalived(view: ImageView, expectation: Expectation) -> Outcome:
    """The agent starts keepalived with its own configuration; the distribution's service would only fail."""
    return _installed_but_idle(view.root, "/usr/sbin/keepalived", "keepalived.service")


def _installed_but_idle(root: ImageRoot, program: str, unit: str) -> Outcome:
    problems = [] if root.is_executable(program) else [f"{program} is missing"]
    if is_enabled(root, unit):
        problems.append(f"{unit} starts at boot ({listed(enabling_links(root, unit))})")
    return verdict(problems, program)


@check("cloud-init-datasources", "cloud-init asks the data sources asked for", element="cloud-init-datasources")
def cloud_init_datasources(view: ImageView, expectation: Expectation) -> Outcome:
    """The last ``datasource_list`` of cloud-init's configuration is the one asked for.

    With another list the instance waits for data sources that are not there, and gets
    neither its keys nor its network.
    """
    found = datasource_list(view.root)
    if expectation.datasources is None:
        return skipped(f"{found}; no list is known to compare with")
    wanted = list(expectation.datasources)
    # "None" is cloud-init's name for going on without data.
    same = found is not None and [name for name in found if name != "None"] == [
        name for name in wanted if name != "None"
    ]
    return verdict([] if same else [f"the list is {found} instead of {wanted}"], ", ".join(found or []))


def datasource_list(root: ImageRoot) -> list[str] | None:
    """cloud-init's list of data sources; None where nothing sets it."""
    found = None
    for name in ["/etc/cloud/cloud.cfg", *root.glob("/etc/cloud/cloud.cfg.d/*.cfg")]:
        text = root.read_text(name) or ""
        if re.search(r"^datasource_list\s*:", text, re.MULTILINE):
            value = _yaml_mapping(text).get("datasource_list")
            found = [str(item) for item in value] if isinstance(value, list) else found
    return found


def _yaml_mapping(text: str) -> dict[str, Any]:
    import yaml  # slow to import, and most images need it for one small file

    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return content if isinstance(content, dict) else {}


@check("sshd", "The SSH server is there, or not, as asked")
def sshd(view: ImageView, expectation: Expectation) -> Outcome:
    """With SSH asked for, sshd is installed and starts at boot; without, there is none."""
    root = view.root
    if expectation.sshd is None:
        return skipped("it is not known whether an SSH server was asked for")
    present = root.is_executable("/usr/sbin/sshd")
    if not expectation.sshd:
        return verdict(["/usr/sbin/sshd is there, although none was asked for"] if present else [], "absent")
    problems = [] if present else ["/usr/sbin/sshd is missing"]
    if present and not any(is_enabled(root, unit) for unit in _SSH_UNITS):
        problems.append("sshd does not start at boot")
    return verdict(problems, "present, starts at boot")
