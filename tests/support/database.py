"""Empty databases with the schema in them, of both kinds, made by copying. What is in them is the tests' business."""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import event

from bmid.store.database import Database
from bmid.store.migration import migrate
from lab.postgresql import PostgreSQL

__all__ = ["quick"]


def quick(database: Database) -> Database:
    """Without waiting for the disk: no test cuts the power of this machine."""
    if database.sqlite:

        @event.listens_for(database.engine, "connect")
        def _careless(raw: Any, _record: Any) -> None:
            raw.execute("PRAGMA synchronous=OFF")

    return database


@pytest.fixture
def quiet() -> Iterator[None]:
    """Without the log, whose tracebacks take longer than what is tested."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database with this program's schema, to be copied: that takes no time."""
    path = tmp_path_factory.mktemp("blank") / "bmid.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@pytest.fixture(scope="session")
def blank_postgresql(postgresql: PostgreSQL) -> str:
    """The name of the same in PostgreSQL, which copies it as well."""
    database = Database(postgresql.create_database("blank"))
    migrate(database)
    database.close()
    return "blank"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh database with the schema in it, of each kind."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("blank"), tmp_path / "bmid.db")
        yield f"sqlite:///{tmp_path}/bmid.db"
        return
    server: PostgreSQL = request.getfixturevalue("postgresql")
    name = f"t{secrets.token_hex(6)}"
    yield server.create_database(name, template=request.getfixturevalue("blank_postgresql"))
    server.drop_database(name)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """The same, opened, on the database's own clock."""
    made = quick(Database(url))
    yield made
    made.close()
