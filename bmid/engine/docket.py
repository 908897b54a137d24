"""What speaks for and against nodes and images: failures in a row are counted where they end, and enough set aside.

Who is blamed for a failure the model says; what being set aside means, the handlers.
"""

from __future__ import annotations

import structlog

from bmid.errors import Problem
from bmid.handlers.aside import ImageSetAside, NodeSetAside
from bmid.model.aside import Aside, AsideState, blamed, touched
from bmid.model.operation import Operation
from bmid.store import failures, outbox
from bmid.store.database import Tx
from bmid.store.failures import Counted
from bmid.store.outbox import Cause

__all__ = ["Docket"]

log = structlog.get_logger(__name__)


class Docket:
    """Counts in the transaction that ends an operation. `after`: so many are enough; 0: never."""

    def __init__(self, after: int) -> None:
        self._after = after

    def succeeded(self, tx: Tx, one: Operation) -> None:
        """What failed before has worked now."""
        for thing in touched(one.command, one.plan):
            failures.forget(tx, thing, _who(one))

    def failed(self, tx: Tx, one: Operation, problem: Problem, cause: Cause) -> None:
        """Another one for the thing to blame; enough of them, and it is set aside."""
        thing = blamed(one.command, one.plan, problem.step, problem.slug)
        if thing is None or not self._after:
            return
        counted = failures.count(tx, thing, _who(one), problem.slug)
        if counted is None or counted.count < self._after or counted.aside:
            return
        reason = f"{counted.count} operations in a row failed in {problem.step}: {problem.detail}"
        aside = Aside(
            state=AsideState.QUARANTINE,
            reason=reason,
            since=tx.now.isoformat(timespec="seconds"),
            operation=one.id,
            problem=problem.slug,
            failures=counted.count,
        )
        failures.set_aside(tx, thing, counted, aside)
        outbox.emit(tx, _event(one, counted, aside, problem), cause)
        log.warning("thing.set_aside", kind="node" if thing.node else "image", name=counted.name, problem=problem.slug)


def _who(one: Operation) -> str:
    """Whose failures it counts among."""
    return one.project or "-"


def _event(one: Operation, counted: Counted, aside: Aside, problem: Problem) -> NodeSetAside | ImageSetAside:
    count, reason = counted.count, aside.reason
    if counted.project is None:
        return NodeSetAside(operation=one.id, node=counted.name, failures=count, reason=reason, problem=problem)
    return ImageSetAside(
        operation=one.id, project=counted.project, image=counted.name, failures=count, reason=reason, problem=problem
    )
