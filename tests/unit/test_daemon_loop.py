"""A loop ends when it is told to, at whatever moment that comes."""

from __future__ import annotations

import threading

from bmid.daemon import Bell, Loop


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
