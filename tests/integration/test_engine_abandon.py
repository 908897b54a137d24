"""What is abandoned has no effect any more: whoever is frozen in a call for it is cut off from the storage first."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest

from bmid.care.leftover import Leftovers
from bmid.care.repair import Repair
from bmid.engine.auditor import Auditor
from bmid.errors import PermanentError, Refused, TransientError
from bmid.model.operation import Operation, Phase
from bmid.settings import Settings
from bmid.store import operations
from tests.support.bench import LEASE, Bench

pytestmark = pytest.mark.usefixtures("quiet")
MAP = {"project": "p1", "node": "n1", "image": "debian"}


def repairer(bench: Bench) -> Repair:
    """Another process, which reaches the storage by itself."""
    auditor = Auditor(bench.registry, bench.site, "h1", "/bmid/h1")
    ports = Leftovers(bench.database, auditor, lambda: nullcontext(bench.ports()), "h1", bench.site.iqn_prefix)
    settings = Settings(database={"url": f"sqlite:///{bench.folder}/bmid.db"}, head={"name": "h1"})
    return Repair(settings, ports)


def frozen_on_the_way_back(bench: Bench, meanwhile: Callable[[Operation], None]) -> Operation:
    """A map that fails, and whose worker freezes on the way back, right before the storage throws the disk away.
    Another one goes on, can't clear the boot pointer, and leaves it stuck without a call of the storage. Then comes
    `meanwhile`, and the frozen one wakes."""
    bench.boot.before = refusing("point")
    one = bench.command("node.map", **MAP)
    bench.keep()
    bench.trip.armed = True
    bench.settle()
    moment = bench.trip.seen.index("before storage.discard")
    bench.rewind()
    struck: list[BaseException | None] = []

    def freeze() -> None:
        try:
            bench.clock.advance(LEASE + 1)
            bench.boot.before = refusing("point", "clear")
            bench.settle(bench.worker(bench.new_identity()))
            bench.boot.before = None
            assert bench.find(one.id).phase is Phase.STUCK
            meanwhile(bench.find(one.id))
            struck.append(None)
        except BaseException as error:  # or it would be the worker's
            struck.append(error)
        bench.trip.armed = True

    bench.trip.at, bench.trip.strike, bench.trip.armed = moment, freeze, True
    bench.settle()
    assert struck == [None]
    return one


def refusing(*calls: str) -> Callable[[str, object], None]:
    """Boot files that can't be written."""

    def before(name: str, _: object) -> None:
        if name in calls:
            raise PermanentError("disk-full", "no space for scripts", todo="Make room.")

    return before


def test_whoever_wakes_in_a_call_for_what_was_abandoned_has_no_effect(bench: Bench) -> None:
    """The disk that the operation was about to throw away is there, and stays."""
    told = []

    def abandon(one: Operation) -> None:
        told.append(repairer(bench).abandon(one.id, "the folder is gone"))
        assert told[0].cut_off == one.clients != ()

    one = frozen_on_the_way_back(bench, abandon)
    disk = bench.view().node("n1").disk
    assert disk in {stored.id for stored in bench.storage.inventory() if stored.kind == "disk"}
    assert bench.find(one.id).phase is Phase.FAILED
    [event] = [one["data"] for one in bench.events() if one["type"] == "bmi.operation.abandoned.v1"]
    assert tuple(event["cut_off"]) == told[0].cut_off
    assert bench.do("node.unmap", project="p1", node="n1")["changed"] is True


def test_where_nobody_can_be_cut_off_nothing_is_abandoned(bench: Bench) -> None:
    """The storage is away: what would wake then would be nobody's."""

    def away(name: str, arguments: object) -> None:
        raise TransientError("storage-down", "the storage is away", todo="Look at the storage.")

    def abandon(one: Operation) -> None:
        bench.storage._before = away
        with pytest.raises(TransientError, match="away"):
            repairer(bench).abandon(one.id, "the folder is gone")
        bench.storage._before = lambda name, arguments: None
        assert bench.find(one.id).phase is Phase.STUCK

    frozen_on_the_way_back(bench, abandon)


def test_who_came_to_it_while_the_first_were_cut_off_keeps_it_from_being_abandoned(bench: Bench) -> None:
    """He is not cut off."""

    def abandon(one: Operation) -> None:
        def another(name: str, arguments: object) -> None:
            if name == "cut_off":
                with bench.database.write() as tx:
                    operations.change(tx, one.id, clients=[*(one.clients or ()), "10.0.0.9:0/9"])

        bench.storage._before = another
        with pytest.raises(Refused, match="meanwhile"):
            repairer(bench).abandon(one.id, "the folder is gone")
        bench.storage._before = lambda name, arguments: None

    frozen_on_the_way_back(bench, abandon)


def test_what_nobody_can_wake_in_needs_no_storage(bench: Bench) -> None:
    """Whoever had it in hand gave it back: there is nobody to cut off."""

    bench.boot.before = refusing("point", "clear")
    one = bench.command("node.map", **MAP)
    bench.settle()
    assert repairer(bench).abandon(one.id, "the folder is gone").cut_off == ()
