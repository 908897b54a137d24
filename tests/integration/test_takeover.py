"""What a dead head had passes to a living one, and what it still has when it wakes goes; on memory twins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bmid.errors import ClaimLost
from bmid.model.entity import Disk
from bmid.model.operation import Phase
from bmid.store import portals
from tests.support.bench import Bench
from tests.support.succession import DEAD_AFTER, Twins

pytestmark = pytest.mark.usefixtures("quiet")
P1 = {"project": "p1"}
OURS = ("10.77.0.1:3260", "10.77.0.1:3261")


@pytest.fixture
def twins(tmp_path: Path, blank: Path) -> Iterator[Twins]:
    """Two heads, two nodes on each."""
    made = Twins(tmp_path, blank)
    made.a.furnish("n1", "n2", "n3", "n4")
    for name in ("n1", "n2", "n3", "n4"):
        made.a.command("node.map", **P1, node=name, image="debian")
    settle(made)
    assert sorted(disk.head for disk in made.a.view().disks()) == ["h1", "h1", "h2", "h2"]
    made.pass_by(0, "h1", "h2")
    yield made
    made.close()


def settle(twins: Twins) -> None:
    """Both heads work until nothing is left."""
    for _ in range(4):
        for bench in (twins.a, twins.b):
            bench.settle(bench.worker(bench.identity), seconds=20)


def homed(twins: Twins, head: str) -> list[Disk]:
    return [disk for disk in twins.a.view().disks() if disk.head == head]


def targets(bench: Bench) -> set[int]:
    return {export.number for shard in bench.target.shards for export in bench.target.exports(shard) if export.open}


def test_a_dead_heads_address_and_disks_pass_to_a_living_one(twins: Twins) -> None:
    """Nodes were told an address, and find their target at it again; nothing else about their disks changes."""
    before = {disk.id: disk for disk in homed(twins, "h1")}
    twins.pass_by(DEAD_AFTER + 4, "h2")
    assert twins.takeover(twins.b).run_once() == 0
    twins.pass_by(2, "h2")
    assert twins.takeover(twins.b).run_once() == 1
    moved = twins.portals()
    assert {(moved[one].head, moved[one].native, moved[one].ready) for one in OURS} == {("h2", "h1", False)}
    twins.b.settle(twins.b.worker(twins.b.identity), seconds=20)
    moved = twins.portals()
    assert {(moved[one].head, moved[one].ready) for one in OURS} == {("h2", True)}
    assert len(homed(twins, "h2")) == 4
    assert targets(twins.b) == {disk.number for disk in twins.a.view().disks()}
    for disk in homed(twins, "h2"):
        pointer = twins.b.boot.pointer(disk.address)
        assert pointer is not None
        if disk.id in before:
            old = before[disk.id]
            assert (disk.portal, disk.generation, disk.shard) == (old.portal, old.generation, old.shard)
            assert disk.portal in OURS
            assert old.owner in twins.a.storage._fenced
    [told] = [event["data"] for event in twins.a.events() if event["type"] == "bmi.portal.moved.v1"]
    assert (told["origin"], told["head"], told["why"], told["disks"], told["failed"]) == ("h1", "h2", "dead", 2, 0)


def test_a_head_that_wakes_has_lost_its_claims_and_removes_what_is_not_its_own_any_more(twins: Twins) -> None:
    """Its worker was in the middle of a map; the new home has done that."""
    watch = twins.eviction(twins.a)
    watch._homed = set()  # it has looked when there was nothing yet
    assert watch.run_once() == 0
    twins.a.register("n5")
    one = twins.a.command("node.map", **P1, node="n5", image="debian")
    frozen = twins.a.worker(twins.a.identity)
    turn = frozen._take()
    assert turn is not None
    assert turn.record.home == "h1"
    twins.pass_by(DEAD_AFTER + 6, "h2")
    twins.takeover(twins.b).run_once()
    twins.b.settle(twins.b.worker(twins.b.identity), seconds=40)
    assert twins.a.find(one.id).phase is Phase.SUCCEEDED
    stale = targets(twins.a)
    assert len(stale) == 2
    with pytest.raises(ClaimLost):
        frozen._carry_out(turn)
    assert targets(twins.a) == stale
    assert watch.run_once() == 4
    assert targets(twins.a) == set()
    assert twins.a.boot.pointers() == ()
    assert len(targets(twins.b)) == 5
    assert twins.eviction(twins.b).run_once() == 0


def test_what_no_row_knows_is_not_touched_when_a_head_wakes(twins: Twins) -> None:
    """A target of another program, and one of a disk whose row is away."""
    numbers = targets(twins.a)
    with twins.a.database.write() as tx:
        tx.connection.exec_driver_sql("DELETE FROM boot")
        tx.connection.exec_driver_sql("DELETE FROM disk WHERE head = 'h1'")
    assert twins.eviction(twins.a).run_once() == 0
    assert targets(twins.a) == numbers


def test_what_is_left_of_a_disk_that_was_discarded_meanwhile_goes_when_a_head_wakes(twins: Twins) -> None:
    """Its boot pointer would lead a node nowhere, beside the one of its new home."""
    node = homed(twins, "h1")[0].node
    twins.pass_by(DEAD_AFTER + 6, "h2")
    twins.takeover(twins.b).run_once()
    twins.b.settle(twins.b.worker(twins.b.identity), seconds=20)
    twins.b.command("node.unmap", **P1, node=node)
    twins.b.settle(twins.b.worker(twins.b.identity), seconds=20)
    assert len(twins.a.view().disks()) == 3
    assert twins.eviction(twins.a).run_once() == 4
    assert targets(twins.a) == set()
    assert twins.a.boot.pointers() == ()


def test_a_head_that_was_stopped_in_order_keeps_its_address(twins: Twins) -> None:
    """Its tgtd is at work, and it is being updated."""
    twins.keepers["h1"].stop()
    twins.pass_by(10 * DEAD_AFTER, "h2")
    assert twins.takeover(twins.b).run_once() == 0


def test_an_address_moves_from_a_living_head_when_nobody_answers_there_any_more(twins: Twins) -> None:
    """So nodes see a silent address, and never a target that is not there."""
    with twins.a.database.write() as tx:
        portals.bind(tx, "10.77.0.1", "h1", "h2")
    assert twins.takeover(twins.a).run_once() == twins.takeover(twins.b).run_once() == 0
    twins.a.register("n5")
    assert twins.a.command("node.map", **P1, node="n5", image="debian")
    settle(twins)
    assert len(homed(twins, "h2")) == 3
    del twins.local["10.77.0.1"]
    twins.local["10.77.0.1"] = "nobody"
    assert twins.takeover(twins.a).run_once() == 0
    assert twins.takeover(twins.b).run_once() == 1
    settle(twins)
    assert len(homed(twins, "h2")) == 5
    assert {one.head for one in twins.portals().values()} == {"h2"}
    assert all(one.ready for one in twins.portals().values())
    assert twins.eviction(twins.a).run_once() == 4
    assert twins.a.boot.pointers() == ()


def test_what_a_living_head_is_doing_to_a_disk_goes_on_where_its_address_goes(twins: Twins) -> None:
    """Its worker finds that it has lost its claims, and an operation that has nothing to do with the address stays."""
    twins.a.register("n5")
    one = twins.a.command("node.map", **P1, node="n5", image="debian")
    busy = twins.a.worker(twins.a.identity)
    turn = busy._take()
    assert turn is not None
    assert turn.record.home == "h1"
    stays = twins.a.command("image.import", project="p1", image="new", source={"upload": "0" * 64})
    with twins.a.database.write() as tx:
        portals.bind(tx, "10.77.0.1", "h1", "h2")
        portals.withdraw(tx, "10.77.0.1", "h1")
    assert twins.takeover(twins.b).run_once() == 1
    with pytest.raises(ClaimLost):
        busy._carry_out(turn)
    twins.b.settle(twins.b.worker(twins.b.identity), seconds=40)
    assert twins.a.find(one.id).phase is Phase.SUCCEEDED
    assert len(targets(twins.b)) == 5
    assert twins.a.find(stays.id).home == "h1"


def test_a_disk_that_comes_back_is_not_taken_for_a_stray(twins: Twins) -> None:
    """There and back again: each time the old home is cleared, and the new one has it."""
    watch = {bench.identity.head: twins.eviction(bench) for bench in (twins.a, twins.b)}
    for origin, to in (("h1", "h2"), ("h2", "h1")):
        with twins.a.database.write() as tx:
            portals.bind(tx, "10.77.0.1", origin, to)
        twins.local["10.77.0.1"] = "nobody"
        bench = {"h1": twins.a, "h2": twins.b}[origin]
        twins.takeover(bench).run_once()
        settle(twins)
        twins.takeover(twins.a).run_once()
        settle(twins)
        for one in watch.values():
            one.run_once()
        twins.local["10.77.0.1"] = to
    assert len(targets(twins.a)) == len(targets(twins.b)) == 2
    assert {disk.number for disk in homed(twins, "h1")} == targets(twins.a)
