"""A thousand worlds: two heads, a broker and machines on virtual time, and whatever befalls them, drawn from a seed.

`pytest tests/model/test_worlds.py -k "seed-17-"` runs one of them again, to the step.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.world.database import blank_bytes
from tests.support.world.shortest import account, shortest
from tests.support.world.story import SHORT, Command, Fault, Story
from tests.support.world.world import Past, past, run

pytestmark = pytest.mark.usefixtures("quiet")
QUICK, ALL = 200, 1000
REPLAYED = 7


@pytest.fixture(scope="module")
def before(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Past:
    """How worlds begin."""
    return past(blank_bytes(blank), tmp_path_factory.mktemp("imports"))


def _live(seed: int, before: Past) -> None:
    story = Story.of(seed)
    found, _ = run(story, before)
    if found:
        least = shortest(story, lambda one: bool(run(one, before)[0]))
        again, world = run(least, before)
        pytest.fail(account(least, again, world.stage.story), pytrace=False)


@pytest.mark.parametrize("seed", range(QUICK), ids=lambda seed: f"seed-{seed}-")
def test_whatever_befalls_a_world_it_keeps_every_promise(seed: int, before: Past) -> None:
    """One end and one event for each command, nothing unexplained, nobody led astray, no two on one key."""
    _live(seed, before)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(QUICK, ALL), ids=lambda seed: f"seed-{seed}-")
def test_so_do_eight_hundred_more(seed: int, before: Past) -> None:
    """The same."""
    _live(seed, before)


@pytest.mark.parametrize("kind", ["kill", "freeze"])
@pytest.mark.parametrize("what", ["", "before target.admit", "after target.create", "after commit"])
def test_a_head_that_dies_or_stands_still_loses_its_disks_to_the_other_one(kind: str, what: str, before: Past) -> None:
    """In the middle of maps or after them; one of its nodes is given up meanwhile, another mapped when it is back."""
    p1 = {"project": "p1"}
    maps = [
        Command(at, f"c{number}", "alice", "node.map", {**p1, "node": node, "image": "p1/i1", "power": None})
        for number, (at, node) in enumerate([(5.0, "n1"), (6.0, "n2"), (7.0, "n3"), (70.0, "n4")])
    ]
    unmap = Command(50.0, "c9", "alice", "node.unmap", {**p1, "node": "n1", "force": True, "disk": "discard"})
    when = {"nth": 1, "what": what} if what else {"at": 12.0}
    fault = Fault(kind, "h1", seconds=200.0, **when)  # type: ignore[arg-type]
    found, world = run(Story(3, (*maps, unmap), (fault,), dead_after=SHORT), before)
    assert found == [], account(world.story, found, world.stage.story)
    moved = [call for call in world.log.calls if call.what == "target.create" and call.holder.startswith("h2/")]
    assert moved, "nothing was taken over"


@pytest.mark.parametrize("kind", ["off", "stop", "drain"])
def test_nodes_go_on_at_the_other_head_when_their_own_is_gone_or_drained(kind: str, before: Past) -> None:
    """For good, for longer than nobody is waited for, or because a person says so; and what they wrote is there."""
    p1 = {"project": "p1", "image": "p1/i1", "power": None}
    maps = [Command(5.0 + n, f"c{n}", "alice", "node.map", {**p1, "node": f"n{n}"}) for n in (1, 2, 3)]
    fault = Fault(kind, "h1", at=35.0, seconds=60.0)
    found, world = run(Story(3, tuple(maps), (fault,), dead_after=SHORT), before)
    assert found == [], account(world.story, found, world.stage.story)
    assert world.carriers.at("10.77.0.1") is world.by_name["h2"]
    assert world.nodes.moved, "no node was running there"


def test_a_seed_is_the_same_world_to_the_step_in_any_process(before: Past, blank: Path, tmp_path: Path) -> None:
    """Whatever the order of its sets."""
    here = run(Story.of(REPLAYED), before)[1].stage
    program = (
        "import logging, pathlib, structlog\n"
        "structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))\n"
        "from tests.support.world.database import blank_bytes\n"
        "from tests.support.world.story import Story\n"
        "from tests.support.world.world import past, run\n"
        f"before = past(blank_bytes(pathlib.Path({str(blank)!r})), pathlib.Path({str(tmp_path)!r}))\n"
        f"print(run(Story.of({REPLAYED}), before)[1].stage.digest)\n"
    )
    environment = {"PYTHONHASHSEED": "5", "PATH": "/usr/bin:/bin"}
    there = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    ).stdout.split()
    assert there == [here.digest]
    assert here.turns > 100


def test_a_story_that_goes_wrong_is_told_as_shortly_as_it_can_be() -> None:
    """Here, whatever holds both of two events goes wrong."""
    story = Story.of(REPLAYED)
    two = (story.commands[3], story.faults[1])
    told: Callable[[Story], bool] = lambda one: all(each in one.events for each in two)  # noqa: E731
    assert shortest(story, told).events == [two[1], two[0]]
