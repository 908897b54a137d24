"""Bells across heads: PostgreSQL's NOTIFY says that rows were written. Carries no content and promises nothing: what
is missed is found by the next look, a second later. SQLite serves one head and has no wire."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import text

from bmid.errors import TransientError
from bmid.store.database import Database

__all__ = ["Wire"]

TELL = text("SELECT pg_notify('bmid', :instance)")


class Wire:
    """One instance's end of it. `tell` and `listen` may be called by different threads."""

    def __init__(self, database: Database, instance: str) -> None:
        self._database = database
        self._instance = instance
        self._ear: Any = None

    def tell(self) -> None:
        """Ring on all other heads."""
        with self._database.connection() as connection:
            connection.execute(TELL, {"instance": self._instance})
            connection.commit()

    def listen(self, timeout: float) -> bool:
        """Wait until another head rings, or for so many seconds; whether one did. TransientError when the database
        is away; the next call begins anew."""
        with self._translated():
            if self._ear is None:
                self._ear = self._connect()
                return True  # what was told before
            return any(note.payload != self._instance for note in self._ear.notifies(timeout=timeout, stop_after=1))

    def close(self) -> None:
        """Hang up."""
        ear, self._ear = self._ear, None
        if ear is not None:
            with suppress(Exception):
                ear.close()

    def _connect(self) -> Any:
        from bmid.store.bounded import KEEPALIVE, Bounded  # noqa: PLC0415 - psycopg takes 0.1 s to load

        engine = self._database.engine
        # A connection of its own, which no transaction ever gets.
        arguments, options = engine.dialect.create_connect_args(engine.url)
        options = {**options, **KEEPALIVE, "autocommit": True, "connect_timeout": 5}
        ear = Bounded.connect(*arguments, **options)
        try:
            ear.execute("LISTEN bmid")
        except BaseException:
            ear.close()
            raise
        return ear

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self._database.engine.dialect.loaded_dbapi.Error as error:
            self.close()
            detail = f"the database does not answer ({type(error).__name__})"
            raise TransientError("database-away", detail, todo="Look at the database server and its disk.") from error
