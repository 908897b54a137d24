"""Brings the schema up to date: the only home of alembic, which a running daemon doesn't need in memory."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from alembic import command, op
from alembic.config import Config
from sqlalchemy import inspect
from sqlalchemy.schema import CreateIndex

from bmid.store.database import Database
from bmid.store.schema import METADATA

__all__ = ["add_columns", "add_indexes", "migrate"]


def migrate(database: Database) -> None:
    """Up to this program's revision."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with database.connection() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()


def add_columns(table: str, names: Collection[str]) -> None:
    """For a revision: the columns of a table that it doesn't have yet, each with its index."""
    known = METADATA.tables[table]
    present = {column["name"] for column in inspect(op.get_bind()).get_columns(table)}
    for name in names:
        if name not in present:
            op.add_column(table, known.columns[name].copy())


def add_indexes(names: Collection[str]) -> None:
    """For a revision: the named indexes, where they aren't there yet."""
    for index in (index for table in METADATA.tables.values() for index in table.indexes):
        if index.name in names:
            # The reflection that checks for an index doesn't see those on expressions.
            op.execute(CreateIndex(index, if_not_exists=True))
