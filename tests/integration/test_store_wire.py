"""Heads ring on each other through PostgreSQL, and find the wire again when the database was away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmid.errors import TransientError
from bmid.store.database import Database
from bmid.store.wire import Wire
from lab.postgresql import PostgreSQL


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgreSQL]:
    service = PostgreSQL(tmp_path / "postgresql")
    try:
        service.start()
        yield service
    finally:
        service.stop()


def test_a_ring_is_heard_by_the_others_at_once_and_not_by_oneself(server: PostgreSQL) -> None:
    database = Database(server.url)
    here, there = Wire(database, "a1"), Wire(database, "b1")
    for wire in (here, there):
        assert wire.listen(0.1)  # the first time: what was told before it listened
    threading.Timer(0.3, here.tell).start()
    began = time.monotonic()
    assert there.listen(5)
    assert time.monotonic() - began < 2
    assert not here.listen(0.3)

    server.restart()
    with pytest.raises(TransientError):
        there.listen(1)
    assert there.listen(1)  # anew, and with a look at what was missed
    for wire in (here, there):
        wire.close()
    database.close()
