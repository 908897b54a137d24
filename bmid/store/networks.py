"""Boot networks as rows. There is one, from the settings."""

from __future__ import annotations

from bmid.model.entity import Network
from bmid.store.database import Tx
from bmid.store.rows import columns, upsert
from bmid.store.schema import network

__all__ = ["keep"]


def keep(tx: Tx, one: Network) -> None:
    """Make the row say what the settings say."""
    row = columns(one)
    statement = upsert(tx, network).values(row)
    tx.execute(statement.on_conflict_do_update(index_elements=["name"], set_=row))
