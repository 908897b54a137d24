"""The database that the settings name. Nothing else is made here: this is all that a quick look at it needs to load."""

from __future__ import annotations

from pathlib import Path

from bmid.errors import Misconfigured
from bmid.settings import Settings
from bmid.store.database import Database

__all__ = ["make_database", "read_secret"]


def make_database(settings: Settings, limit: float | None = None) -> Database:
    """The database that the settings name. `limit`: as it says."""
    password = settings.database.password_file
    return Database(settings.database.url, password=read_secret(password) if password else None, limit=limit)


def read_secret(path: Path) -> str:
    """What a file holds, without the white space around it. Misconfigured where it can't be read."""
    try:
        return path.read_text().strip()
    except OSError as error:
        detail = f"{path}: {error.strerror}"
        raise Misconfigured(detail, todo="Put the secret there, readable for bmid alone.") from error
