"""Which address passes to which head, from rows alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from bmid.model.entity import Portal
from bmid.model.succession import GRACE, carries, due

DEAD = 60.0
NOW = datetime(2026, 11, 21, tzinfo=UTC)


@dataclass(frozen=True)
class Head:
    """As it last said of itself."""

    name: str
    age: float = 1.0
    draining: bool = False
    stopped: bool = False
    shards: Mapping[str, str] = field(default_factory=lambda: {"s0": "", "s1": ""})


A = Portal("10.0.0.1:3260", "a", "s0", "a")
TWO = (A, replace(A, portal="10.0.0.1:3261", shard="s1"))
GONE = Head("a", DEAD + GRACE)


def moves(portals: tuple[Portal, ...], *heads: Head, **loads: int) -> list[tuple[Any, ...]]:
    found, _ = due(portals, heads, loads, DEAD)
    return [(one.address, one.origin, one.to, len(one.portals), one.dead) for one in found]


def test_all_portals_of_a_dead_heads_address_go_to_the_one_with_the_fewest_disks() -> None:
    assert moves(TWO, GONE, Head("b"), Head("c"), b=5, c=3) == [("10.0.0.1", "a", "c", 2, True)]


@pytest.mark.parametrize(
    "other",
    [Head("b", DEAD), Head("b", draining=True), Head("b", stopped=True), Head("b", shards={"s0": ""})],
    ids=["dead", "draining", "stopped", "without the shard"],
)
def test_a_head_that_can_not_carry_it_is_not_chosen_and_the_address_is_told_of(other: Head) -> None:
    assert due(TWO, (GONE, other), {}, DEAD) == ([], ["10.0.0.1"])


def test_a_machine_that_still_runs_has_some_seconds_to_give_the_address_back() -> None:
    """Or it says at once that it has."""
    dead = Head("a", DEAD + GRACE - 1)
    assert moves(TWO, dead, Head("b")) == []
    given = tuple(replace(one, withdrawn_at=NOW) for one in TWO)
    assert moves(given, dead, Head("b")) == [("10.0.0.1", "a", "b", 2, True)]
    assert not carries(TWO, "10.0.0.1", dead, DEAD)


def test_a_living_head_keeps_its_address_until_it_has_given_it_back() -> None:
    bound = tuple(replace(one, bound_for="b") for one in TWO)
    assert moves(bound, Head("a"), Head("b")) == []
    assert not carries(bound, "10.0.0.1", Head("a"), DEAD)
    given = tuple(replace(one, withdrawn_at=NOW) for one in bound)
    assert moves(given, Head("a"), Head("b"), Head("c")) == [("10.0.0.1", "a", "b", 2, False)]
    assert moves(given, Head("a"), Head("b", DEAD), Head("c")) == [("10.0.0.1", "a", "c", 2, False)]


def test_a_head_that_was_stopped_in_order_keeps_its_address() -> None:
    stopped = Head("a", 1e6, stopped=True)
    assert moves(TWO, stopped, Head("b")) == []
    assert carries(TWO, "10.0.0.1", stopped, DEAD)


def test_an_address_is_carried_when_all_of_it_is_ready() -> None:
    assert carries(TWO, "10.0.0.1", Head("a"), DEAD)
    assert not carries((A, replace(TWO[1], ready=False)), "10.0.0.1", Head("a"), DEAD)
    assert not carries(TWO, "10.0.0.1", Head("b"), DEAD)
    assert not carries(TWO, "10.0.0.2", Head("a"), DEAD)
    assert not carries(TWO, "10.0.0.1", None, DEAD)
