"""A loop ends when it is told to, at whatever moment that comes."""

from __future__ import annotations

import threading

from bmid.daemon import Bell, Loop
from bmid.errors import TransientError


class Early(Bell):
    """Rings for the end just before the loop first looks how often it rang: after it has looked whether to go on."""

    loop: Loop

    def count(self) -> int:
        if not self.loop.stopping.is_set():
            self.loop.stopping.set()
            self.ring(all_of_them=True)
        return super().count()


def test_an_end_that_is_rung_for_just_before_a_turn_is_not_waited_through() -> None:
    bell, turns = Early(), []
    bell.loop = loop = Loop("one", lambda: turns.append("turn") or 60.0, stage=1, bell=bell)  # type: ignore[func-returns-value]
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert len(turns) <= 1


def test_what_was_written_until_the_end_goes_out_before_it() -> None:
    """Its writers have just ended, and rang; whoever tells of it may not have heard that yet."""
    outbox = list(range(250))

    def tell() -> float:
        del outbox[:100]
        return 0.0 if outbox else 1.0

    loop = Loop("relay", tell, stage=2, bell=Bell(), finishes=True)
    loop.stopping.set()
    loop.run()
    assert outbox == []


def test_a_last_turn_that_fails_is_the_last() -> None:
    turns: list[str] = []

    def fails() -> float:
        turns.append("turn")
        raise TransientError("database-away", "no answer")

    loop = Loop("relay", fails, stage=2, finishes=True)
    loop.stopping.set()
    loop.run()
    assert turns == ["turn"]
