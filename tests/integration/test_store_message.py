"""Inbox, outbox and uploads: what is kept of messages. On SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from bmid.errors import Problem
from bmid.messages.operation import CommandRejected, OperationAccepted
from bmid.model.operation import Operation, Phase
from bmid.store import inbox, operations, outbox, uploads
from bmid.store.database import Conflict, Database
from bmid.store.outbox import Cause
from bmid.store.schema import outbox as table

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def accepted(database: Database, operation: str) -> str:
    with database.write() as tx:
        event = OperationAccepted(operation=operation, command="c", project="p1")
        return outbox.emit(tx, event, Cause("/bmid/h", operation))


def rows(database: Database) -> list[tuple[str, int | None, str]]:
    with database.read() as tx:
        found = tx.execute(select(table).order_by(table.c.id))
        return [(row.event, row.position, row.envelope["sequence"]) for row in found]


def publish(database: Database, limit: int = 100) -> list[tuple[str, int]]:
    """As the relay does: positions, then out, then marked."""
    with database.write() as tx:
        outbox.assign(tx, limit)
        found = outbox.unpublished(tx, limit)
        outbox.mark(tx, found, unrouted=False)
    return [(one.event, one.position) for one in found]


def test_the_first_copy_is_new_and_the_second_is_known(database: Database) -> None:
    """With what the first one led to, and its digest, which tells other content from the same."""
    with database.write() as tx:
        assert inbox.insert(tx, "u", "s", "m", "d1") is None
        inbox.answered(tx, "u", "s", "m", operation="o1", event=None)
    with database.write() as tx:
        known = inbox.insert(tx, "u", "s", "m", "d2")
    assert known == inbox.Known("d1", "o1", None)


def test_the_key_is_user_source_and_id(database: Database) -> None:
    """Another user's message of the same id is another message."""
    with database.write() as tx:
        keys = (("u", "s", "m"), ("v", "s", "m"), ("u", "t", "m"), ("u", "s", "n"))
        assert [inbox.insert(tx, *key, "d") for key in keys] == [None] * 4


def test_of_many_copies_at_once_one_is_the_first(database: Database) -> None:
    """Whatever the threads do."""
    answers: list[object] = []

    def send() -> None:
        with database.write() as tx:
            answers.append(inbox.insert(tx, "u", "s", "m", "d"))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(None) == 1
    assert len(answers) == 8


def test_sequences_count_per_subject_without_holes(database: Database) -> None:
    """Also where transactions are rolled back in between."""
    accepted(database, "a")
    with suppress(RuntimeError), database.write() as tx:
        outbox.emit(tx, OperationAccepted(operation="a", command="c"), Cause("/s"))
        raise RuntimeError
    for name in ("a", "b", "a"):
        accepted(database, name)
    sequences = [int(sequence) for _, _, sequence in rows(database)]
    assert sequences == [1, 2, 1, 3]
    assert all(len(sequence) == outbox.SEQUENCE_DIGITS for _, _, sequence in rows(database))


def test_positions_have_no_holes_and_no_late_comers(database: Database) -> None:
    """While eight threads write events, what goes out counts 1, 2, 3..."""
    out: list[tuple[str, int]] = []
    stop = threading.Event()

    def write(name: str) -> None:
        for _ in range(10):
            accepted(database, name)

    def relay() -> None:
        while not stop.is_set():
            out.extend(publish(database, 7))
            stop.wait(0.001)

    threads = [threading.Thread(target=write, args=(f"o{number % 3}",)) for number in range(8)]
    publisher = threading.Thread(target=relay)
    for thread in (publisher, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    publisher.join()
    while more := publish(database, 7):
        out.extend(more)
    assert [position for _, position in out] == list(range(1, 81))
    assert len({event for event, _ in out}) == 80
    with database.read() as tx:
        in_order = [(row.envelope["subject"], int(row.envelope["sequence"])) for row in
                    tx.execute(select(table).order_by(table.c.position))]  # fmt: skip
    for subject in {subject for subject, _ in in_order}:
        numbers = [number for one, number in in_order if one == subject]
        assert numbers == list(range(1, len(numbers) + 1)), f"{subject} went out in another order than it happened"


def test_published_again_means_the_same_id_and_position(database: Database) -> None:
    """For the named events, or for those types of an operation."""
    first, second = accepted(database, "a"), accepted(database, "b")
    sent = publish(database)
    assert publish(database) == []
    with database.write() as tx:
        outbox.again(tx, events=[second])
    assert publish(database) == [sent[1]]
    with database.write() as tx:
        outbox.again(tx, operation="a", types=[OperationAccepted.type])
        outbox.again(tx, operation="b", types=["another"])
    assert publish(database) == [sent[0]]
    assert sent[0][0] == first


def test_the_longest_names_fit(database: Database) -> None:
    """A rejection of a message whose id has 255 characters can be written down."""
    event = CommandRejected(
        message="m" * 255, source="s" * 255, command="c" * 255, reasons=("r",), problem=Problem.of("x", "y")
    )
    with database.write() as tx:
        assert inbox.insert(tx, "u" * 255, "s" * 255, "m" * 255, "d") is None
        outbox.emit(tx, event, Cause("/s", None, "c" * 255, "m" * 255, "t" * 255))
    assert len(publish(database)) == 1


def test_what_is_forgotten_is_old_and_published(database: Database) -> None:
    """An event that has not gone out stays, whatever its age."""
    accepted(database, "a")
    publish(database)
    accepted(database, "b")
    with database.write() as tx:
        assert outbox.forget(tx, tx.now - timedelta(hours=1)) == 0
        assert outbox.forget(tx, tx.now + timedelta(hours=1)) == 1
        inbox.insert(tx, "u", "s", "m", "d")
        assert inbox.forget(tx, tx.now - timedelta(hours=1)) == 0
        assert inbox.forget(tx, tx.now + timedelta(hours=1)) == 1
    assert [row[0] for row in rows(database)] == [event for event, _ in publish(database)]


def test_an_upload_is_awaited_until_it_is_there_or_its_operation_has_ended(database: Database) -> None:
    """And its operation is looked at as soon as the bytes are there."""
    new = Operation(
        id="o1", seq=0, type="t", command={}, user="u", source="s", message="m", correlation="c",
        phase=Phase.PENDING, accepted_at=NOW, due_at=datetime(2100, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    with database.write() as tx:
        operations.accept(tx, new, [])
        uploads.open_slot(tx, "o1", "0" * 64, 1 << 40)
        assert uploads.find(tx, "o1") == uploads.Upload("o1", None, "0" * 64, 1 << 40, None)
        assert uploads.find(tx, "o2") is None
    with database.write() as tx:
        uploads.complete(tx, "o1", 5)
    with database.write() as tx:
        found = uploads.find(tx, "o1")
        assert found is not None
        assert found.complete
        taken = operations.take(tx, "h1", "h1/a", 30)
        assert taken is not None
        operations.end(tx, "o1", Phase.FAILED, None)
        assert uploads.find(tx, "o1") is None


def test_a_relay_that_wakes_in_the_middle_of_its_turn_takes_no_event_its_position_again(database: Database) -> None:
    """Another head has given it meanwhile; its transaction, and with it the number that would be a hole, is undone."""
    with database.write() as tx:
        outbox.emit(tx, OperationAccepted(operation="o", command="c"), Cause("/s"))
    with database.read() as tx:
        looked_for = [row.id for row in tx.execute(outbox.UNNUMBERED, {"most": 10})]
    with database.write() as tx:
        outbox.assign(tx, 10)
    with database.write() as tx:
        (given,) = (one.position for one in outbox.unpublished(tx, 10))
        with pytest.raises(Conflict):
            outbox._place(tx, looked_for, given + 1)
    with database.read() as tx:
        assert [one.position for one in outbox.unpublished(tx, 10)] == [given]
