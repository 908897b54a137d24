"""What a head does again and again it does, whatever one of its turns or the machine's clock does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from bmid.errors import TransientError
from bmid.scheduler.service import Clockwork

pytestmark = pytest.mark.usefixtures("quiet")


class Times:
    """Counts, and can be waited for."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.count = error, 0
        self._changed = threading.Condition()

    def job(self) -> None:
        with self._changed:
            self.count += 1
            self._changed.notify_all()
        if self.error:
            raise self.error

    def reach(self, count: int, seconds: float = 20) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.count >= count, seconds)


@pytest.fixture
def clockwork() -> Iterator[Clockwork]:
    one = Clockwork()
    yield one
    one.stop()


@pytest.mark.parametrize("error", [TransientError("database-away", "no answer"), RuntimeError("a mistake")])
def test_a_turn_that_fails_does_not_end_the_turns(clockwork: Clockwork, error: Exception) -> None:
    """Nor those of others."""
    bad, good = Times(error), Times()
    clockwork.every(0.1, "bad", bad.job)
    clockwork.every(0.1, "good", good.job)
    clockwork.start()
    assert bad.reach(3)
    assert good.reach(3)


def test_a_clock_that_went_back_holds_nothing_up(clockwork: Clockwork) -> None:
    """An hour back, for all that a job knows of it, is a next turn that is an hour away."""
    times, calm = Times(), Times()
    clockwork.every(1, "purge", times.job)
    clockwork.every(600, "forget", calm.job)
    clockwork.start()
    assert times.reach(1)
    jobs = clockwork._scheduler
    forget = jobs.get_job("forget").next_run_time
    jobs.modify_job("purge", next_run_time=datetime.now(UTC) + timedelta(hours=1))
    had = times.count
    assert clockwork.mind() > 0
    assert times.reach(had + 1)
    assert jobs.get_job("forget").next_run_time == forget, "what is as it should be stays so"
