"""What all tests share: a run fails when a whole group that should have run was skipped.

Properties are tried with the same examples each time, so that a failure is the change's; campaigns draw new ones.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings

HERE = Path(__file__).parent
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
    """A test's folder is its marker; those that build or mount are not run beside each other."""
    for item in items:
        if (group := _group(item.path)) in ("loop", "e2e"):
            item.add_marker(group)
            if not item.get_closest_marker("xdist_group"):
                item.add_marker(pytest.mark.xdist_group("builds"))


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
