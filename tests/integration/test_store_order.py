"""Whose turn it is: operations that want one key run in the order accepted, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from bmid.model.operation import Phase
from bmid.store import claims, operations
from bmid.store.database import Database
from bmid.store.operations import Busy
from tests.support.line import LEASE, accept, all_now, end, exclusive, shared, take
from tests.support.twin import VirtualClock


def test_places_in_line_rise_by_one(database: Database) -> None:
    """In the order of acceptance."""
    assert [accept(database, name, []).seq for name in "abc"] == [1, 2, 3]


def test_one_key_is_one_line(database: Database) -> None:
    """Exclusive wishes for one key run one at a time, the oldest first; another key is another line."""
    for name, key in (("a", "node:1"), ("b", "node:1"), ("c", "node:2"), ("d", "node:1")):
        accept(database, name, exclusive(key))
    assert all_now(database) == ["a", "c"]
    end(database, "a")
    assert all_now(database) == ["b"]
    end(database, "b")
    assert all_now(database) == ["d"]


def test_shared_wishes_run_side_by_side(database: Database) -> None:
    """And an exclusive one waits for all of them, and those after it for it."""
    for name in "ab":
        accept(database, name, shared("image:1"))
    accept(database, "x", exclusive("image:1"))
    accept(database, "c", shared("image:1"))
    assert all_now(database) == ["a", "b"]
    end(database, "a")
    assert all_now(database) == []
    end(database, "b")
    assert all_now(database) == ["x"]
    end(database, "x")
    assert all_now(database) == ["c"]


def test_a_later_one_overtakes_nobody_through_a_second_key(database: Database) -> None:
    """What wants two keys waits for both, and holds up those behind it on the free one as well."""
    accept(database, "a", exclusive("node:1"))
    accept(database, "both", exclusive("node:1", "node:2"))
    accept(database, "c", exclusive("node:2"))
    assert all_now(database) == ["a"]
    end(database, "a")
    assert all_now(database) == ["both"]
    end(database, "both")
    assert all_now(database) == ["c"]


@pytest.mark.parametrize("phase", [Phase.RUNNING, Phase.REVERTING, Phase.STUCK])
def test_nobody_overtakes_what_waits_or_is_stuck(database: Database, phase: Phase) -> None:
    """It keeps its keys though it holds no claim."""
    accept(database, "a", exclusive("node:1"))
    accept(database, "b", exclusive("node:1"))
    assert take(database) == "a"
    with database.write() as tx:
        operations.start(tx, "a", {"stages": []}, None)
        operations.change(tx, "a", phase=phase, due_at=tx.now + timedelta(hours=1), claimed_until=None)
        claims.release(tx, "a", "h1/a")
    assert take(database) is None
    end(database, "a")
    assert take(database) == "b"


def test_what_is_urgent_stands_before_all_that_has_not_begun(database: Database) -> None:
    """In its own order, and behind what has begun; those on other keys are not asked either."""
    for name in "abc":
        accept(database, name, exclusive("node:1"))
    accept(database, "free", exclusive("node:2"))
    assert take(database) == "a"
    with database.write() as tx:
        operations.start(tx, "a", {"stages": []}, None)
    for name in ("first", "second"):
        accept(database, name, exclusive("node:1"), urgent=True)
    accept(database, "elsewhere", exclusive("node:3"), urgent=True)
    assert all_now(database) == ["elsewhere", "free"]
    with database.write() as tx:
        operations.change(tx, "a", phase=Phase.RUNNING, claimed_until=None)
        claims.release(tx, "a", "h1/a")
    assert all_now(database) == ["a"]  # again, as after a wait
    for name, then in (("a", "first"), ("first", "second"), ("second", "b"), ("b", "c")):
        end(database, name)
        assert all_now(database) == [then]


def test_what_is_urgent_does_not_begin_beside_what_begins_at_that_moment(database: Database, url: str) -> None:
    """It comes in while another worker's transaction has begun something on its key and hasn't ended yet."""
    accept(database, "b", exclusive("node:1"))
    begun, found = threading.Event(), list[str | None]()

    def begin() -> None:
        with database.write() as tx:
            operations.take(tx, "h1", "h1/a", LEASE)
            operations.start(tx, "b", {"stages": []}, "h2")
            claims.release(tx, "b", "h1/a")
            begun.set()
            threading.Event().wait(0.5)

    def look() -> None:
        with suppress(Busy):
            found.append(take(database, "h1/b"))

    threads = [threading.Thread(target=begin), threading.Thread(target=look)]
    threads[0].start()
    begun.wait(5)
    if url.startswith("postgresql"):  # elsewhere nobody can write meanwhile
        accept(database, "u", exclusive("node:1"), urgent=True)
    threads[1].start()
    for thread in threads:
        thread.join(10)
    assert "u" not in found


def test_what_is_not_due_is_not_taken_until_it_is_woken(database: Database) -> None:
    """wake: now instead of later."""
    accept(database, "a", [], due_at=datetime(2100, 1, 1, tzinfo=UTC))
    assert take(database) is None
    with database.write() as tx:
        operations.wake(tx, "a")
    assert take(database) == "a"


def test_an_operation_with_a_home_runs_there_alone(database: Database) -> None:
    """Other heads pass it by, and go on with what follows."""
    accept(database, "a", exclusive("node:1"), home="h2")
    accept(database, "b", exclusive("node:2"))
    assert all_now(database) == ["b"]
    assert take(database, "h2/x", "h2") == "a"


def test_a_dead_workers_operation_is_taken_again_when_its_lease_has_run_out(url: str) -> None:
    """Not before, and with a higher epoch."""
    clock = VirtualClock()
    database = Database(url, clock=clock)
    accept(database, "a", exclusive("node:1"))
    with database.write() as tx:
        first = operations.take(tx, "h1", "h1/a", LEASE)
    clock.advance(LEASE - 1)
    assert take(database, "h1/b") is None
    clock.advance(2)
    with database.write() as tx:
        second = operations.take(tx, "h1", "h1/b", LEASE)
    assert first is not None
    assert second is not None
    assert [one.key for one in second[1]] == ["operation:a", "node:1"]
    assert all(new.epoch > old.epoch for new, old in zip(second[1], first[1], strict=True))
    database.close()


def test_a_claim_that_outlives_its_operation_keeps_the_next_one_waiting(database: Database) -> None:
    """Busy says which one it is, and nothing is taken."""
    accept(database, "a", exclusive("node:1"))
    with database.write() as tx:
        claims.take(tx, ["node:1"], "h9/z", LEASE, "other")
    with pytest.raises(Busy) as caught:
        take(database)
    assert caught.value.operation == "a"
    with database.write() as tx:
        claims.release(tx, "other", "h9/z")
    assert take(database) == "a"


def test_forget_deletes_what_has_ended_long_ago_and_nothing_else(database: Database) -> None:
    """With its keys; unfinished ones stay whatever their age."""
    for name in "ab":
        accept(database, name, exclusive(f"node:{name}"))
    take(database)
    end(database, "a")
    with database.write() as tx:
        assert operations.forget(tx, tx.now - timedelta(hours=1)) == 0
        assert operations.forget(tx, tx.now + timedelta(hours=1)) == 1
    with database.read() as tx:
        assert operations.find(tx, "a") is None
        assert operations.find(tx, "b") is not None
