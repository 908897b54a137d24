"""Bugs made on purpose, one of each kind that must never be: the checks of simulated worlds find each of them.

Each test breaks the product in one place, and sees the same story be right without that.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bmid.drivers.storage.memory import MemoryStorage
from bmid.drivers.target import tgt
from bmid.drivers.target.tgt_socket import Mode, Op
from bmid.engine import ending
from bmid.engine.threshold import Threshold
from bmid.engine.turn import Turn
from bmid.store.view import StoreView
from tests.support.world.database import blank_bytes
from tests.support.world.head import Head
from tests.support.world.story import Command, Fault, Story
from tests.support.world.world import Past, World, past, run
from tests.unit.test_tgt_requests import FakeTgtd, Standing

pytestmark = pytest.mark.usefixtures("quiet")

P1 = {"project": "p1"}
COPY = Command(
    5.0, "c0", "alice", "image.copy", {**P1, "image": "p1/i1", "to": "i3", "to_project": None, "flatten": False}
)


def _map(at: float, message: str, node: str) -> Command:
    return Command(at, message, "alice", "node.map", {**P1, "node": node, "image": "p1/i1", "power": None})


@pytest.fixture(scope="module")
def before(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Past:
    """How worlds begin."""
    return past(blank_bytes(blank), tmp_path_factory.mktemp("imports"))


def _found(before: Past, stories: list[Story]) -> str:
    """What is wrong with the first of them that goes wrong; empty if all are right."""
    return next(("; ".join(found) for story in stories if (found := run(story, before)[0])), "")


def test_an_acknowledgement_before_the_commit(before: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command is lost when its head dies between the two."""
    stories = [
        Story(1, (COPY,), (Fault("kill", "", nth=1, seconds=5.0, what=what),))
        for what in ("before acknowledge", "after acknowledge")
    ]
    assert _found(before, stories) == ""

    def hasty(self: Head) -> float:
        broker, me = self.world.broker, self.identity.holder
        letter = broker.first(me)
        if letter is None:
            return 1.0
        broker.acknowledge(me, letter)
        self.world.fate.moment(self, "after acknowledge")
        self.acceptance.receive(letter)
        return 0.0

    monkeypatch.setattr(Head, "_consume", hasty)
    assert "led to 0 operations" in _found(before, stories)


def test_an_event_published_outside_the_outbox(before: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody hears of an end that nobody else ever does."""
    stories = [Story(1, (_map(5.0, "c0", "n1"),))]
    assert _found(before, stories) == ""
    worlds: list[World] = []
    made = World.__init__

    def kept(self: World, *arguments: Any) -> None:
        worlds.append(self)
        made(self, *arguments)

    def shout(_tx: Any, event: Any, _cause: Any) -> str:
        properties = SimpleNamespace(message_id="shouted")
        worlds[-1].broker.seen.append(SimpleNamespace(properties=properties, body=f'{{"type": "{event.type}"}}'))
        return "shouted"

    monkeypatch.setattr(World, "__init__", kept)
    monkeypatch.setattr(ending, "outbox", SimpleNamespace(emit=shout))
    found = _found(before, stories)
    assert "ended 0 times" in found
    assert "an event was seen that nothing explains" in found


def test_a_claim_that_is_not_checked(before: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wakes after his claim has passed on acts on what is another's."""
    made = Command(5.0, "c0", "alice", "disk.create", {**P1, "disk": "d1", "image": "p1/i1"})
    stories = [Story(1, (made,), (Fault("freeze", "", nth=1, seconds=45.0, what="before storage.clone"),))]
    assert _found(before, stories) == ""
    monkeypatch.setattr(Turn, "verify", lambda self: None)
    monkeypatch.setattr(Threshold, "cross", lambda self: None)
    assert "under epoch" in _found(before, stories)


def test_a_call_that_comes_late_from_who_is_not_cut_off(before: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever froze behind his look at the claims makes a disk that another has made and removed meanwhile."""
    made = Command(5.0, "c0", "alice", "disk.create", {**P1, "disk": "d1", "image": "p1/i1"})
    gone = Command(6.0, "c1", "alice", "disk.remove", {**P1, "disk": "d1"})
    stories = [Story(1, (made, gone), (Fault("freeze", "", nth=1, seconds=60.0, what="within storage.clone"),))]
    assert _found(before, stories) == ""
    monkeypatch.setattr(MemoryStorage, "cut_off", lambda self, owners: None)
    assert "disk-orphaned" in _found(before, stories)


def test_a_name_that_is_used_again(before: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of a target that is gone leads whoever still knows it to somebody else's disk."""
    unmap = Command(20.0, "c1", "alice", "node.unmap", {**P1, "node": "n1", "force": True, "disk": "discard"})
    stories = [Story(1, (_map(5.0, "c0", "n1"), unmap, _map(40.0, "c2", "n2")))]
    assert _found(before, stories) == ""

    def free(self: StoreView) -> int:
        taken = {disk.number for disk in self.disks()}
        return next(number for number in range(1, 99) if number not in taken)

    monkeypatch.setattr(StoreView, "number", free)
    assert "is used again" in _found(before, stories)


def test_an_owner_that_is_frozen_and_not_fenced(before: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two clients of the storage have one disk open."""
    stories = [
        Story(1, (_map(5.0, "c0", "n1"),), tuple(Fault("tgtd", one, at=20.0, value=shard) for one in ("h1", "h2")))
        for shard in ("0", "1")
    ]
    assert _found(before, stories) == ""
    monkeypatch.setattr(MemoryStorage, "fence", lambda self, disk, recorded: None)
    monkeypatch.setattr(MemoryStorage, "owner", lambda self, disk: (self._disks[disk].owners or (None,))[-1])
    assert "is open at (" in _found(before, stories)


def test_an_account_that_is_deleted_before_its_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a moment the target is open to everybody at its address."""

    def open_to_all(folder: Path) -> bool:
        folder.mkdir()
        with ExitStack() as stack:
            tgtd = FakeTgtd(folder / "sock", Standing(), stack)
            tgtd.target.remove("0", 1, "user1")
            changes = [asked[:2] for asked in tgtd.changes]
        return changes.index((Mode.ACCOUNT, Op.DELETE)) < changes.index((Mode.TARGET, Op.DELETE))

    assert not open_to_all(tmp_path / "right")
    real = tgt._Daemon.remove

    def hasty(self: Any, number: int, user: str) -> None:
        self._drop_account(user)
        real(self, number, user)

    monkeypatch.setattr(tgt._Daemon, "remove", hasty)
    assert open_to_all(tmp_path / "wrong")
