"""The schema, and values that come back as they went in. On SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from bmid.errors import Misconfigured, Problem
from bmid.messages.operation import OperationFailed
from bmid.model.operation import Operation, Phase
from bmid.store import operations, outbox
from bmid.store.database import Database
from bmid.store.migration import migrate
from bmid.store.outbox import Cause
from bmid.store.schema import METADATA, REVISION


def test_times_come_back_as_they_went_in(database: Database) -> None:
    """Aware, in UTC, to the microsecond."""
    moment = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
    new = Operation(
        id="o1", seq=0, type="t", command={"a": [1, "ü", None]}, user="u", source="s", message="m", correlation="c",
        phase=Phase.PENDING, accepted_at=moment, due_at=moment,
    )  # fmt: skip
    with database.write() as tx:
        written = operations.accept(tx, new, [])
    with database.read() as tx:
        found = operations.find(tx, "o1")
    assert found == written
    assert found is not None
    assert found.accepted_at.utcoffset() == timedelta(0)


def test_the_time_is_the_databases_and_moves(database: Database) -> None:
    """Aware, and later at the second look."""
    first = database.now()
    assert first.utcoffset() == timedelta(0)
    assert database.now() > first


def test_a_problem_survives_the_database(database: Database) -> None:
    """As JSON in an event."""
    problem = Problem.of("x-y", "détail", todo="do", names=["a"])
    with database.write() as tx:
        outbox.emit(tx, OperationFailed(operation="o", command="c", problem=problem), Cause("/s"))
        outbox.assign(tx, 1)
        (found,) = outbox.unpublished(tx, 1)
    assert Problem.model_validate(found.envelope["data"]["problem"]) == problem


def test_a_fresh_database_is_refused_until_it_is_migrated(tmp_path: Path) -> None:
    """No schema, then this program's; migrating again changes nothing."""
    database = Database(f"sqlite:///{tmp_path}/new/bmid.db")
    with pytest.raises(Misconfigured, match="no schema"):
        database.verify()
    migrate(database)
    migrate(database)
    database.verify()
    assert database.revision() == REVISION


def test_a_schema_of_another_program_is_refused(database: Database) -> None:
    """By its number."""
    database.verify()
    with database.write() as tx:
        tx.connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Misconfigured, match="9999"):
        database.verify()


def test_the_migrations_make_what_the_program_expects(database: Database) -> None:
    """Every table and column of the schema is there, and can be read."""
    with database.read() as tx:
        for one in METADATA.sorted_tables:
            assert list(tx.execute(select(one).limit(1))) == [], one.name
