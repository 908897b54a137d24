"""Where fixtures come from: each kind has a module of its own below tests/support.

A skipped test is a failure: a part that is missing would otherwise look like a promise that is kept.
"""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

# The same examples on every machine and in every run, judged by what comes of them and not by how soon: a run that
# fails by lot, or because the machine is busy, says nothing about what was changed.
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")

pytest_plugins = [
    "tests.support.service",
    "tests.support.bmid",
    "tests.support.database",
    "tests.support.second_look",
]


# A run in the background of a shell ignores interrupts, and so would everything that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Whoever ends a run with `kill` or `timeout` wants everything stopped that it has started.
signal.signal(signal.SIGTERM, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was skipped, before the closing line."""
    for report in _left_out(terminalreporter):
        terminalreporter.write_line(f"SKIPPED, which counts as a failure: {report.nodeid}", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if anything was skipped or expected to fail."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and _left_out(reporter) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _left_out(reporter: pytest.TerminalReporter) -> list[pytest.TestReport]:
    return [report for kind in ("skipped", "xfailed", "xpassed") for report in reporter.stats.get(kind, ())]
