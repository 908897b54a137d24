"""Claims: a right passes on by a higher epoch, and who has lost it finds out. On SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bmid.errors import ClaimLost
from bmid.model.claim import Held
from bmid.store import claims
from bmid.store.database import Database
from tests.support.twin import VirtualClock

LEASE = 30.0


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


def take(database: Database, holder: str, *keys: str, purpose: str = "o1") -> tuple[Held, ...] | None:
    with database.write() as tx:
        held = claims.take(tx, keys, holder, LEASE, purpose)
        if held is None:
            raise Undone
        return held


class Undone(Exception):
    """So that the transaction is rolled back, as its caller does."""


def lost(database: Database, held: tuple[Held, ...], holder: str, purpose: str = "o1") -> bool:
    try:
        with database.read() as tx:
            claims.verify(tx, held, holder, purpose)
    except ClaimLost:
        return True
    return False


def test_all_keys_or_none(database: Database) -> None:
    """One that is held keeps the others free as well."""
    take(database, "h1/a", "node:1")
    with pytest.raises(Undone):
        take(database, "h1/b", "image:1", "node:1", purpose="o2")
    assert take(database, "h1/b", "image:1", purpose="o2") == (Held("image:1", 1),)


def test_epochs_only_rise(database: Database, clock: VirtualClock) -> None:
    """Through release, expiry, and release of what a dead instance held."""
    epochs = []
    for holder in ("h1/a", "h1/b", "h2/c"):
        (held,) = take(database, holder, "node:1") or ()
        epochs.append(held.epoch)
        with database.write() as tx:
            claims.release(tx, "o1", holder, ended=True)
        (held,) = take(database, holder, "node:1") or ()
        epochs.append(held.epoch)
        clock.advance(LEASE + 1)
    assert epochs == sorted(set(epochs))


def test_a_lost_claim_is_seen(database: Database, clock: VirtualClock) -> None:
    """Expired alone does not lose it, so that a slow worker may go on; taken by another does, for good."""
    held = take(database, "h1/a", "node:1", "operation:o1") or ()
    clock.advance(LEASE + 1)
    assert not lost(database, held, "h1/a")
    theirs = take(database, "h2/b", "node:1", purpose="o2") or ()
    assert lost(database, held, "h1/a")
    with database.write() as tx:
        claims.release(tx, "o2", "h2/b")
    assert lost(database, held, "h1/a")
    assert lost(database, theirs, "h2/b", "o2")


def test_who_lost_a_claim_releases_and_renews_nothing(database: Database, clock: VirtualClock) -> None:
    """The new holder keeps it."""
    take(database, "h1/a", "node:1")
    clock.advance(LEASE + 1)
    theirs = take(database, "h2/b", "node:1") or ()
    with database.write() as tx:
        claims.release(tx, "o1", "h1/a")
        assert claims.renew(tx, "h1/a", ["o1"], LEASE) == 0
    assert not lost(database, theirs, "h2/b")


def test_a_renewed_claim_does_not_expire(database: Database, clock: VirtualClock) -> None:
    """Renewed in a third of the lease, it is held for as long as anybody likes."""
    held = take(database, "h1/a", "node:1") or ()
    for _ in range(10):
        clock.advance(LEASE / 3)
        with database.write() as tx:
            assert claims.renew(tx, "h1/a", ["o1"], LEASE) == 1
    with pytest.raises(Undone):
        take(database, "h1/b", "node:1", purpose="o2")
    assert not lost(database, held, "h1/a")


def test_a_new_instance_frees_what_its_head_held_and_nothing_else(database: Database) -> None:
    """h1 is not h10, and a percent sign in a name is no wildcard."""
    take(database, "h1/old", "node:1", purpose="o1")
    take(database, "h10/x", "node:2", purpose="o2")
    take(database, "h1/new", "node:3", purpose="o3")
    with database.write() as tx:
        assert claims.release_others(tx, "h1", "h1/new") == 1
    assert take(database, "h1/new", "node:1", purpose="o4") == (Held("node:1", 2),)
    for key in ("node:2", "node:3"):
        with pytest.raises(Undone):
            take(database, "h1/other", key, purpose="o5")


def test_one_has_a_role_at_a_time(database: Database, clock: VirtualClock) -> None:
    """It is kept by asking again, and passes on when its holder is silent for a lease."""

    def leads(holder: str) -> bool:
        with database.write() as tx:
            return claims.take_role(tx, "relay", holder, LEASE)

    assert leads("h1/a")
    assert not leads("h2/b")
    for _ in range(6):
        clock.advance(LEASE * 0.6)
        assert leads("h1/a")
        assert not leads("h2/b")
    clock.advance(LEASE + 1)
    assert leads("h2/b")
    assert not leads("h1/a")
