"""What takeover must not do, and what it must not leave behind: clocks that jump, what is given up halfway, operations
that are about one machine; on memory twins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, update

from bmid.errors import TransientError
from bmid.handlers.move_portal import MovePortal
from bmid.handlers.reconcile_site import ReconcileSite
from bmid.handlers.remove_orphan import RemoveOrphan
from bmid.model.entity import Disk
from bmid.model.finding import Kind
from bmid.model.operation import Operation, Phase
from bmid.store import operations, portals, schema
from tests.support.succession import DEAD_AFTER, Twins

pytestmark = pytest.mark.usefixtures("quiet")
MINE = "10.77.0.1"


@pytest.fixture
def twins(tmp_path: Path, blank: Path) -> Iterator[Twins]:
    """Two heads with a node each."""
    made = Twins(tmp_path, blank)
    made.furnish("n1", "n2")
    yield made
    made.close()


def disk_of(twins: Twins, head: str) -> Disk:
    [found] = [one for one in twins.a.view().disks() if one.head == head]
    return found


def ready(twins: Twins, head: str) -> bool:
    rows = [one for name, one in twins.portals().items() if name.startswith(MINE)]
    return all((one.head, one.ready) == (head, True) for one in rows)


def moves(twins: Twins) -> list[Operation]:
    return [one for one in twins.a.view().operations(500) if one.type == MovePortal.type]


def taken_over(twins: Twins) -> None:
    """h1 is dead, and its address h2's, whose workers have not begun."""
    twins.pass_by(DEAD_AFTER + 6, "h2")
    assert twins.takeover(twins.b).run_once() == 1


def give_up(twins: Twins, kind: str) -> None:
    """The operation of that type ends as failed."""
    with twins.a.database.write() as tx:
        query = select(schema.operation.c.id).where(schema.operation.c.type == kind)
        operations.end(tx, tx.execute(query).scalar_one(), Phase.FAILED, {"title": "given up", "refused": False})


def test_a_living_head_keeps_its_address_although_the_clock_jumped_an_hour_ahead(twins: Twins) -> None:
    """It seems dead until its next heartbeat; its nodes would read errors from disks that were fenced meanwhile."""
    takeover = twins.takeover(twins.b)
    takeover.run_once()
    twins.jump(3600)
    assert takeover.run_once() == 0
    twins.pass_by(4, "h2")
    assert takeover.run_once() == 0
    twins.pass_by(DEAD_AFTER / 2, "h1", "h2")
    assert takeover.run_once() == 0
    twins.pass_by(DEAD_AFTER + 6, "h2")
    assert takeover.run_once() == 1


def test_heads_that_stood_still_together_take_nothing_from_each_other(twins: Twins) -> None:
    """Whoever wakes first waits until the others have had their heartbeats."""
    takeover = twins.takeover(twins.b)
    takeover.run_once()
    twins.a.clock.advance(3600)
    twins.keepers["h2"].run_once()
    assert takeover.run_once() == 0
    twins.keepers["h1"].run_once()
    twins.pass_by(DEAD_AFTER / 2, "h1", "h2")
    assert takeover.run_once() == 0


def test_an_address_that_was_given_back_by_a_head_that_only_seemed_dead_is_there_again(twins: Twins) -> None:
    """Else its next death would be without the seconds in which its machine gives the address back."""
    with twins.a.database.write() as tx:
        portals.withdraw(tx, MINE, "h1")
    twins.takeover(twins.a).run_once()
    assert all(one.withdrawn_at is None for one in twins.portals().values())


def test_exports_that_were_given_up_are_asked_for_once_more(twins: Twins) -> None:
    """Else the address would be ready never."""
    taken_over(twins)
    give_up(twins, MovePortal.type)
    assert not ready(twins, "h2")
    assert twins.takeover(twins.b).run_once() == 1
    assert twins.takeover(twins.b).run_once() == 0
    twins.b.settle(twins.b.worker(twins.b.identity), seconds=20)
    assert ready(twins, "h2")


def test_what_a_dead_head_without_an_address_had_in_hand_goes_on(twins: Twins) -> None:
    """It has carried nothing since its address left, and works on all the same."""
    taken_over(twins)
    twins.b.settle(twins.b.worker(twins.b.identity), seconds=20)
    twins.pass_by(1, "h1", "h2")
    one = twins.a.command("image.copy", project="p1", image="debian", to="other")
    turn = twins.a.worker(twins.a.identity)._take()
    assert turn
    assert (turn.operation, turn.record.home) == (one.id, "h1")
    twins.takeover(twins.b).run_once()
    assert twins.a.find(one.id).home == "h1"
    twins.pass_by(DEAD_AFTER + 6, "h2")
    twins.takeover(twins.b).run_once()
    assert twins.a.find(one.id).home == "h2"
    twins.b.settle(twins.b.worker(twins.b.identity), seconds=40)
    assert twins.a.find(one.id).phase is Phase.SUCCEEDED


def test_what_is_about_one_machine_ends_with_it(twins: Twins) -> None:
    """A target that was to go there is the node's own where its disk is at home by now."""
    mine = disk_of(twins, "h1")
    number = {"shard": mine.shard or "", "number": str(mine.number)}
    stray = RemoveOrphan(kind=Kind.TARGET_ORPHANED, id=mine.id, head="h1", details=number)
    with twins.a.database.write() as tx:
        asked = [twins.a.acceptance.submit(tx, command) for command in (ReconcileSite(head="h1"), stray)]
        # It is planned while the disk is at home at the other head for a moment.
        tx.execute(update(schema.disk).values(head="h2"))
    turns = [twins.a.worker(twins.a.identity)._take() for _ in range(2)]
    assert [one.record.home for one in turns if one] == ["h1", "h1"]
    with twins.a.database.write() as tx:
        tx.execute(update(schema.disk).where(schema.disk.c.id == mine.id).values(head="h1"))
    taken_over(twins)
    twins.b.settle(twins.b.worker(twins.b.identity), seconds=40)
    for operation in asked:
        found = twins.a.find(operation)
        assert found.phase is Phase.FAILED
        assert "head-gone" in str(found.problem)
    exports = [one for shard in twins.b.target.shards for one in twins.b.target.exports(shard)]
    assert mine.number in {one.number for one in exports if one.open}


def test_a_look_at_what_is_to_go_that_failed_is_done_again_at_once(twins: Twins) -> None:
    """The targets have gone, and the boot folder gave no answer: a pointer there leads to another head's disk."""
    watch = twins.eviction(twins.a)
    watch.run_once()
    taken_over(twins)
    asked: list[str] = []

    def away(name: str, _: object) -> None:
        if not asked:
            asked.append(name)
            raise TransientError("boot-folder", "no answer")

    twins.a.boot.before = away
    with pytest.raises(TransientError):
        watch.run_once()
    assert twins.a.boot.pointers()
    assert watch.run_once() == 1
    assert not twins.a.boot.pointers()


def test_an_address_that_was_away_and_is_back_is_ready_with_the_last_of_its_exports(twins: Twins) -> None:
    """The first move finds it where it brought it to, before the others have begun."""
    taken_over(twins)
    for origin, to in (("h2", "h1"), ("h1", "h2")):
        twins.pass_by(1, "h1", "h2")
        with twins.a.database.write() as tx:
            portals.bind(tx, MINE, origin, to)
            portals.withdraw(tx, MINE, origin)
        assert twins.takeover(twins.b).run_once() == 1
    workers = [bench.worker(bench.identity) for bench in (twins.a, twins.b)]
    for _ in range(60):
        for worker in workers:
            worker.run_once()
        ended = [one.ended_at is not None for one in moves(twins)]
        assert ready(twins, "h2") is all(ended)
        twins.a.clock.advance(1)
    assert ended == [True] * 3
