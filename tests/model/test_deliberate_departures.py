"""Bugs made on purpose in what happens when one head's disks go to another one: simulated worlds find each of them.

Each test breaks the product in one place, and sees the same stories be right without that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bmid.drivers.storage.memory import MemoryStorage
from bmid.engine.eviction import Eviction
from bmid.engine.takeover import Takeover
from bmid.engine.turn import Turn
from bmid.steps.group import AwaitExports
from tests.support.world import carrier
from tests.support.world.database import blank_bytes
from tests.support.world.story import SHORT, Command, Fault, Story
from tests.support.world.world import Past, past, run

pytestmark = pytest.mark.usefixtures("quiet")
MAPS = tuple(
    Command(at, f"c{at:.0f}", "alice", "node.map", {"project": "p1", "node": node, "image": "p1/i1", "power": None})
    for at, node in ((5.0, "n1"), (6.0, "n2"), (7.0, "n3"))
)
STOPPED = [Story(seed, MAPS, (Fault("stop", "h1", at=30.0, seconds=100.0),), dead_after=SHORT) for seed in (1, 2)]


@pytest.fixture(scope="module")
def before(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Past:
    """How worlds begin."""
    return past(blank_bytes(blank), tmp_path_factory.mktemp("imports"))


def _found(before: Past, stories: list[Story]) -> str:
    """What is wrong with the first of them that goes wrong; empty if all are right."""
    return next(("; ".join(found) for story in stories if (found := run(story, before)[0])), "")


def test_an_address_that_moves_before_its_disks_are_exported(before: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes come back to it, and their targets are not there."""
    slow = Fault("slow", "h2", nth=1, seconds=20.0, what="before storage.fence")
    stories = [Story(one.seed, one.commands, (*one.faults, slow), one.dead_after) for one in STOPPED]
    assert _found(before, stories) == ""
    monkeypatch.setattr(AwaitExports, "apply", lambda self, world: None)
    assert "is not open there yet" in _found(before, stories)


def test_an_address_that_moves_before_the_fence(before: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the head was about to write when it stood still comes when it wakes, over what is newer."""
    assert _found(before, STOPPED) == ""
    monkeypatch.setattr(MemoryStorage, "fence", lambda self, disk, recorded: None)
    monkeypatch.setattr(MemoryStorage, "cut_off", lambda self, owners: None)
    monkeypatch.setattr(MemoryStorage, "owner", lambda self, disk: (self._disks[disk].owners or (None,))[-1])
    found = _found(before, STOPPED)
    assert "which was acknowledged" in found
    assert "is still open at" in found


def test_a_head_that_wakes_and_keeps_what_it_had(before: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its targets and pointers are of disks that are at home elsewhere."""
    assert _found(before, STOPPED) == ""
    monkeypatch.setattr(Eviction, "run_once", lambda self: 0)
    found = _found(before, STOPPED)
    assert "target-orphaned" in found
    assert "pointer-orphaned" in found


def test_an_address_that_is_moved_while_its_head_answers_there(before: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes are connected still when their disks are cut off."""
    drains = [Fault("drain", "h1", at=at, seconds=60.0) for at in (35.0, 36.3, 37.6, 38.9)]
    stories = [Story(seed, MAPS, (one,), dead_after=SHORT) for seed, one in enumerate(drains, 1)]
    monkeypatch.setattr(carrier, "EVERY", 30.0)
    assert _found(before, stories) == ""

    made = Takeover.__init__

    def hasty(self: Takeover, *arguments: Any) -> None:
        made(self, *arguments)
        self._local = lambda _: False

    monkeypatch.setattr(Takeover, "__init__", hasty)
    assert "has an I/O error" in _found(before, stories)


def test_a_head_that_wakes_and_does_not_look_at_its_claims(before: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two heads act on one node: what the sleeper was about to do has been done at its disk's new home."""
    frozen = Fault("freeze", "h1", nth=1, seconds=100.0, what="before target.create")
    stories = [Story(seed, MAPS, (frozen,), dead_after=SHORT) for seed in (1, 2)]
    assert _found(before, stories) == ""
    monkeypatch.setattr(Turn, "verify", lambda self: None)
    assert "under epoch" in _found(before, stories)
