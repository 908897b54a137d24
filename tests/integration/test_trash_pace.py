"""The trash is emptied slowly where that disturbs, by one head at a time, and past what can't be removed."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bmid.drivers.base import Storage, TrashEntry, Usage
from bmid.errors import PermanentError, TransientError
from bmid.scheduler.purge import AT_ONCE, LOOKS, Pace, Purge
from bmid.store import claims
from tests.support.bench import Bench
from tests.support.purging import DAY, Watch, discard, purge, rows, stored


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


def test_what_can_not_go_yet_holds_up_nothing_behind_it(bench: Bench, watch: Watch) -> None:
    """Not even where it is more than a round removes, and expired first."""
    stuck = set(discard(bench, *(f"d{number}" for number in range(AT_ONCE + 1))))
    bench.clock.advance(10)
    [last] = discard(bench, "last")
    bench.clock.advance(8 * DAY)
    purged = bench.storage.purge
    bench.storage.purge = lambda entry: entry.id not in stuck and purged(entry)
    assert purge(bench, watch).run_once() == 1
    assert set(stored(bench)) == set(rows(bench)) == stuck
    assert last not in rows(bench)


@pytest.mark.parametrize("error", [PermanentError("storage-error", "damaged"), TransientError("storage-error", "?")])
def test_what_can_not_be_removed_holds_up_nothing_behind_it(
    bench: Bench, watch: Watch, logs: list[Any], error: Exception
) -> None:
    """It is told of, and tried again some rounds later."""
    bad = discard(bench, "d1", "d2")
    good = discard(bench, "d3", "d4")
    bench.clock.advance(8 * DAY)
    purged = bench.storage.purge

    def fail(entry: TrashEntry) -> bool:
        if entry.id in bad:
            raise error
        return purged(entry)

    bench.storage.purge = fail
    mine = purge(bench, watch)
    assert mine.run_once() == len(good)
    assert [one["id"] for one in logs if one["event"] == "trash.not_purged"] == bad == rows(bench)
    bench.storage.purge = purged
    assert [mine.run_once() for _ in range(LOOKS)] == [0] * (LOOKS - 1) + [2]


def test_a_storage_that_is_away_ends_the_round(bench: Bench, watch: Watch, logs: list[Any]) -> None:
    discard(bench, *(f"d{number}" for number in range(9)))
    bench.clock.advance(8 * DAY)

    def fail(entry: TrashEntry) -> bool:
        raise TransientError("storage-down", "no answer")

    bench.storage.purge = fail
    assert purge(bench, watch).run_once() == 0
    assert len([one for one in logs if one["event"] == "trash.not_purged"]) == 3


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
