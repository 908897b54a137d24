"""The one clock: time that heads compare is the database's."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol

from sqlalchemy import Connection, func, select

__all__ = ["Clock", "PostgresqlClock", "SqliteClock"]


class Clock(Protocol):
    """Where the time of a transaction comes from."""

    def now(self, connection: Connection) -> datetime:
        """Aware, in UTC."""
        ...


class SqliteClock:
    """SQLite has no server: its clock is this machine's, and it serves one head."""

    def now(self, connection: Connection) -> datetime:
        """The machine's time."""
        return datetime.now(UTC)  # noqa: TID251 - this is the port


class PostgresqlClock:
    """The server's time, the same for all heads."""

    def now(self, connection: Connection) -> datetime:
        """The time of this statement, not of the transaction's start."""
        moment: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        return moment.astimezone(UTC)
