"""The trash is emptied of what has expired and of what was undone, and of nothing else.

How fast is a matter of its own, and what it is emptied of by real storages is in the contract tests.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from structlog.testing import capture_logs

from bmid.drivers.base import Usage
from bmid.errors import PermanentError
from bmid.scheduler.purge import LOOKS
from bmid.store import schema
from tests.support.bench import Bench
from tests.support.purging import DAY, Watch, discard, purge, rows, stored

N1 = {"project": "p1", "node": "n1"}


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[MutableMapping[str, Any]]]:
    """What is told to operators meanwhile."""
    with capture_logs() as found:
        yield found


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, blank=blank).open()
    made.furnish("n1")
    yield made
    made.close()


@pytest.fixture
def watch(bench: Bench) -> Watch:
    return Watch(bench)


def test_what_has_not_expired_stays_even_in_a_full_storage(bench: Bench, watch: Watch, logs: list[Any]) -> None:
    disks = discard(bench, "d1", "d2")
    bench.storage.usage = lambda: Usage(total=100, free=0)
    bench.clock.advance(7 * DAY - 60)
    for _ in range(LOOKS):
        assert purge(bench, watch).run_once() == 0
    assert stored(bench) == rows(bench) == disks
    [told, *_] = [one for one in logs if one["event"] == "storage.nearly_full"]
    assert (told["in_trash"], told["free"]) == (2, 0)
    assert told["next_expiry"].startswith("2026-11-28")


def test_what_has_expired_goes_the_oldest_first_and_its_row_after_it(bench: Bench, watch: Watch) -> None:
    disks = discard(bench, "d1", "d2", "d3")
    bench.clock.advance(3 * DAY)
    last = discard(bench, "d4")
    bench.clock.advance(4 * DAY + 61)
    assert purge(bench, watch).run_once() == 3
    assert watch.purged() == disks
    assert stored(bench) == rows(bench) == last


def test_an_image_goes_after_all_that_was_made_from_it_also_if_it_expires_first(bench: Bench, watch: Watch) -> None:
    [disk] = discard(bench, "d1")
    image = bench.view().image("p1", "debian").id
    bench.do("image.copy", project="p1", image="debian", to="copy")
    copy = bench.view().image("p1", "copy").id
    bench.do("image.remove", project="p1", image="copy")
    bench.site = type(bench.site)(trash_days=1.0)
    bench.do("image.remove", project="p1", image="debian")
    bench.clock.advance(2 * DAY)
    assert purge(bench, watch).run_once() == 0
    assert set(stored(bench)) == {disk, copy, image}
    bench.clock.advance(5 * DAY + 61)
    assert purge(bench, watch).run_once() == 3
    assert watch.purged()[-1] == image
    assert stored(bench) == rows(bench) == []


def test_what_was_undone_goes_soon_and_what_is_on_its_way_out_does_not(bench: Bench, watch: Watch) -> None:
    bench.storage._before = refuses_to_seal
    undone = bench.command("image.copy", project="p1", image="debian", to="copy")
    bench.settle()
    assert bench.final(undone.id)["type"] == "bmi.operation.failed.v1"
    watch = Watch(bench)
    bench.do("node.map", **N1, image="debian")
    disk = bench.view().disks()[0]
    bench.storage.discard(disk.id, {})  # as after a kill between the discard and its outcome
    assert stored(bench) == [undone.id, disk.id]
    mine = purge(bench, watch)
    assert mine.run_once() == 1
    assert stored(bench) == [disk.id]
    assert [mine.run_once() for _ in range(2 * LOOKS)] == [0] * 2 * LOOKS


def refuses_to_seal(name: str, arguments: tuple[object, ...]) -> None:
    if name == "seal_image":
        raise PermanentError("storage-error", "no")


def test_what_neither_a_row_nor_an_operation_explains_is_somebody_elses(bench: Bench, watch: Watch) -> None:
    """Of a site that uses the same pool, or of ours, from before a database was put back."""
    image = bench.view().image("p1", "debian").id
    bench.storage.clone(image, "0" * 32, {"site": "other"})
    bench.storage.discard("0" * 32, {"site": "other"})
    bench.storage.create_image("1" * 32, 512)
    bench.storage.remove_image("1" * 32)
    mine = purge(bench, watch)
    for _ in range(2 * LOOKS):
        bench.clock.advance(DAY)
        assert mine.run_once() == 0
    assert stored(bench) == ["0" * 32, "1" * 32]


def test_what_a_project_leaves_behind_goes_with_it(bench: Bench, watch: Watch) -> None:
    """Also what was made so long ago that nobody remembers the operation."""
    image = bench.view().image("p1", "debian").id
    bench.do("image.remove", project="p1", image="debian")
    bench.do("project.remove", project="p1")
    forget_operations(bench)
    bench.clock.advance(61)
    bench.do("project.create", project="p1")
    assert bench.do("image.restore", project="p1", image="debian")["problem"]["type"].endswith("trash-unknown")
    assert stored(bench) == [image]
    assert purge(bench, watch).run_once() == 1
    assert (stored(bench), bench.unexplained()) == ([], [])


def test_what_was_never_finished_goes_soon_however_long_it_lay_there(bench: Bench, watch: Watch) -> None:
    """An import that was abandoned, say, and whose image is removed after a month."""
    bench.do("image.copy", project="p1", image="debian", to="half", flatten=True)
    half = bench.view().image("p1", "half").id
    with bench.database.write() as tx:
        tx.execute(update(schema.image).where(schema.image.c.id == half).values(ready=False))
    forget_operations(bench)
    done = bench.do("image.remove", project="p1", image="half")
    assert (done["changed"], done.get("restorable_until")) == (True, None)
    assert rows(bench) == []
    forget_operations(bench)
    bench.clock.advance(61)
    assert purge(bench, watch).run_once() == 1
    assert (stored(bench), bench.unexplained()) == ([], [])


def forget_operations(bench: Bench) -> None:
    """Their retention is over."""
    with bench.database.write() as tx:
        tx.execute(delete(schema.operation))


def test_user_data_stays_for_as_long_as_it_can_be_needed(bench: Bench, watch: Watch) -> None:
    """A disk that is restored is given it again. With its time in the trash that ends, also where bytes can't go."""
    bench.do("node.map", **N1, image="debian", user_data="#!/bin/sh\n# secret\n")
    bench.do("node.unmap", **N1)
    [identity] = rows(bench)
    bench.storage.purge = lambda entry: False
    mine = purge(bench, watch)
    bench.clock.advance(6 * DAY)
    mine.run_once()
    assert "secret" in held(bench)
    bench.clock.advance(DAY + 61)
    mine.run_once()
    assert rows(bench) == [identity]
    assert "secret" not in held(bench)


def held(bench: Bench) -> str:
    """All that the rows of the trash hold."""
    with bench.database.read() as tx:
        return str(tx.execute(select(schema.trash.c.row)).scalars().all())


def test_a_database_that_knows_nothing_empties_no_trash(bench: Bench, watch: Watch, logs: list[Any]) -> None:
    """It is another one than that of the storage."""
    disks = discard(bench, "d1", "d2")
    with bench.database.write() as tx:
        for table in (schema.trash, schema.disk, schema.image):
            tx.execute(delete(table))
    assert purge(bench, watch).run_once() == 0
    assert stored(bench) == disks
    assert [one["entries"] for one in logs if one["event"] == "trash.unknown"] == [2]


def test_bytes_that_went_before_a_kill_take_their_row_along_in_the_next_round(bench: Bench, watch: Watch) -> None:
    [disk] = discard(bench, "d1")
    bench.clock.advance(8 * DAY)
    [entry] = bench.storage.trash()
    assert bench.storage.purge(entry)
    assert rows(bench) == [disk]
    assert purge(bench, watch).run_once() == 0
    assert rows(bench) == []


def test_what_can_not_go_yet_keeps_its_row(bench: Bench, watch: Watch) -> None:
    [disk] = discard(bench, "d1")
    bench.clock.advance(8 * DAY)
    bench.storage.purge = lambda entry: False
    assert purge(bench, watch).run_once() == 0
    assert rows(bench) == stored(bench) == [disk]


def test_what_is_being_restored_when_it_expires_is_left_alone(bench: Bench, watch: Watch) -> None:
    [disk] = discard(bench, "d1")
    bench.clock.advance(7 * DAY - 10)
    one = bench.command("disk.restore", project="p1", disk="d1")
    worker = bench.worker()
    bench.storage._before = stops_at_restore
    worker.run_once()
    bench.clock.advance(DAY)
    Watch(bench)
    assert purge(bench, watch).run_once() == 0
    assert stored(bench) == [disk]
    bench.settle()
    assert bench.final(one.id)["type"] == "bmi.disk.restored.v1"
    assert (stored(bench), rows(bench)) == ([], [])


def stops_at_restore(name: str, arguments: tuple[object, ...]) -> None:
    if name == "restore":
        raise RuntimeError("not yet")
