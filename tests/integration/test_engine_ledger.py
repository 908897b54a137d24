"""What must be true among the rows of operations, events and claims, on both databases: found when it isn't."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert

from bmid.store import outbox, schema
from lab.postgresql import PostgreSQL
from tests.support.bench import Bench
from tests.support.recipe_site import look

pytestmark = pytest.mark.usefixtures("quiet")
DAY = 86400.0


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """A site on each database, with a success and a failure behind it."""
    if request.param == "postgresql":
        server: PostgreSQL = request.getfixturevalue("postgresql")
        copied = request.getfixturevalue("blank_postgresql")
        site = Bench(tmp_path, url=server.create_database(f"ledger_{secrets.token_hex(3)}", copied)).open()
    else:
        site = Bench(tmp_path, blank=blank).open()
    site.do("project.create", project="p1")
    site.do("image.import", project="p1", image="none", source={"file": "none"})
    yield site
    site.close()


def _events(bench: Bench) -> list[Any]:
    with bench.database.write() as tx:
        outbox.assign(tx, 1000)
        outbox.mark(tx, outbox.unpublished(tx, 1000), unrouted=False)
        table = schema.outbox
        return list(tx.execute(table.select().order_by(table.c.id)))


def test_the_rows_of_a_site_at_peace_have_no_faults(ledger: Bench) -> None:
    _events(ledger)
    assert look(ledger)["findings"] == {}
    ledger.clock.advance(30 * DAY)
    assert look(ledger)["findings"] == {}


def test_a_lost_failure_is_told_again_and_a_lost_success_stays_known(ledger: Bench) -> None:
    """The gaps that they leave in the counts of events stay as well: what was said there nobody knows. A subject whose
    only event is lost has no neighbours that would tell."""
    ends = [one for one in _events(ledger) if "accepted" not in one.type]
    failure = next(one for one in ends if one.type == "bmi.operation.failed.v1")
    success = next(one for one in ends if one.type == "bmi.project.create.v1" or "project.created" in one.type)
    with ledger.database.write() as tx:
        tx.execute(delete(schema.outbox).where(schema.outbox.c.id.in_([failure.id, success.id])))
    told = look(ledger)
    assert told["findings"] == {"end-missing": 2, "sequence-gap": 1, "position-gap": 2}
    assert told["mended"] == 1
    again = ledger.final(failure.operation)["data"]
    assert again == failure.envelope["data"]
    assert look(ledger)["findings"] == {"end-missing": 1, "sequence-gap": 1, "position-gap": 2}


def test_an_end_that_was_told_twice_is_found(ledger: Bench) -> None:
    one = next(one for one in _events(ledger) if one.type == "bmi.operation.failed.v1")
    row = {**one._mapping, "id": 9999, "event": "another", "position": None}
    with ledger.database.write() as tx:
        tx.execute(insert(schema.outbox).values(row))
    assert look(ledger)["findings"] == {"end-doubled": 1}


def test_what_ended_operations_hold_is_given_back(ledger: Bench) -> None:
    one = ledger.command("project.create", project="p1")
    ledger.settle()
    with ledger.database.write() as tx:
        key = {"operation": one.id, "key": "node:n7", "exclusive": True, "seq": one.seq, "started": True}
        tx.execute(insert(schema.operation_key).values(key))
        held = {"key": "node:n7", "epoch": 7, "holder": "h1/i1", "operation": one.id, "expires_at": tx.now}
        tx.execute(insert(schema.claim).values(held))
    told = look(ledger)
    assert (told["findings"], told["mended"]) == ({"claim-left": 1, "key-left": 1}, 2)
    assert ledger.unexplained() == []
    with ledger.database.read() as tx:
        epochs = {row.key: row.epoch for row in tx.execute(schema.claim.select())}
    assert epochs["node:n7"] == 7, "epochs never go back"
