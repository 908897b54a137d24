"""What hangs in a driver takes no more than its lane, and is told of."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from structlog.testing import capture_logs

from bmid.engine import lane
from bmid.engine.lane import Lanes
from bmid.errors import TransientError


class Slow:
    """A driver that answers when it is let."""

    def __init__(self) -> None:
        self.answer = threading.Event()
        self.asked = threading.Semaphore(0)

    def clone(self) -> str:
        """A call."""
        self.asked.release()
        assert self.answer.wait(60)
        return "done"

    def address(self) -> str:
        """No call: it says where something is, and asks nobody."""
        return "here"


@contextmanager
def hanging(lanes: Lanes, count: int) -> Iterator[Slow]:
    """So many calls hang in the lane."""
    slow = Slow()
    with ExitStack() as stack:
        threads = [threading.Thread(target=lanes.storage(slow, f"o{number}").clone) for number in range(count)]
        for thread in threads:
            thread.start()
            stack.callback(thread.join, 60)
        stack.callback(slow.answer.set)
        assert all(slow.asked.acquire(timeout=60) for _ in range(count))
        yield slow


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "PATIENCE", 1.5)
    monkeypatch.setattr(lane, "SLOW", 0.2)


def test_who_finds_a_full_lane_in_which_nothing_moves_is_sent_away_and_the_others_go_on() -> None:
    lanes = Lanes(2)
    with hanging(lanes, 2) as slow:
        for limit in (30.0, 1.3):  # the first one waits for a while, the next ones no more
            began = time.monotonic()
            with pytest.raises(TransientError, match=r"2 calls wait for an answer") as caught:
                lanes.target(slow).clone()
            assert time.monotonic() - began < limit
            assert caught.value.problem.slug == "storage-timeout"
        assert lanes.storage(slow).address() == "here"
    assert lanes.storage(slow).clone() == "done"


def test_a_full_lane_that_moves_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane, "PATIENCE", 60.0)
    lanes = Lanes(1)
    with hanging(lanes, 1) as slow:
        threading.Timer(0.1, slow.answer.set).start()
        assert lanes.storage(Quick()).clone() == "quick"


class Quick(Slow):
    """A driver that answers at once."""

    def clone(self) -> str:
        """A call."""
        return "quick"


def test_a_storage_that_copies_may_take_its_time() -> None:
    lanes = Lanes(1, patient=True)
    with hanging(lanes, 3) as slow:
        slow.answer.set()
        assert lanes.storage(slow).clone() == "done"


def test_a_call_that_takes_long_is_told_of_with_its_operation_and_again_when_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lane.Call.__init__, "__defaults__", (0.05,))
    lanes = Lanes(4)
    with capture_logs() as told:
        with hanging(lanes, 1):
            time.sleep(0.1)
            lanes.report()
            lanes.report()
        assert [one["event"] for one in told] == ["call.waits", "call.answered"]
    assert told[0]["call"] == "storage.clone"
    assert told[0]["about"] == "o0"
    assert told[0]["seconds"] >= 0.1
    assert told[0]["since"]
