"""One SQLite database in memory, as each of the heads sees it: its commits can be fatal, and it can be away."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, StaticPool, create_engine, event, make_url

from bmid.errors import TransientError
from bmid.store.clock import Clock
from bmid.store.database import ENGINE, Database, Tx
from tests.support.twin import START
from tests.support.world.stage import Stage

__all__ = ["HeadDatabase", "WorldClock", "blank_bytes", "memory"]


class WorldClock(Clock):
    """The stage's time, and how far the database's clock is off."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.off = 0.0

    def now(self, connection: Connection) -> datetime:
        """The same for all."""
        return START + timedelta(seconds=self._stage.now + self.off)


def memory(blank: bytes) -> Engine:
    """One connection, filled with an empty database of this program."""
    options = {name: value for name, value in ENGINE.items() if name != "pool_use_lifo"}
    engine = create_engine("sqlite://", poolclass=StaticPool, **options)

    @event.listens_for(engine, "connect")
    def _prepare(raw: Any, _record: Any) -> None:
        raw.isolation_level = None
        raw.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    with engine.connect() as connection:
        connection.connection.driver_connection.deserialize(blank)  # type: ignore[union-attr]
    return engine


class HeadDatabase(Database):
    """`moment` is called before and after each commit. `away` says that it doesn't answer."""

    def __init__(self, engine: Engine, clock: Clock, stage: Stage, moment: Callable[[str], None]) -> None:
        self.url = make_url("sqlite://")
        self.sqlite = True
        self.engine = engine
        self.clock = clock
        self.away = lambda: False
        self._readers = engine.execution_options(reads=True)
        self._write_lock = threading.Lock()
        self._stage = stage
        self._moment = moment

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """As ever."""
        with self._inside(), super().write() as tx:
            yield tx
            self._moment("before commit")
        self._moment("after commit")

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """As ever."""
        with self._inside(), super().read() as tx:
            yield tx

    @contextmanager
    def _inside(self) -> Iterator[None]:
        if self.away():
            raise TransientError("database-away", "the database does not answer")
        self._stage.inside += 1
        try:
            yield
        finally:
            self._stage.inside -= 1


def blank_bytes(path: Path) -> bytes:
    """An empty database of this program, as bytes."""
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA journal_mode=DELETE")
        return raw.serialize()
