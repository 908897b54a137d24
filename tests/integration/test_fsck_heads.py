"""bmid fsck where there are several heads: what it can't know it says, and a repair never waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bmid.care.fsck import Fsck
from bmid.engine.keeper import Keeper
from bmid.errors import TransientError
from bmid.handlers.reconcile_site import ReconcileSite
from bmid.settings import Settings
from bmid.store.heads import Presence, leave
from tests.support.bench import Bench

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """A site with a node that is mapped."""
    site = Bench(tmp_path, blank=blank).open()
    site.furnish("n1")
    site.do("node.map", project="p1", node="n1", image="debian")
    yield site
    site.close()


def checker(bench: Bench, monkeypatch: pytest.MonkeyPatch, head: str = "h2", dead_after: float = 1e9) -> Fsck:
    """On a head that has no targets of its own. Who is alive goes by the clock of the test."""
    ports = replace(bench.ports(), target=_None())
    monkeypatch.setattr("bmid.care.fsck.make_ports", lambda settings: ports)
    monkeypatch.setattr("bmid.care.fsck.make_database", lambda settings: bench.database)
    return Fsck(Settings(head={"name": head}, engine={"dead_after": dead_after}))


class _None:
    """No shards."""

    shards = ()


def beat(bench: Bench, name: str) -> None:
    Keeper(bench.database, replace(bench.identity, head=name), Presence({})).start()


def looked(bench: Bench, head: str = "h1") -> None:
    bench.submit(ReconcileSite(head=head))
    bench.settle()


def test_a_head_that_has_not_looked_yet_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows whether what its nodes need is there."""
    bench.boot.entries.clear()
    report = checker(bench, monkeypatch).look()
    assert (report.rows, report.whole) == ([], False)
    assert report.silent == {
        "head h1": "it has not looked at what is its own yet, and 1 mapped disks are at home there"
    }
    looked(bench)
    report = checker(bench, monkeypatch).look()
    assert (report.silent, report.whole) == ({}, True)


@pytest.mark.parametrize("how", ["is dead", "was stopped"])
def test_a_head_that_is_away_is_named_with_what_depends_on_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """What it saw last says nothing about now."""
    looked(bench)
    if how == "is dead":
        bench.clock.advance(3600)
    else:
        with bench.database.write() as tx:
            leave(tx, "h1", bench.identity.instance)
    report = checker(bench, monkeypatch, dead_after=60.0).look()
    assert report.silent == {"head h1": f"it {how}, and 1 mapped disks are at home there"}
    assert not report.whole


def test_a_part_that_gave_another_head_no_answer_is_not_taken_for_well(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (disk,) = bench.view().disks()
    bench.target.down.add(disk.shard or "")
    bench.submit(ReconcileSite(head="h1"))
    bench.settle(seconds=5)
    bench.boot.entries.clear()  # whose memory is both heads' here
    report = checker(bench, monkeypatch).look()
    assert (report.rows, report.silent, report.whole) == ([], {}, False)


def test_a_repair_says_how_far_it_is_and_does_not_wait_for_ever(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is not done goes on by itself."""
    beat(bench, "h3")
    bench.boot.entries.clear()
    bench.boot.before = _full
    said: list[str] = []

    def tell(line: str) -> None:
        said.append(line)
        bench.settle(seconds=20)
        bench.clock.advance(1)

    monkeypatch.setattr(threading.Event, "wait", lambda self, timeout=None: False)
    failures = checker(bench, monkeypatch, head="h1").repair((), tell, patience=30.0)
    assert said[0] == "h1: waits for its turn; h3: waits for its turn"
    assert said[-1].startswith("h1: 0 of 1 mended, one waits: point-boot: no space; h3: ")
    assert (
        failures[0] == "head h1 was not done within 30 s (0 of 1 mended, one waits: point-boot: no space); it goes on"
    )
    assert failures[1] == "head h3 was not done within 30 s (looks); it goes on"
    bench.boot.before = lambda name, arguments: None
    bench.settle()
    assert bench.unexplained() == ["key look:h3"]


def _full(name: str, arguments: tuple[object, ...]) -> None:
    if name == "point":
        raise TransientError("boot-folder", "no space")
