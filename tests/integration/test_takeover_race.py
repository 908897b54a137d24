"""What others do in the midst of a move is not undone by it, nor it by them; on a server, where transactions run side
by side."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bmid.engine.worker import Worker
from bmid.handlers.base import Handler
from bmid.handlers.move_portal import MovePortal
from bmid.messages.base import Command
from bmid.model.operation import Operation, Phase
from bmid.store import portals
from tests.support.succession import DEAD_AFTER, Twins

pytestmark = pytest.mark.usefixtures("quiet")
P1 = {"project": "p1"}
MINE = "10.77.0.1"


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
    server_twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would wait for the dead one, or write its disk's old home over the new one."""
    [mine] = [disk for disk in server_twins.a.view().disks() if disk.head == "h1"]
    one = server_twins.a.command("node.unmap", **P1, node=mine.node, force=True)
    server_twins.pass_by(DEAD_AFTER + 6, "h2")
    moves = threading.Thread(target=server_twins.takeover(server_twins.b).run_once)
    worker = server_twins.b.worker(server_twins.b.identity)
    meanwhile(worker, "plan", one.type, moves, monkeypatch)
    worker.run_once()
    moves.join(10)
    assert not moves.is_alive()
    server_twins.b.settle(worker, seconds=60)
    found = server_twins.a.find(one.id)
    assert (found.home, found.phase) == ("h2", Phase.SUCCEEDED)
    assert [disk.head for disk in server_twins.a.view().disks()] == ["h2"]


def test_an_address_that_is_bound_elsewhere_while_its_move_ends_stays_bound(
    server_twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the move says that it is ready, and nothing else."""
    server_twins.pass_by(DEAD_AFTER + 6, "h2")
    assert server_twins.takeover(server_twins.b).run_once() == 1

    def bind() -> None:
        with server_twins.a.database.write() as tx:
            portals.bind(tx, MINE, "h2", "h1")

    thread, worker = threading.Thread(target=bind), server_twins.b.worker(server_twins.b.identity)
    meanwhile(worker, "finish", MovePortal.type, thread, monkeypatch)
    server_twins.b.settle(worker, seconds=30)
    thread.join(10)
    rows = [one for name, one in server_twins.portals().items() if name.startswith(MINE)]
    assert {(one.head, one.ready, one.bound_for) for one in rows} == {("h2", True, "h1")}
