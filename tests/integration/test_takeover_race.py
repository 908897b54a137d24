"""What others do in the midst of a move is not undone by it, nor it by them; on a server, where transactions run side
by side."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bmid.engine.worker import Worker
from bmid.handlers.base import Handler
from bmid.handlers.move_portal import MovePortal
from bmid.messages.base import Command
from bmid.model.operation import Operation, Phase
from bmid.store import portals
from lab.postgresql import PostgreSQL
from tests.support.succession import DEAD_AFTER, Twins

pytestmark = pytest.mark.usefixtures("quiet")
P1 = {"project": "p1"}
MINE = "10.77.0.1"


@pytest.fixture
def twins(tmp_path: Path, postgresql: PostgreSQL, blank_postgresql: str) -> Iterator[Twins]:
    """Two heads with a node each."""
    name = f"t{secrets.token_hex(6)}"
    made = Twins(tmp_path, url=postgresql.create_database(name, template=blank_postgresql))
    made.furnish("n1", "n2")
    yield made
    made.close()
    postgresql.drop_database(name)


def meanwhile(worker: Worker, part: str, kind: str, thread: threading.Thread, patch: pytest.MonkeyPatch) -> None:
    """The thread begins as soon as this part of the handler of that command is done, and has a second."""

    def found(operation: Operation) -> tuple[Handler[Any], Command]:
        handler, command = Worker._handler(worker, operation)
        plain: Callable[..., Any] = getattr(handler, part)

        def slow(*arguments: Any) -> Any:
            made = plain(*arguments)
            if not thread.ident:
                thread.start()
                thread.join(1)
            return made

        return (replace(handler, **{part: slow}) if operation.type == kind else handler), command

    patch.setattr(worker, "_handler", found)


def test_what_is_planned_while_an_address_moves_is_planned_for_the_new_home(
    twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would wait for the dead one, or write its disk's old home over the new one."""
    [mine] = [disk for disk in twins.a.view().disks() if disk.head == "h1"]
    one = twins.a.command("node.unmap", **P1, node=mine.node, force=True)
    twins.pass_by(DEAD_AFTER + 6, "h2")
    moves = threading.Thread(target=twins.takeover(twins.b).run_once)
    worker = twins.b.worker(twins.b.identity)
    meanwhile(worker, "plan", one.type, moves, monkeypatch)
    worker.run_once()
    moves.join(10)
    assert not moves.is_alive()
    twins.b.settle(worker, seconds=60)
    found = twins.a.find(one.id)
    assert (found.home, found.phase) == ("h2", Phase.SUCCEEDED)
    assert [disk.head for disk in twins.a.view().disks()] == ["h2"]


def test_an_address_that_is_bound_elsewhere_while_its_move_ends_stays_bound(
    twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the move says that it is ready, and nothing else."""
    twins.pass_by(DEAD_AFTER + 6, "h2")
    assert twins.takeover(twins.b).run_once() == 1

    def bind() -> None:
        with twins.a.database.write() as tx:
            portals.bind(tx, MINE, "h2", "h1")

    thread, worker = threading.Thread(target=bind), twins.b.worker(twins.b.identity)
    meanwhile(worker, "finish", MovePortal.type, thread, monkeypatch)
    twins.b.settle(worker, seconds=30)
    thread.join(10)
    rows = [one for name, one in twins.portals().items() if name.startswith(MINE)]
    assert {(one.head, one.ready, one.bound_for) for one in rows} == {("h2", True, "h1")}
