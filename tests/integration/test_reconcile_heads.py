"""Who looks when: each head soon after its start and every hour, by one head's order; and what one sees of another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from bmid.care.fsck import Fsck
from bmid.engine.keeper import Keeper
from bmid.errors import TransientError
from bmid.handlers.reconcile_site import ReconcileSite
from bmid.model.finding import Finding, Kind
from bmid.scheduler.housekeeping import Housekeeping
from bmid.scheduler.reconciling import Reconciling
from bmid.settings import Settings
from bmid.store import findings
from bmid.store.heads import Presence
from bmid.store.schema import head
from tests.support.bench import Bench

pytestmark = pytest.mark.usefixtures("quiet")
HOUR = 3600.0


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """A site with a node that is mapped."""
    site = Bench(tmp_path, blank=blank).open()
    site.furnish("n1")
    site.do("node.map", project="p1", node="n1", image="debian")
    yield site
    site.close()


def scheduler(bench: Bench, every: float = HOUR, holder: str = "h1/i1") -> Reconciling:
    return Reconciling(bench.database, holder, every, 60.0, bench.acceptance.submit, bench._ring)


def orders(bench: Bench) -> list[tuple[str, bool]]:
    """All looks that were asked for: the head, and whether at what all share."""
    found = [one for one in bench.view().operations(500) if one.type == "bmi.site.reconcile.v1"]
    return [(one.command["head"], one.command["shared"]) for one in sorted(found, key=lambda one: one.seq)]


def beat(bench: Bench, name: str = "h1") -> None:
    """The head is alive."""
    keeper = Keeper(bench.database, replace(bench.identity, head=name), Presence({}))
    keeper.start()


def test_a_head_is_looked_at_after_its_start_and_every_hour(bench: Bench) -> None:
    one = scheduler(bench)
    assert one.run_once() == 1
    assert one.run_once() == 0, "it is under way"
    bench.settle()
    assert one.run_once() == 0
    bench.clock.advance(HOUR / 2)
    with bench.database.write() as tx:
        tx.execute(update(head).values(seen_at=tx.now))
    assert one.run_once() == 0
    bench.clock.advance(HOUR / 2 + 1)
    with bench.database.write() as tx:
        tx.execute(update(head).values(seen_at=tx.now))
    assert one.run_once() == 1
    assert orders(bench) == [("h1", True), ("h1", True)]


def test_a_restarted_head_is_looked_at_again(bench: Bench) -> None:
    one = scheduler(bench)
    one.run_once()
    bench.settle()
    bench.clock.advance(5)
    bench.die()
    beat(bench)
    assert one.run_once() == 1


def test_only_one_head_orders_and_what_all_share_is_looked_at_once(bench: Bench) -> None:
    beat(bench, "h2")
    assert scheduler(bench).run_once() == 2
    assert scheduler(bench, holder="h2/i9").run_once() == 0, "it has not the role"
    assert sorted(orders(bench)) == [("h1", True), ("h2", False)]


def test_what_is_mended_is_gone_for_a_head_that_never_looks_at_what_all_share(bench: Bench) -> None:
    """Else it would have its disks fenced and exported again at each look."""
    (disk,) = bench.view().disks()
    bench.storage.open(disk.id, "10.9.9.9:0/1")
    for expected in ({"owner-astray": 1}, {"owner-astray": 1}, {}, {}):
        one = bench.submit(ReconcileSite(head="h1"))
        bench.settle()
        assert bench.final(one.id)["data"]["findings"] == expected


def test_nobody_looks_unasked_where_the_settings_say_so(bench: Bench) -> None:
    assert scheduler(bench, every=0.0).run_once() == 0


def test_what_is_another_heads_own_comes_from_its_last_look_with_its_age(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = bench.ports()
    monkeypatch.setattr("bmid.care.fsck.make_ports", lambda settings: replace(ports, target=_Down()))
    bench.boot.entries.clear()
    (disk,) = bench.view().disks()
    bench.target.down.add(disk.shard or "")
    scheduler(bench).run_once()
    bench.settle(seconds=5)
    bench.target.down.clear()
    settings = Settings(
        database={"url": f"sqlite:///{bench.folder}/bmid.db"}, head={"name": "h2"}, engine={"dead_after": 1e9}
    )
    report = Fsck(settings).look()
    assert report.silent == {"target t": "no answer"}
    parts = {one["part"]: one for one in report.elsewhere}
    assert parts["boot"]["age"] is not None
    assert parts[f"target {disk.shard}"]["problem"]
    assert {one["head"] for one in report.elsewhere} == {"h1"}


def test_what_was_seen_on_a_head_that_is_no_more_is_forgotten_in_the_end(bench: Bench) -> None:
    """Nobody looks there any more; what another head has seen, and what all share, stays."""
    found = {
        name: Finding(Kind.STRANGER, name or "all", "storage", "a stranger", head=name) for name in ("h1", "h9", "")
    }
    beat(bench, "h9")
    with bench.database.write() as tx:
        for name, one in found.items():
            findings.note(tx, name or "h1", ["boot"], {}, [one])
    keep = Housekeeping(bench.database, "h1/i1", bench.staging, 14)
    for days in (13, 2):
        bench.clock.advance(days * 24 * HOUR)
        beat(bench)
        keep.forget()
        with bench.database.read() as tx:
            left = {one.finding.head for one in findings.noted(tx)}
            looked = {one.head for one in findings.looks(tx)}
        assert left == {"h1", "", *(["h9"] if days == 13 else [])}
        assert looked == {"h1", *(["h9"] if days == 13 else [])}


class _Down:
    """A target that is away."""

    shards = ("t",)

    def exports(self, shard: str) -> Any:
        raise TransientError("target-down", "no answer")
