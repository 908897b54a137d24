"""A test on real parts may be run a second time. It is told at the end of the run, and too many of them fail it.

On a busy machine a broker, a cluster or an emulator now and then is slower than a test allows for. A fault of ours
comes back at once, and then it fails the run; one that doesn't is still to be looked at, so what was seen is printed.
Tests without real parts (unit, model) get no second look: they have nothing to wait for.
"""

from __future__ import annotations

import pytest

__all__ = ["MOST", "pytest_collection_modifyitems", "pytest_sessionfinish", "pytest_terminal_summary"]

MOST = 3  # second looks of one run: more are no chance
_REAL = ("contract", "integration", "chaos", "boot")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever has real parts may be run again, once."""
    for item in items:
        real = set(_REAL) & set(item.path.relative_to(item.config.rootpath).parts)
        if real and item.config.pluginmanager.hasplugin("rerunfailures"):
            item.add_marker(pytest.mark.flaky(reruns=1))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was seen the first time, whole: the second look says only that it doesn't come each time."""
    again = terminalreporter.stats.get("rerun", ())
    for report in again:
        terminalreporter.section(f"looked at a second time: {report.nodeid}", yellow=True)
        terminalreporter.write_line(report.longreprtext)
    if len(again) > MOST:
        terminalreporter.write_line(f"{len(again)} tests were run twice, and {MOST} may be: this run fails", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if chance would have to explain too much."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    again = reporter.stats.get("rerun", ()) if reporter is not None else ()
    if len(again) > MOST and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
