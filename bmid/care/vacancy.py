"""Whether a database is free to be filled with rows from elsewhere: nobody is at work on it, and it holds nothing."""

from __future__ import annotations

from bmid.errors import Misconfigured, Refused
from bmid.store import dump, heads
from bmid.store.database import Tx

__all__ = ["require_empty", "require_rest"]


def require_rest(tx: Tx, dead_after: float) -> None:
    """No bmid is at work on the database. Raises Misconfigured."""
    if alive := heads.others(tx, "", dead_after):
        names = ", ".join(one.name for one in alive)
        todo = f"Stop bmid there; one that was killed counts as alive for {dead_after:g} s."
        raise Misconfigured(f"bmid is at work on this database, on {names}", todo=todo)


def require_empty(tx: Tx, todo: str) -> None:
    """The database holds nothing of the site. Raises Refused."""
    if there := dump.occupied(tx):
        detail = "the database is not empty: " + ", ".join(f"{count} in {name}" for name, count in there.items())
        raise Refused("database-occupied", detail, todo=todo)
