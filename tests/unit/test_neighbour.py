"""Whether an address answers, where the kernel can't be made to say what is tested: a table that is played."""

from __future__ import annotations

import json

import pytest

from bmid.drivers.boot.neighbour import Neighbours


class Played(Neighbours):
    """Shows what it is told to; `now` is its clock."""

    def __init__(self) -> None:
        super().__init__("lo")
        self.shown = ""
        self.now = 1000.0

    def _clock(self) -> float:
        return self.now

    def _provoke(self, address: str) -> None:
        return

    def _ip(self, *arguments: str) -> str:
        return self.shown if "show" in arguments else ""

    def state(self, name: str, confirmed: int) -> None:
        self.shown = json.dumps([{"dst": "10.77.0.11", "confirmed": confirmed, "state": [name]}])


def test_an_answer_of_before_the_question_is_none() -> None:
    table = Played()
    table.state("REACHABLE", confirmed=20)
    assert table.answers("10.77.0.11") is None
    table.state("REACHABLE", confirmed=0)
    assert table.answers("10.77.0.11") is True


def test_silence_counts_after_three_seconds_of_asking() -> None:
    table = Played()
    table.state("FAILED", confirmed=60)
    assert table.answers("10.77.0.11") is None
    table.now += 2.9
    assert table.answers("10.77.0.11") is None
    table.now += 0.2
    assert table.answers("10.77.0.11") is False


def test_a_probe_that_was_forgotten_says_nothing_about_now() -> None:
    table = Played()
    table.state("FAILED", confirmed=60)
    table.answers("10.77.0.11")
    table.now += 3600
    assert table.answers("10.77.0.11") is None


@pytest.mark.parametrize("shown", ["", "[]", "{}", "null", "[3]", "hello", '[{"state": null}]', '[{"confirmed": "x"}]'])
def test_a_table_that_cannot_be_read_says_nothing(shown: str) -> None:
    table = Played()
    table.shown = shown
    assert table.answers("10.77.0.11") is None
