"""Bugs made on purpose in what new systems are told: simulated worlds find each of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bmid.engine.eviction import Eviction
from bmid.model.seed import seed_files
from bmid.steps import seed
from bmid.steps.seed import RemoveSeed
from tests.support.world.database import blank_bytes
from tests.support.world.story import Command, Story
from tests.support.world.world import Past, past, run

pytestmark = pytest.mark.usefixtures("quiet")
P1 = {"project": "p1", "node": "n1"}
MAP = Command(5.0, "c0", "alice", "node.map", {**P1, "image": "p1/i1", "power": None, "hostname": "web"})
UNMAP = Command(20.0, "c1", "alice", "node.unmap", {**P1, "force": True, "disk": "discard"})
AGAIN = Command(
    20.0,
    "c1",
    "alice",
    "node.rebuild",
    {**P1, "image": None, "force": True, "hostname": "db", "user_data": "#!/bin/sh\n"},
)


@pytest.fixture(scope="module")
def before(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Past:
    """How worlds begin."""
    return past(blank_bytes(blank), tmp_path_factory.mktemp("imports"))


def _found(before: Past, *commands: Command) -> str:
    return "; ".join(run(Story(1, commands), before)[0])


def test_a_seed_that_is_left_behind(before: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """When its disk is discarded, what its system was told stays; here nobody sweeps after that either."""
    monkeypatch.setattr(Eviction, "run_once", lambda self: 0)
    assert _found(before, MAP, UNMAP) == ""
    monkeypatch.setattr(RemoveSeed, "apply", lambda self, world: None)
    found = _found(before, MAP, UNMAP)
    assert "has the seed of" in found
    assert "seed-orphaned" in found


def test_a_seed_that_is_not_written(before: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node starts, and its system is told nothing."""
    monkeypatch.setattr(seed.WriteSeed, "apply", lambda self, world: None)
    found = _found(before, MAP)
    assert "is told None by" in found
    assert "seed-missing" in found


def test_a_system_that_is_told_what_the_one_before_it_was(before: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rebuild that says something new, and the old words in the new disk's seed."""
    assert _found(before, MAP, AGAIN) == ""
    monkeypatch.setattr(seed, "seed_files", lambda disk: seed_files(replace(disk, hostname="web", seed=None)))
    assert "should be ('db', '#!/bin/sh\\n')" in _found(before, MAP, AGAIN)
