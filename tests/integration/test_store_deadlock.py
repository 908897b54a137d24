"""Rows are locked in one order by all: PostgreSQL ends one of two that wait for each other, a second later, and what it
did is undone and done again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from sqlalchemy import text

from bmid.store import claims, operations
from bmid.store.database import Database
from tests.support.succession import DEAD_AFTER, Twins

pytestmark = pytest.mark.usefixtures("quiet")
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


def begin(database: Database, work: Callable[[], object]) -> tuple[threading.Thread, list[Exception]]:
    """Begin something that has to wait for a lock, and go on when it does."""
    failed: list[Exception] = []

    def run() -> None:
        try:
            work()
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while thread.is_alive():
        with database.read() as tx:
            if tx.execute(text(WAITING)).scalar_one():
                return thread, failed
        assert time.monotonic() < deadline, "neither done nor waiting"
        time.sleep(0.02)
    raise AssertionError(f"it waited for nobody: {failed}")


def test_what_came_to_no_plan_is_put_off_while_another_worker_takes_it(server_twins: Twins) -> None:
    """Both want the operation and its claim."""
    bench = server_twins.a
    one, worker = bench.command("project.create", project="p9"), bench.worker()
    with bench.database.write() as tx:
        assert operations.find(tx, one.id, lock=True)
        thread, failed = begin(bench.database, lambda: worker._unplanned(one.id, RuntimeError("no plan")))
        assert claims.take(tx, [f"operation:{one.id}"], "h2/x", 60, one.id)
        operations.change(tx, one.id, why="in hand")
    thread.join(30)
    assert failed == []
    assert bench.find(one.id).why == "in hand"


def test_an_address_moves_while_an_operation_on_one_of_its_disks_ends(server_twins: Twins) -> None:
    """Both want the claims and the disk."""
    bench = server_twins.a
    [mine] = [disk for disk in bench.view().disks() if disk.head == "h1"]
    bench.command("node.unmap", project="p1", node=mine.node, force=True)
    with bench.database.write() as tx:
        taken = operations.take(tx, "h1", "h1/x", 600)
        assert taken
        operations.start(tx, taken[0].id, {}, "h1")
    server_twins.pass_by(DEAD_AFTER + 6, "h2")
    with bench.database.write() as tx:
        claims.verify(tx, taken[1], "h1/x", taken[0].id, keep=True)
        thread, failed = begin(bench.database, server_twins.takeover(server_twins.b).run_once)
        operations.note_owner(tx, mine.id, None)
    thread.join(30)
    assert failed == []
    assert {disk.head for disk in bench.view().disks()} == {"h2"}
