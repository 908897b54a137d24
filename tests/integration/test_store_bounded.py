"""A server that gives no answer holds nobody up, and what nobody listens for any more holds nothing there."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text

from bmid.errors import TransientError
from bmid.store import bounded
from bmid.store.database import Database
from bmid.store.wire import Wire
from lab.postgresql import PostgreSQL


@pytest.fixture
def server(postgresql: PostgreSQL, blank_postgresql: str) -> Iterator[Database]:
    """A database that is in use."""
    name = f"t{secrets.token_hex(6)}"
    made = Database(postgresql.create_database(name, template=blank_postgresql))
    assert made.now()
    yield made
    made.close()
    postgresql.drop_database(name)


def soon(action: Callable[[], Any]) -> Any:
    """What it gives, once a server that was thawed is quick enough again."""
    end = time.monotonic() + 30
    while True:
        try:
            return action()
        except TransientError:
            assert time.monotonic() < end
            time.sleep(0.1)


@pytest.mark.parametrize("own", [None, 2.0], ids=["everybodys", "of-his-own"])
def test_a_frozen_server_keeps_nobody_for_longer_than_the_limit(
    server: Database, postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch, own: float | None
) -> None:
    """Its kernel says that everything arrives. Who can't wait for as long as everybody has a limit of his own."""
    monkeypatch.setattr(bounded, "LIMIT", 60.0 if own else 2.0)
    mine = Database(server.url.render_as_string(hide_password=False), limit=own)
    assert mine.now()
    postgresql.freeze()
    try:
        began = time.monotonic()
        with pytest.raises(TransientError, match="ConnectionTimeout"):
            mine.now()
        assert time.monotonic() - began < 20
    finally:
        postgresql.thaw()
    assert soon(mine.now)
    mine.close()


def test_an_ear_at_a_server_that_freezes_in_the_midst_of_it_is_given_up(
    server: Database, postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody would hear other heads any more, for as long as the kernel keeps the connection."""
    monkeypatch.setattr(bounded, "LIMIT", 0.5)
    wire = Wire(server, "1")
    connect = bounded.Bounded.connect

    def frozen(*arguments: Any, **options: Any) -> Any:
        made = connect(*arguments, **options)
        postgresql.freeze()
        return made

    monkeypatch.setattr(bounded.Bounded, "connect", frozen)
    try:
        with pytest.raises(TransientError, match="ConnectionTimeout"):
            wire.listen(0.1)
    finally:
        postgresql.thaw()
    monkeypatch.setattr(bounded.Bounded, "connect", connect)
    assert soon(lambda: wire.listen(0.1))
    wire.close()


def wait_for_mine(server: Database) -> None:
    """With another row locked, and without limits of the server's own."""
    with server.write() as tx:
        tx.execute(text("SET lock_timeout = 0; SET statement_timeout = 0"))
        tx.execute(text("INSERT INTO counter (name, value) VALUES ('yours', 1)"))
        tx.execute(text("INSERT INTO counter (name, value) VALUES ('mine', 1)"))


def test_a_statement_that_nobody_waits_for_any_more_gives_its_locks_back(
    server: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's own limits are an hour late where its clock has gone back by that."""
    monkeypatch.setattr(bounded, "LIMIT", 2.0)
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = :name"
    with server.write() as tx:
        tx.execute(text("INSERT INTO counter (name, value) VALUES ('mine', 1)"))
        with pytest.raises(TransientError, match="ConnectionTimeout"):
            wait_for_mine(server)
        end = time.monotonic() + 30
        while (left := tx.execute(text(waits), {"name": server.url.database}).scalar_one()) and time.monotonic() < end:
            time.sleep(0.05)
        assert left == 0
        tx.execute(text("INSERT INTO counter (name, value) VALUES ('yours', 1)"))


def test_a_limit_of_the_caller_is_kept(server: Database) -> None:
    """Whoever listens for others waits for as long as it likes, and keeps its connection."""
    url = server.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with bounded.Bounded.connect(url, autocommit=True) as connection:
        assert list(connection.notifies(timeout=0.1)) == []
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_who_stands_still_in_a_transaction_holds_up_others_for_no_longer_than_that(server: Database) -> None:
    """A frozen head's locks are free long before it counts as dead."""
    with server.read() as tx:
        limits = {name: tx.execute(text(f"SHOW {name}")).scalar_one() for name in ("lock_timeout", "statement_timeout")}
        idle = tx.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one()
    assert (idle, limits) == ("20s", {"lock_timeout": "5s", "statement_timeout": "15s"})
