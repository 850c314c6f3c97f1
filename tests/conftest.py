"""What all tests share: a run fails when a whole group that should have run was skipped.

Properties are tried with the same examples each time, so that a failure is the change's; campaigns draw new ones.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

HERE = Path(__file__).parent
#: Modules of tests/e2e that talk to registries and other remotes, and build no image
OF_REMOTES = frozenset(
    {
        "test_container_images.py",
        "test_container_prepare.py",
        "test_copies.py",
        "test_mirrored_charts.py",
        "test_modify_images.py",
        "test_pinned_charts.py",
        "test_publish_directory.py",
        "test_publish_glance.py",
        "test_publish_registries.py",
        "test_registries.py",
        "test_registry_faults.py",
    }
)
#: Modules of tests/e2e that share no image with others
OF_THEIR_OWN = frozenset({"test_farm_of_machines.py", "test_foreign_builds.py"})
_outcomes: dict[str, Counter[str]] = {}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-groups",
        default="",
        help="comma separated folders of tests/ of which at least one test must pass (CI: loop,e2e)",
    )


def pytest_configure(config: pytest.Config) -> None:
    campaign = config.option.markexpr.startswith("full or")
    settings.register_profile("ours", derandomize=not campaign, deadline=None)
    settings.load_profile("ours")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test's folder is its marker."""
    for item in items:
        if (group := _group(item.path)) in ("loop", "e2e"):
            item.add_marker(group)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Builds and boots in one process, loop devices in one, what talks to remotes in one: each shares its images.

    Markers would say it better, but xdist's own scheduler for marked groups does not see them since pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            _, folder, module = nodeid.partition("::")[0].split("/")
            if folder == "unit":
                return nodeid
            if module in OF_THEIR_OWN:
                return module
            return "remotes" if module in OF_REMOTES else folder

    return ByGroup(config, log)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" or report.skipped:
        _outcomes.setdefault(_group(HERE.parent / report.location[0]), Counter())[report.outcome] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.config.option.collectonly or hasattr(session.config, "workerinput"):
        return
    for group in filter(None, session.config.getoption("--require-groups").split(",")):
        if not _outcomes.get(group, Counter())["passed"]:
            reporter = session.config.pluginmanager.get_plugin("terminalreporter")
            assert reporter is not None
            reporter.write_line(f"\nERROR: no test of the group {group} passed: see why they were skipped", red=True)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _group(path: Path) -> str:
    try:
        return path.relative_to(HERE).parts[0]
    except ValueError:
        return ""
