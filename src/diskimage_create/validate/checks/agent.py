"""Checks of Octavia's amphora agent.

That the agent runs is checked while the image is built; here, that all of it is still there.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence

from diskimage_create.model import Expectation
from diskimage_create.validate.registry import Outcome, check, listed, skipped, verdict
from diskimage_create.validate.root import ImageRoot
from diskimage_create.validate.system.packages import read_packages
from diskimage_create.validate.system.units import is_enabled, unit_file
from diskimage_create.validate.view import ImageView

VENV = "/opt/amphora-agent-venv"

ENTRY_POINTS = (
    "amphora-agent",
    "amphora-health-checker",
    "amphora-interface",
    "haproxy-vrrp-check",
    "prometheus-proxy",
)

# Under the name that the element gives them, and under those of distributions' packages.
_AGENT_UNITS = ("amphora-agent.service", "octavia-agent.service", "octavia-amphora-agent.service")
_PROXY_UNITS = ("prometheus-proxy.service", "octavia-prometheus-proxy.service")
_CERTIFICATE_UNITS = ("octavia-agent-certs-ramfs.service", "certs-ramfs.service")

# The packages that hold the agent where it is not in a virtual environment.
_AGENT_PACKAGES = frozenset({"octavia-agent", "amphora-agent", "openstack-octavia-amphora-agent"})


@check("agent-entry-points", "The agent's commands are there, with their interpreter", element="amphora-agent")
def agent_entry_points(view: ImageView, expectation: Expectation) -> Outcome:
    """Each of the agent's five commands leads to an executable file whose interpreter exists."""
    root = view.root
    problems = []
    for name in ENTRY_POINTS:
        command = next((path for path in _command_paths(name) if root.is_executable(path)), None)
        if command is None:
            problems.append(f"{name} is missing")
        elif (interpreter := root.interpreter(command)) and not root.is_executable(interpreter):
            problems.append(f"{command} needs {interpreter}, which is missing")
    return verdict(problems, f"all {len(ENTRY_POINTS)}")


def _command_paths(name: str) -> list[str]:
    return [f"/usr/local/bin/{name}", f"/usr/bin/{name}", f"/usr/sbin/{name}"]


@check("agent-files", "Every file of the agent's virtual environment is there", element="amphora-agent")
def agent_files(view: ImageView, expectation: Expectation) -> Outcome:
    """Each file in each RECORD of the environment exists with the recorded size, and its interpreter resolves.

    A full disk or an over-eager clean-up loses single modules, which nobody notices until
    a load balancer is created. Byte code is left out: it may be missing, and be more.
    """
    root = view.root
    if not root.exists(VENV):
        packaged = _AGENT_PACKAGES & read_packages(view).installed
        return skipped("the agent is a package") if packaged else verdict([f"{VENV} is missing"], "")
    problems = [] if root.is_executable(f"{VENV}/bin/python3") else [f"{VENV}/bin/python3 leads to no interpreter"]
    records = root.glob(f"{VENV}/lib/python3*/site-packages/*.dist-info/RECORD")
    if not any("/octavia-" in name for name in records):
        problems.append("octavia is not installed in it")
    damaged = []
    count = 0
    for record in records:
        for path, size in record_entries(root.read_text(record) or ""):
            count += 1
            name = path if path.startswith("/") else f"{_site_packages(record)}/{path}"
            entry = root.entry(name)
            if entry is None or (size is not None and entry.size != size and _real_size(root, name) != size):
                damaged.append(name.removeprefix(f"{VENV}/") + (" is missing" if entry is None else " is damaged"))
    if damaged:
        problems.append(f"{len(damaged)} files: {listed(damaged, 4)}")
    return verdict(problems, f"{count} files of {len(records)} packages")


def record_entries(text: str) -> Iterator[tuple[str, int | None]]:
    """Path and size of every file in a RECORD that must exist; the size is None where it is not recorded."""
    for row in csv.reader(text.splitlines()):
        if len(row) == 3 and not row[0].endswith((".pyc", ".pyo")):
            yield row[0], int(row[2]) if row[2].isdigit() else None


def _site_packages(record: str) -> str:
    return record.rsplit("/", 2)[0]


def _real_size(root: ImageRoot, name: str) -> int | None:
    """The size of what a link leads to: the installer recorded that."""
    status = root.stat(name)
    return None if status is None else status.st_size


@check("agent-services", "The agent's services start at boot", element="amphora-agent")
def agent_services(view: ImageView, expectation: Expectation) -> Outcome:
    """The agent and the Prometheus proxy are enabled, and what puts the certificates into memory where it belongs.

    Packages of the agent have other names for their units, and the older ones no proxy.
    """
    root = view.root
    wanted: list[Sequence[str]] = [_AGENT_UNITS]
    if root.exists(VENV) or _first(root, _PROXY_UNITS):
        wanted.append(_PROXY_UNITS)
    if "certs-ramfs" in expectation.elements:
        wanted.append(_CERTIFICATE_UNITS)
    units, problems = [], []
    for names in wanted:
        unit = _first(root, names)
        if unit is None:
            problems.append(f"{names[0]} is missing or masked")
            continue
        units.append(unit)
        if not is_enabled(root, unit):
            problems.append(f"{unit} is not enabled")
        problems += _missing_program(root, unit)
    return verdict(problems, listed(units))


def _first(root: ImageRoot, units: Sequence[str]) -> str | None:
    return next((unit for unit in units if unit_file(root, unit) is not None), None)


def _missing_program(root: ImageRoot, unit: str) -> list[str]:
    text = root.read_text(unit_file(root, unit) or "") or ""
    programs = re.findall(r"^ExecStart=[-@:+!]*(/\S+)", text, re.MULTILINE)
    return [f"{unit} runs {program}, which is missing" for program in programs if not root.is_executable(program)]
