"""Connections and transactions, on SQLite and PostgreSQL. No table is named here but the migrations' own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json
from sqlalchemy import Connection, Engine, create_engine, event, exc, inspect, make_url, text

from bmid.errors import Misconfigured, Rejected, TransientError
from bmid.store.clock import Clock, PostgresqlClock, SqliteClock
from bmid.store.schema import REVISION

__all__ = ["Conflict", "Database", "Tx"]

PREVIOUS = None  # the revision before REVISION on which this program still runs; there is none yet
# Who stands still in the midst of a transaction holds up other heads for as long as the last one says.
POSTGRESQL_OPTIONS = "-c statement_timeout=15000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=20000"


def _json(value: Any) -> str:
    return to_json(value).decode()


# The connection that was used last knows the statements; JSON that is read and written four times as quickly.
ENGINE: Mapping[str, Any] = {"pool_use_lifo": True, "json_serializer": _json, "json_deserializer": from_json}


class Conflict(TransientError):
    """Two transactions wanted the same thing; the later one looks again at once."""

    def __init__(self) -> None:
        super().__init__("conflict", "two transactions wanted the same row", todo="Try again.", delay=0.0)


class Tx:
    """One transaction: its connection and its time, which is asked for when it is first needed, and stays."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        self.connection = connection
        self._clock = clock

    @cached_property
    def now(self) -> datetime:
        """Aware, in UTC."""
        return self._clock.now(self.connection)

    def execute(self, *arguments: Any, **options: Any) -> Any:
        """As Connection.execute."""
        return self.connection.execute(*arguments, **options)


class Database:
    """One database. Writers of SQLite stand in line here, which is quicker and fairer than its own busy waiting.
    `limit`: seconds that a server has for an answer, where they are to be fewer than always."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock | None = None,
        pool: int = 40,
        password: str | None = None,
        limit: float | None = None,
    ) -> None:
        self.url = make_url(url)
        if password is not None:
            self.url = self.url.set(password=password)
        self.sqlite = self.url.get_backend_name() == "sqlite"
        self._write_lock = threading.Lock()
        self.engine = self._sqlite_engine() if self.sqlite else self._postgresql_engine(pool, limit)
        # PostgreSQL's reads are as of each statement anyway; without BEGIN and ROLLBACK they are two round trips fewer.
        autocommit = {} if self.sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._readers = self.engine.execution_options(reads=True, **autocommit)
        self.clock = clock or (SqliteClock() if self.sqlite else PostgresqlClock())

    def _postgresql_engine(self, pool: int, limit: float | None) -> Engine:
        from bmid.store.bounded import KEEPALIVE, within  # noqa: PLC0415 - psycopg takes 0.1 s to load

        kind = within(limit)
        engine = create_engine(
            self.url,
            pool_size=pool,
            max_overflow=10,
            pool_pre_ping=False,
            pool_timeout=10,
            **ENGINE,
            connect_args={"connect_timeout": 5, "options": POSTGRESQL_OPTIONS, **KEEPALIVE},
        )

        @event.listens_for(engine, "do_connect")
        def _connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
            return kind.connect(*arguments, **options)

        return engine

    def _sqlite_engine(self) -> Engine:
        if self.url.database and self.url.database != ":memory:":
            Path(self.url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(self.url, pool_size=40, max_overflow=10, connect_args={"timeout": 10}, **ENGINE)

        @event.listens_for(engine, "connect")
        def _prepare(raw: Any, _record: Any) -> None:
            raw.isolation_level = None
            for pragma in (
                "journal_mode=WAL",
                "synchronous=FULL",
                "foreign_keys=ON",
                "busy_timeout=10000",
                "cache_size=-256",
            ):
                raw.execute(f"PRAGMA {pragma}")

        @event.listens_for(engine, "begin")
        def _begin(connection: Connection) -> None:
            reads = connection.get_execution_options().get("reads")
            connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

        return engine

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """A transaction that may write; committed at the end, rolled back by any exception."""
        with self._line(), self._translated(), self.engine.begin() as connection:
            yield Tx(connection, self.clock)

    def _line(self) -> AbstractContextManager[object]:
        return self._write_lock if self.sqlite else nullcontext()

    @contextmanager
    def read(self) -> Iterator[Tx]:
        """A transaction that only reads, all of it as of one moment on SQLite."""
        with self._translated(), self._readers.connect() as connection:
            yield Tx(connection, self.clock)

    @contextmanager
    def snapshot(self) -> Iterator[Tx]:
        """A transaction that only reads, all of it as of one moment on both databases, and that hinders nobody."""
        level = {"reads": True} if self.sqlite else {"isolation_level": "REPEATABLE READ"}
        with self._translated(), self.engine.execution_options(**level).connect() as connection:
            yield Tx(connection, self.clock)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except exc.IntegrityError as error:
            raise Conflict from error
        except exc.DataError as error:
            detail = "the database can't hold a value of this message"
            raise Rejected("data-unstorable", detail, todo="Look for overlong texts and odd characters.") from error
        except (exc.DBAPIError, exc.TimeoutError) as error:
            if isinstance(error, exc.ProgrammingError):
                raise
            reason = getattr(error, "orig", None) or error
            origin = getattr(reason, "sqlite_errorname", None) or type(reason).__name__
            detail = f"the database does not answer ({origin})"
            raise TransientError("database-away", detail, todo="Look at the database server and its disk.") from error

    def now(self) -> datetime:
        """The database's time."""
        with self.read() as tx:
            return tx.now

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """A bare connection, for migrations."""
        with self._translated(), self.engine.connect() as connection:
            yield connection

    def revision(self) -> str | None:
        """The schema's revision; None where there is no schema yet."""
        with self._translated(), self._readers.connect() as connection:
            if not inspect(connection).has_table("alembic_version"):
                return None
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()

    def verify(self) -> None:
        """Misconfigured, unless the schema is this program's, or the one before."""
        found = self.revision()
        if found in (REVISION, PREVIOUS) and found is not None:
            return
        what = f"has schema {found}" if found else "has no schema yet"
        raise Misconfigured(f"the database {what}; this bmid needs {REVISION}", todo="Run `bmid migrate`.")

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()
