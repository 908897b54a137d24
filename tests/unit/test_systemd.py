"""What the service manager hears of a daemon: that it is there, and that it is well, as long as it is."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmid.daemon import Daemon
from bmid.systemd import notify
from tests.support.notified import Notified


class Turns:
    """Stands for the event that ends a daemon: it is set after so many looks, without waiting."""

    def __init__(self, looks: int) -> None:
        self.left = looks

    def wait(self, _seconds: float) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notified]:
    """One that listens."""
    made = Notified(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    yield made
    made.link.close()


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Those of the tests are there again afterwards."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def lived(well: list[bool]) -> None:
    """A daemon that is asked so often how it is."""
    daemon = Daemon([], [], 0.0, lambda: "at work", lambda: well.pop(0))
    daemon._stop = Turns(len(well))  # type: ignore[assignment]
    daemon.run()


def test_a_daemon_says_that_it_is_ready_that_it_is_well_and_that_it_stops(manager: Notified) -> None:
    lived([True, True])
    well = "WATCHDOG=1\nSTATUS=at work"
    assert manager.heard() == ["READY=1\nSTATUS=at work", well, well, "STOPPING=1"]


def test_one_that_is_not_well_says_nothing_so_that_the_watchdog_ends_it(manager: Notified) -> None:
    lived([True, False, False])
    assert sum("WATCHDOG" in one for one in manager.heard()) == 1


def test_without_a_manager_or_with_one_that_is_gone_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify(READY="1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/notify")
    assert not notify(READY="1")
