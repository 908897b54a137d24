"""A connection to PostgreSQL that waits for no answer for ever: of a server that is frozen the kernel goes on to say
that everything arrives, and the server's own time limits are frozen with it, or an hour late where its clock went back.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import psycopg
from psycopg import capabilities, errors

__all__ = ["LIMIT", "KEEPALIVE", "Bounded", "within"]

LIMIT = 20.0  # seconds for an answer; the server gives a statement up after 15
CANCEL = 2.0  # seconds for having the server give it up
# Where packets go nowhere, and nobody says so.
KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20000}


class Bounded(psycopg.Connection[Any]):
    """As psycopg's, but that an answer which doesn't come is an OperationalError, and the end of the connection.
    `limit`: seconds; None: as everybody."""

    limit: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """What psycopg calls for each exchange with the server. Who names a limit, as for notifications, has it."""
        if timeout is not None:
            return super().wait(gen, interval, timeout)
        limit = self.limit or LIMIT
        try:
            return super().wait(gen, interval, limit)
        except errors._WaitTimeout:
            self._give_up()
            raise errors.ConnectionTimeout(f"no answer within {limit:g} s") from None

    def _give_up(self) -> None:
        """A server that waits for a lock doesn't look whether anybody still listens, and keeps what it has locked."""
        if capabilities.has_cancel_safe():
            with suppress(psycopg.Error):
                self.cancel_safe(timeout=CANCEL)
        self.pgconn.finish()


def within(limit: float | None) -> type[Bounded]:
    """Connections of somebody who can't wait for as long as everybody."""
    return type("Hasty", (Bounded,), {"limit": limit}) if limit else Bounded
