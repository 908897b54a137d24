"""Brings the schema up to date: the only home of alembic, which a running daemon doesn't need in memory."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config

from bmid.store.database import Database

__all__ = ["migrate"]


def migrate(database: Database) -> None:
    """Up to this program's revision."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with database.connection() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
