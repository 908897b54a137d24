"""The trash is emptied of what has expired and of what no row explains, and of nothing else; slowly where it disturbs.

What it is emptied of by real storages is in the contract tests.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete
from structlog.testing import capture_logs

from bmid.drivers.base import Storage, TrashEntry, Usage
from bmid.scheduler.purge import AT_ONCE, LOOKS, Pace, Purge
from bmid.store import claims, schema
from tests.support.bench import Bench

DAY = 86400.0
N1 = {"project": "p1", "node": "n1"}


class Watch:
    """Seconds that pass when a call of the storage takes them. `takes`: how long a sign of life does."""

    def __init__(self, bench: Bench) -> None:
        self.seconds, self.takes = 0.0, 0.01
        self.calls: list[tuple[str, tuple[object, ...]]] = []
        bench.storage._before = self.before

    def before(self, name: str, arguments: tuple[object, ...]) -> None:
        self.calls.append((name, arguments))
        self.seconds += self.takes if name == "check" else 0.001

    def purged(self) -> list[str]:
        found = [one[0] for name, one in self.calls if name == "purge"]
        return [one.id for one in found if isinstance(one, TrashEntry)]


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


def purge(bench: Bench, watch: Watch, **more: Any) -> Purge:
    options = {"storage": bench.storage, "urgent": 5.0, **more}
    return Purge(bench.database, bench.identity.holder, timer=lambda: watch.seconds, **options)


def discard(bench: Bench, *names: str) -> list[str]:
    """Disks that are removed one after the other; their ids."""
    found = []
    for name in names:
        bench.do("disk.create", project="p1", disk=name, image="debian")
        found.append(bench.view().disk_named("p1", name).id)
        bench.do("disk.remove", project="p1", disk=name)
        bench.clock.advance(1)
    return found


def rows(bench: Bench) -> list[str]:
    return [one.id for one in bench.view().trashed("p1")][::-1]


def stored(bench: Bench) -> list[str]:
    return [one.id for one in bench.storage.trash()]


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


def test_a_round_takes_no_more_than_its_share(bench: Bench, watch: Watch) -> None:
    discard(bench, *(f"d{number}" for number in range(AT_ONCE + 5)))
    bench.clock.advance(8 * DAY)
    mine = purge(bench, watch)
    assert [mine.run_once() for _ in range(3)] == [AT_ONCE, 5, 0]
    assert rows(bench) == stored(bench) == []


def test_it_stops_while_the_storage_is_slow_and_goes_on_afterwards(bench: Bench, watch: Watch, logs: list[Any]) -> None:
    discard(bench, *(f"d{number}" for number in range(12)))
    bench.clock.advance(8 * DAY)
    mine = purge(bench, watch)
    bench.storage._before = lambda name, arguments: slow_from(watch, name, arguments, after=5)
    assert mine.run_once() == 5
    assert mine.run_once() == 0
    assert [one["stopped_as_slow"] for one in logs if one["event"] == "trash.purged"] == [True, True]
    bench.storage._before = watch.before
    assert mine.run_once() == 7


def slow_from(watch: Watch, name: str, arguments: tuple[object, ...], after: int) -> None:
    watch.before(name, arguments)
    if name == "check" and sum(one == "check" for one, _ in watch.calls) > after:
        watch.seconds += 1.0


def test_in_a_nearly_full_storage_all_that_has_expired_goes_however_slow_it_is(bench: Bench, watch: Watch) -> None:
    discard(bench, *(f"d{number}" for number in range(AT_ONCE + 5)))
    bench.clock.advance(8 * DAY)
    [kept] = discard(bench, "kept")
    bench.storage.usage = lambda: Usage(total=1000, free=49)
    watch.takes = 60.0
    assert purge(bench, watch).run_once() == AT_ONCE + 5
    assert stored(bench) == rows(bench) == [kept]


def test_what_was_undone_goes_soon_and_what_is_on_its_way_out_does_not(bench: Bench, watch: Watch) -> None:
    image = bench.view().image("p1", "debian").id
    bench.storage.clone(image, "0" * 32, {})
    bench.storage.discard("0" * 32, {})
    bench.do("node.map", **N1, image="debian")
    disk = bench.view().disks()[0]
    bench.storage.discard(disk.id, {})  # as after a kill between the discard and its outcome
    mine = purge(bench, watch)
    assert mine.run_once() == 1
    assert stored(bench) == [disk.id]
    assert [mine.run_once() for _ in range(2 * LOOKS)] == [0] * 2 * LOOKS


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


def test_one_head_does_it_at_a_time(bench: Bench) -> None:
    """Two would try the same entries."""
    asked: list[str] = []

    class Asked:
        def __init__(self, head: str) -> None:
            self.head = head

        def usage(self) -> None:
            asked.append(self.head)

        def trash(self) -> list[TrashEntry]:
            return []

    def keeper(head: str) -> Purge:
        storage: Storage = Asked(head)  # type: ignore[assignment]
        return Purge(bench.database, f"{head}/test", storage, 5.0)

    one, other = keeper("one"), keeper("other")
    for _ in range(LOOKS):
        one.run_once()
        other.run_once()
    assert set(asked) == {"one"}
    with bench.database.write() as tx:
        claims.release_roles(tx, "one/test")
    other.run_once()
    assert asked[-1] == "other"


def test_slow_is_many_times_the_usual_and_what_lasts_becomes_the_usual() -> None:
    seconds = 0.0

    def takes(much: float) -> None:
        nonlocal seconds
        seconds += much

    pace = Pace(lambda: seconds)
    assert all(pace.calm(lambda: takes(0.05)) for _ in range(10))
    assert pace.calm(lambda: takes(0.2))
    assert not pace.calm(lambda: takes(0.3))
    assert [pace.calm(lambda: takes(0.3)) for _ in range(12)][-1]
    assert not pace.calm(lambda: takes(3.1))
