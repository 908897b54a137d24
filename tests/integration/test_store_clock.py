"""A clock that goes back, or an instance that stood still: nothing waits for a time that is far away by now."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from structlog.testing import capture_logs

from bmid.engine.identity import Identity
from bmid.engine.keeper import Keeper
from bmid.model.operation import Operation, Phase
from bmid.store import claims, heads, operations
from bmid.store.database import Database
from bmid.store.heads import Presence
from lab.postgresql import PostgreSQL
from tests.support.twin import VirtualClock

LEASE, DEAD, HOUR = 30.0, 60.0, 3600.0


@pytest.fixture
def clock() -> VirtualClock:
    """Time in the test's hand."""
    return VirtualClock()


@pytest.fixture
def database(url: str, clock: VirtualClock) -> Iterator[Database]:
    """A fresh database on that clock."""
    made = Database(url, clock=clock)
    yield made
    made.close()


def keeper(database: Database, head: str) -> Keeper:
    """Of a head's instance `1`."""
    identity = Identity(head, "1", f"/bmid/{head}", LEASE, DEAD, HOUR, set())
    return Keeper(database, identity, Presence())


def held(database: Database, holder: str) -> bool:
    """Whether the key is somebody else's."""
    with database.write() as tx:
        return claims.take(tx, ["node:1"], holder, LEASE, "o2") is None


def test_claims_and_signs_of_life_of_the_dead_end_in_time_although_the_clock_went_back(
    database: Database, clock: VirtualClock
) -> None:
    living, dead = keeper(database, "a"), keeper(database, "b")
    for one in (living, dead):
        one.start()
    with database.write() as tx:
        claims.take(tx, ["node:1"], "b/1", LEASE, "o1")
    clock.advance(-HOUR)
    with capture_logs() as told:
        living.run_once()
    assert [(one["event"], one["seconds"]) for one in told] == [("clock.went_back", HOUR)]
    assert held(database, "a/1")
    clock.advance(LEASE + 1)
    living.run_once()
    assert not held(database, "a/1")
    clock.advance(DEAD)
    with database.read() as tx:
        assert heads.others(tx, "a", DEAD) == []


def test_an_instance_that_starts_after_the_clock_went_back_notices_it_too(
    database: Database, clock: VirtualClock
) -> None:
    keeper(database, "a").start()
    clock.advance(-HOUR)
    with capture_logs() as told:
        keeper(database, "a").start()
    assert [one["event"] for one in told] == ["clock.went_back"]


def test_a_head_that_stood_still_says_so(database: Database, clock: VirtualClock) -> None:
    one = keeper(database, "a")
    one.start()
    clock.advance(LEASE / 3)
    with capture_logs() as told:
        one.run_once()
        clock.advance(LEASE + 1)
        one.run_once()
    assert [line["event"] for line in told] == ["head.stood_still"]


@pytest.fixture
def server(postgresql: PostgreSQL, blank_postgresql: str, clock: VirtualClock) -> Iterator[Database]:
    """On that clock, and with locks of rows."""
    name = f"t{secrets.token_hex(6)}"
    made = Database(postgresql.create_database(name, template=blank_postgresql), clock=clock)
    yield made
    made.close()
    postgresql.drop_database(name)


def test_a_heartbeat_waits_for_no_worker_although_the_clock_went_back(server: Database, clock: VirtualClock) -> None:
    """What one has in hand is passed by, and looked at again: it may write a time of before, too."""
    living = keeper(server, "a")
    living.start()
    later = clock.moment + timedelta(seconds=5)
    with server.write() as tx:
        one = Operation(
            id="o1", seq=0, type="t", command={}, user="u", source="s", message="m", correlation="c",
            phase=Phase.RUNNING, accepted_at=later, due_at=later,
        )  # fmt: skip
        operations.accept(tx, one, [])
        held = claims.take(tx, ["node:1"], "b/1", LEASE, "o1")
    assert held
    with server.write() as tx:
        claims.verify(tx, held, "b/1", "o1", keep=True)
        before = tx.now
        operations.change(tx, "o1", why="busy")
        clock.advance(-HOUR)
        began = time.monotonic()
        living.run_once()
        assert time.monotonic() - began < 4, "it would wait for a lock for 5 s"
        operations.change(tx, "o1", due_at=before + timedelta(seconds=5))
    living.run_once()
    with server.read() as tx:
        found = operations.find(tx, "o1")
        assert found
        assert found.due_at <= tx.now
    clock.advance(LEASE + 1)
    with server.write() as tx:
        assert claims.take(tx, ["node:1"], "a/1", LEASE, "o2")
