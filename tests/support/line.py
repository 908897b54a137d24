"""A line of operations as the store sees it: accepted, taken, ended, with no engine around."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from bmid.model.claim import Key
from bmid.model.operation import Operation, Phase
from bmid.store import claims, operations
from bmid.store.database import Database

__all__ = ["LEASE", "accept", "all_now", "end", "exclusive", "shared", "take"]

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
LEASE = 30.0


def shared(*names: str) -> list[Key]:
    """Wishes that bear each other."""
    return [Key(name, exclusive=False) for name in names]


def exclusive(*names: str) -> list[Key]:
    """Wishes that bear nobody."""
    return [Key(name, exclusive=True) for name in names]


def accept(database: Database, name: str, keys: Sequence[Key], *, urgent: bool = False, **values: object) -> Operation:
    """An operation of that name, due since long ago."""
    new = Operation(
        id=name, seq=0, type="t", command={"n": name}, user="u", source="s", message=name, correlation=name,
        phase=Phase.PENDING, accepted_at=LONG_AGO, due_at=LONG_AGO,
    )  # fmt: skip
    with database.write() as tx:
        return operations.accept(tx, replace(new, **values), list(keys), urgent=urgent)


def take(database: Database, holder: str = "h1/a", head: str = "h1") -> str | None:
    """The id of what was taken."""
    with database.write() as tx:
        taken = operations.take(tx, head, holder, LEASE)
        return taken[0].id if taken else None


def end(database: Database, name: str, holder: str = "h1/a") -> None:
    """It has ended well."""
    with database.write() as tx:
        operations.end(tx, name, Phase.SUCCEEDED, None)
        claims.release(tx, name, holder, ended=True)


def all_now(database: Database) -> list[str]:
    """Everything that may run now, taken one after the other."""
    found = []
    while (name := take(database)) is not None:
        found.append(name)
    return found
