"""`bmid operations`: the operator's way to look at what is stuck, and out of it. Each step on it is an event."""

from __future__ import annotations

from typing import Any

from bmid.care.leftover import Left, Leftovers
from bmid.errors import Problem, Refused
from bmid.handlers.shape import operation_shape
from bmid.messages.operation import OperationAbandoned, OperationFailed, OperationRetried
from bmid.model.operation import FINAL, Operation, Phase
from bmid.model.seed import SECRET_FIELDS
from bmid.parts import make_database
from bmid.settings import Settings
from bmid.store import operations, outbox
from bmid.store.database import Tx
from bmid.store.outbox import Cause
from bmid.store.view import StoreView

__all__ = ["Repair"]


class Repair:
    """Works on the database; a running daemon sees it within a second. `leftovers` looks at the world before anything
    is abandoned; None: nobody does."""

    def __init__(self, settings: Settings, leftovers: Leftovers | None = None) -> None:
        self._database = make_database(settings)
        self._database.verify()
        self._source = f"/bmid/{settings.head.name}"
        self._leftovers = leftovers

    def list(self, every: bool) -> list[dict[str, Any]]:
        """The newest thousand operations as rows; without `every` only those that have not ended."""
        with self._database.read() as tx:
            found = StoreView(tx, 0).operations(limit=1000, unfinished=not every)
        return [operation_shape(one) | {"command_data": _shown(one)} for one in found]

    def show(self, operation: str) -> dict[str, Any]:
        """One operation, whole."""
        with self._database.read() as tx:
            one = self._find(tx, operation)
        return operation_shape(one) | {"command_data": _shown(one), "plan": one.plan, "marks": one.marks}

    def retry(self, operation: str, reason: str | None = None) -> OperationRetried:
        """Look at it again now; what was stuck goes on with its way back."""
        with self._database.write() as tx:
            one = self._find(tx, operation)
            if one.phase in FINAL:
                detail = f"operation {operation} has ended: {one.phase}"
                raise Refused("operation-ended", detail, todo="Send the command again, under a new id.")
            phase = Phase.REVERTING if one.phase is Phase.STUCK else one.phase
            operations.change(tx, operation, phase=phase, due_at=tx.now, attempts=0, first_failed_at=None)
            event = OperationRetried(
                operation=one.id, command=one.type, project=one.project, phase=phase.value, reason=reason
            )
            outbox.emit(tx, event, self._cause(one))
        return event

    def abandon(self, operation: str, reason: str) -> OperationAbandoned:
        """End what is stuck, and say what it leaves; its rows stay, so that all of that can still be found. Whoever may
        wake in the midst of it is cut off from the storage first: TransientError where that can't be done."""
        with self._database.read() as tx:
            one = self._stuck(tx, operation)
        # Before, and without a transaction: a part that is away may take its time to say nothing.
        gone = self._leftovers.cut_off(one) if self._leftovers else ()
        left = self._leftovers.look(one) if self._leftovers else Left(unseen={"everything": "nobody looked"})
        with self._database.write() as tx:
            one = self._stuck(tx, operation)
            if not set(one.clients or ()) <= {*gone}:
                detail = f"operation {operation} was worked on meanwhile"
                raise Refused("operation-not-stuck", detail, todo="It is stuck again: look at why, or repeat this.")
            steps = tuple(step["kind"] for stage in (one.plan or {}).get("stages", ()) for step in stage)
            event = OperationAbandoned(
                operation=one.id,
                command=one.type,
                project=one.project,
                reason=reason,
                left=left.things,
                unseen=left.unseen,
                steps=steps,
                cut_off=gone,
            )
            outbox.emit(tx, event, self._cause(one))
            self._end(tx, one, event)
        return event

    def _end(self, tx: Tx, one: Operation, event: OperationAbandoned) -> None:
        detail = f"abandoned by an operator: {event.reason}"
        behind = [thing.model_dump(mode="json") for thing in event.left]
        problem = Problem.of("abandoned", detail, todo="bmid fsck tells what is left.", left_behind=behind)
        failed = OperationFailed(operation=one.id, command=one.type, project=one.project, problem=problem)
        outbox.emit(tx, failed, self._cause(one))
        operations.end(tx, one.id, Phase.FAILED, problem.model_dump(mode="json"))
        if one.parent:
            operations.wake_group(tx, one.parent)

    def _stuck(self, tx: Tx, operation: str) -> Operation:
        one = self._find(tx, operation)
        if one.phase is not Phase.STUCK:
            detail = f"operation {operation} is {one.phase}; only a stuck one can be abandoned"
            raise Refused("operation-not-stuck", detail, todo="bmid operations retry looks at it again.")
        return one

    def _cause(self, one: Operation) -> Cause:
        return Cause(self._source, one.id, one.correlation, one.message, one.traceparent)

    def _find(self, tx: Tx, operation: str) -> Operation:
        one = operations.find(tx, operation)
        if one is None:
            detail = f"there is no operation {operation}"
            raise Refused("operation-unknown", detail, todo="bmid operations list --all shows the newest thousand.")
        return one


def _shown(operation: Operation) -> dict[str, Any]:
    """What the command asked for. Of what may be secret, only that it was said."""
    return {key: "(not shown)" if key in SECRET_FIELDS else value for key, value in operation.command.items()}
