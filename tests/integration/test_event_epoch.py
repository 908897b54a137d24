"""Whoever subscribes sees sequences and positions rise, also when the database was put back or made again."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from bmid.care.backup import Backup
from bmid.care.rebuild import Rebuild
from bmid.settings import Settings
from bmid.store import ledger, outbox, schema, site
from tests.support.bench import Bench

pytestmark = pytest.mark.usefixtures("quiet")
P1 = {"project": "p1"}
ENDS = {"bmi.node.map.v1": ("bmi.node.mapped.v1",)}


def quietly(done: int, total: int) -> None:
    """Progress that nobody sees."""


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    folder = tmp_path / "site"
    folder.mkdir()
    one = Bench(folder, blank=blank).open()
    one.furnish("n1")
    one.do("node.map", **P1, node="n1", image="debian")
    yield one
    one.close()


def settings(bench: Bench) -> Settings:
    head = {"name": "h1", "state_folder": bench.folder / "state"}
    return Settings(database={"url": f"sqlite:///{bench.folder}/bmid.db"}, head=head)


def numbers(bench: Bench) -> tuple[dict[str, list[int]], list[int]]:
    """Sequences by subject and all positions, of events that have theirs now."""
    with bench.database.write() as tx:
        outbox.assign(tx, 1000)
        rows = tx.execute(select(schema.outbox).order_by(schema.outbox.c.id)).all()
    found: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        found[row.envelope["subject"]].append(int(row.envelope["sequence"]))
        assert len(row.envelope["sequence"]) == outbox.SEQUENCE_DIGITS
    return found, [row.position for row in rows]


def gaps(bench: Bench) -> list[str]:
    with bench.database.read() as tx:
        return [one.what for one in ledger.faults(tx, ENDS, timedelta(days=14)) if one.kind.value.endswith("-gap")]


def goes_on(bench: Bench, told: tuple[dict[str, list[int]], list[int]]) -> None:
    """What is said from now on comes after all that was `told`, and without a hole."""
    kept = len(numbers(bench)[1])
    bench.do("node.unmap", **P1, node="n1")
    sequences, positions = numbers(bench)
    assert len(positions) > kept + 1
    assert min(positions[kept:]) > max(told[1])
    assert positions[kept:] == list(range(positions[kept], positions[kept] + len(positions) - kept))
    assert sequences["node/n1"][-1] > told[0]["node/n1"][-1]
    assert gaps(bench) == []


def test_events_go_on_behind_those_that_a_backup_does_not_know(bench: Bench, tmp_path: Path) -> None:
    numbers(bench)
    Backup(settings(bench), quietly).take(tmp_path / "one")
    for _ in range(3):
        bench.do("node.unmap", **P1, node="n1")
        bench.do("node.map", **P1, node="n1", image="debian")
    told = numbers(bench)
    bench.close()
    Backup(settings(bench), quietly).restore(tmp_path / "one", replace=True)
    goes_on(bench, told)


def test_events_go_on_behind_those_of_a_database_that_is_gone(bench: Bench, blank: Path) -> None:
    told = numbers(bench)
    bench.close()
    for left in bench.folder.glob("bmid.db*"):
        left.unlink()
    shutil.copy(blank, bench.folder / "bmid.db")
    Rebuild(settings(bench), quietly, bench.storage).run()
    bench.open()
    goes_on(bench, told)
    with bench.database.read() as tx:
        assert site.identifier(tx) == "5" * 32, "it is the same site as before"


def test_a_hole_is_still_told_of_after_a_new_beginning(bench: Bench) -> None:
    """Only the leap itself is none."""
    with bench.database.write() as tx:
        site.begin_anew(tx, "5" * 32)
    bench.do("node.unmap", **P1, node="n1")
    numbers(bench)
    assert gaps(bench) == []
    with bench.database.write() as tx:
        last = tx.execute(select(schema.outbox.c.id).order_by(schema.outbox.c.id.desc()).limit(2)).scalars().all()
        tx.execute(schema.outbox.delete().where(schema.outbox.c.id == last[1]))
    assert any("position" in what for what in gaps(bench))


def test_each_beginning_is_behind_the_one_before(bench: Bench) -> None:
    """By more than a site says meanwhile, and short enough for a sequence for some centuries."""
    began = []
    for _ in range(2):
        with bench.database.write() as tx:
            site.begin_anew(tx, "5" * 32)
            began.append(site.began(tx))
        bench.clock.advance(60)
    assert began[1] - began[0] == 60 * site.EVENTS_A_SECOND
    assert began[1] * 5 < 10**outbox.SEQUENCE_DIGITS
