"""How a turn ends: waits, retries, ways back, stuck operations, lost claims, and surprises around the steps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bmid.engine import turn
from bmid.errors import ClaimLost, PermanentError, TransientError
from bmid.model.operation import Phase
from bmid.store import claims
from tests.support.bench import LEASE, Bench

pytestmark = pytest.mark.usefixtures("quiet")
MAP = {"project": "p1", "node": "n1", "image": "debian"}
UNMAP = {"project": "p1", "node": "n1"}


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """A site with one image and two nodes."""
    site = Bench(tmp_path, blank=blank).open()
    site.furnish("n1", "n2")
    yield site
    site.close()


def test_a_step_that_fails_for_too_long_is_undone(bench: Bench) -> None:
    """give_up_after: the last error is the problem, with its step, and what was undone."""
    bench.target.down.add("0")
    bench.target.down.add("1")
    one = bench.command("node.map", **MAP)
    bench.settle(seconds=1800)
    assert bench.find(one.id).phase is Phase.RUNNING
    assert bench.find(one.id).attempts > 5
    bench.settle(seconds=2100)
    assert bench.find(one.id).phase is Phase.REVERTING  # the target can't be looked at, so it can't be said to be gone
    bench.target.down.clear()
    bench.settle()
    problem = bench.final(one.id)["data"]["problem"]
    assert problem["step"] == "export-disk"
    assert problem["type"] == "urn:bmi:problem:target-down"
    assert "clone-disk" in problem["undone"]
    assert bench.unexplained() == []


def test_what_asks_for_a_quick_return_is_looked_at_each_half_minute_at_least(bench: Bench) -> None:
    """A head that is emptied, or restarted, for ten minutes: nobody waits for another five of them afterwards."""

    def busy(name: str, arguments: tuple[Any, ...]) -> None:
        raise TransientError("busy", "in a moment", delay=5)

    bench.boot.before = busy
    one = bench.command("node.map", **MAP)
    bench.settle(seconds=600)
    assert bench.find(one.id).attempts > 10
    assert bench.find(one.id).due_at - bench.clock.moment <= timedelta(seconds=30)


def test_what_cannot_be_undone_is_stuck_and_blocks_its_node_alone(bench: Bench) -> None:
    """It keeps its keys; the operator's retry finishes the way back, with the problem it failed with first."""

    def fail(name: str, arguments: tuple[Any, ...]) -> None:
        if name in ("point", "clear"):
            raise PermanentError("disk-full", "no space for scripts")

    bench.boot.before = fail
    one = bench.command("node.map", **MAP)
    bench.settle()
    assert bench.find(one.id).phase is Phase.STUCK
    behind = bench.command("node.unmap", **UNMAP)
    bench.boot.before = None
    bench.settle()
    assert bench.find(behind.id).phase is Phase.PENDING
    assert bench.do("node.map", project="p1", node="n2", image="debian")["changed"] is True
    with bench.database.write() as tx:
        from bmid.store import operations

        operations.change(tx, one.id, phase=Phase.REVERTING, due_at=tx.now, attempts=0, first_failed_at=None)
    bench.settle()
    assert bench.final(one.id)["data"]["problem"]["type"] == "urn:bmi:problem:disk-full"
    assert bench.find(behind.id).phase is Phase.SUCCEEDED
    assert bench.unexplained() == []


def test_a_parked_disk_that_is_gone_from_the_storage_blocks_no_node(bench: Bench) -> None:
    """Its map fails and is undone, as far as there is anything to undo."""
    bench.do("disk.create", project="p1", disk="d1", image="debian")
    (disk,) = bench.view().disks()
    bench.storage.discard(disk.id, {})
    event = bench.do("node.map", project="p1", disk="d1", node="n1")
    assert event["problem"]["type"] == "urn:bmi:problem:storage-missing"
    assert bench.view().node("n1").disk is None
    assert bench.do("node.map", **MAP)["changed"]


@pytest.mark.parametrize("moment", range(6))
def test_who_has_lost_the_claim_touches_nothing(bench: Bench, moment: int) -> None:
    """From the moment on that another worker has the claim, no call of the first one gets through."""
    one = bench.command("node.map", **MAP)
    calls: list[str] = []

    def steal() -> None:
        from bmid.store import claims

        with bench.database.write() as tx:
            tx.execute(claims.update(claims.claim).where(claims.claim.c.operation == one.id).values(
                epoch=claims.claim.c.epoch + 1, holder="h1/other", expires_at=bench.clock.moment))  # fmt: skip
        for twin in (bench.storage, bench.target, bench.boot, bench.power):
            name = "_before" if twin is bench.storage else "before"
            setattr(twin, name, lambda call, _arguments: calls.append(call))

    number = -1

    def count(what: str) -> None:
        nonlocal number
        if what.startswith("after") and "commit" not in what:
            number += 1
            if number == moment:
                bench.trip.armed = False
                steal()

    bench.trip = Counting(count)
    worker = bench.worker()
    bench.database._trip = bench.trip
    bench.trip.armed = True
    worker.run_once()
    bench.trip.armed = False
    assert number >= moment
    assert calls == []
    assert bench.finals(one.id) == []
    bench.clock.advance(LEASE + 1)
    for twin in (bench.storage, bench.target, bench.boot, bench.power):
        setattr(twin, "_before" if twin is bench.storage else "before", lambda _call, _arguments: None)
    bench.settle()
    assert bench.find(one.id).phase is Phase.SUCCEEDED
    assert len(bench.finals(one.id)) == 1
    assert bench.unexplained() == []


def test_an_answer_that_is_read_when_the_lease_is_over_is_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process stood still between the question and the call: whoever has the claim by then is not disturbed."""
    ticks = itertools.count(0.0, LEASE)
    monkeypatch.setattr(turn, "monotonic", lambda: next(ticks))
    one = bench.command("node.map", **MAP)
    assert bench.worker().run_once()
    assert [stored.kind for stored in bench.storage.inventory()] == ["image"]
    monkeypatch.undo()
    bench.clock.advance(LEASE + 1)
    bench.settle()
    assert bench.find(one.id).phase is Phase.SUCCEEDED


def test_an_operation_under_way_that_could_not_be_taken_keeps_its_epoch(bench: Bench) -> None:
    """The connection was cut while its claims were taken: they are given back, and who had it before stays out."""

    def epoch() -> int:
        with bench.database.read() as tx:
            mine = claims.claim.c.key == f"operation:{one.id}"
            return int(tx.execute(select(claims.claim.c.epoch).where(mine)).scalar_one())

    bench.target.down.update({"0", "1"})
    one = bench.command("node.map", **MAP)
    bench.settle(seconds=60)
    assert bench.find(one.id).phase is Phase.RUNNING
    before = epoch()
    bench.worker()._unplanned(one.id, RuntimeError("cut"))
    assert epoch() > before


@pytest.mark.parametrize("which", [1, 3, 5])
def test_an_old_answer_is_asked_for_again(bench: Bench, monkeypatch: pytest.MonkeyPatch, which: int) -> None:
    """The process stood still for less than a lease: whoever moves an address takes claims away that run on."""
    looks, calls = itertools.count(), []

    def late() -> float:
        if next(looks) != which:
            return 0.0
        with bench.database.write() as tx:
            claims.release_others(tx, bench.identity.head, "")
        calls.clear()
        return 2.0

    bench.command("node.map", **MAP)
    for twin in (bench.storage, bench.target, bench.boot, bench.seeds):
        note = "_before" if twin is bench.storage else "before"
        setattr(twin, note, lambda call, _arguments: calls.append(call))
    monkeypatch.setattr(turn, "monotonic", late)
    assert bench.worker().run_once()
    assert next(looks) > which
    assert calls == []


def test_an_instance_that_stood_still_does_not_take_over_from_itself(bench: Bench) -> None:
    """Its claims had run out while it was frozen: its other workers leave alone what one of them still has in hand."""
    one = bench.command("node.map", **MAP)
    taken: list[bool] = []

    def sleep(what: str) -> None:
        if what.startswith("after storage") and not taken:
            bench.trip.armed = False
            bench.clock.advance(LEASE + 1)
            taken.append(other.run_once())

    bench.trip = Counting(sleep)
    other, worker = bench.worker(), bench.worker()
    bench.trip.armed = True
    worker.run_once()
    bench.settle()
    assert taken == [False]
    assert (bench.find(one.id).phase, len(bench.finals(one.id))) == (Phase.SUCCEEDED, 1)


class Counting:
    """A trip wire that only tells."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.tell, self.armed = tell, False
        self.seen: list[str] = []

    def __call__(self, what: str) -> None:
        if self.armed:
            self.tell(what)


def test_claim_lost_is_an_error_of_its_own() -> None:
    """It is no transient error: nobody tries again under a claim that has gone."""
    assert not isinstance(ClaimLost(), TransientError | PermanentError)
