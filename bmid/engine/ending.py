"""How a turn ends: in an outcome, a wait, a retry, a way back, or stuck. Each is one transaction of its caller."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import structlog

from bmid.engine.docket import Docket
from bmid.engine.turn import Turn
from bmid.errors import BmiError, Problem, Refused, TransientError
from bmid.messages.base import Event
from bmid.messages.operation import OperationFailed, OperationPlanned, PlannedStep
from bmid.model.operation import Phase
from bmid.model.retry import backoff
from bmid.steps.base import AFTERMATH, Plan, Wait
from bmid.store import operations, outbox
from bmid.store.database import Tx

__all__ = ["Ending"]

log = structlog.get_logger(__name__)
PATIENCE = 5  # failures in a row after which an error that asks for a quick return gets a back-off, too
QUICK = 30.0  # seconds, which is as far as that one goes
# So long after its time a try may end, and the time counts as time in which it failed. What is beyond that, nobody has
# tried: bmid was down, or the clock leapt.
LATE = timedelta(minutes=5)


class Ending:
    """Writes down how a turn ended, and gives the claims back. `chance` draws the jitter."""

    def __init__(self, give_up_after: float, chance: Callable[[], float], set_aside_after: int = 0) -> None:
        self._give_up_after = give_up_after
        self._docket = Docket(set_aside_after)
        self._chance = chance

    def succeed(self, tx: Tx, turn: Turn, event: Event) -> None:
        """The command did what it says."""
        outbox.emit(tx, event, turn.cause)
        operations.end(tx, turn.operation, Phase.SUCCEEDED, None)
        self._docket.succeeded(tx, turn.record)
        self._over(tx, turn)
        log.info("operation.finished", outcome=event.type, attempts=turn.record.attempts)

    def planned(self, tx: Tx, turn: Turn, plan: Plan) -> None:
        """A dry run: what would be done is told, and nothing of it is kept."""
        one = turn.record
        steps = tuple(PlannedStep.model_validate(step) for step in plan.described())
        changed = bool(plan.memo.get("changed", steps or plan.reserve))
        event = OperationPlanned(
            operation=one.id, command=one.type, project=one.project, changed=changed, home=plan.home, steps=steps
        )
        self.succeed(tx, turn, event)

    def fail(self, tx: Tx, turn: Turn, problem: Problem, *, refused: bool) -> None:
        """The command did not do what it says, and nothing of it is left."""
        one = turn.record
        event = OperationFailed(
            operation=one.id, command=one.type, project=one.project, refused=refused, problem=problem
        )
        outbox.emit(tx, event, turn.cause)
        operations.end(tx, one.id, Phase.FAILED, {**problem.model_dump(mode="json"), "refused": refused})
        if not refused:
            self._docket.failed(tx, turn.record, problem, turn.cause)
        self._over(tx, turn)
        log.info("operation.failed", problem=problem.slug, detail=problem.detail, refused=refused)

    def wait(self, tx: Tx, turn: Turn, wait: Wait) -> None:
        """Look again later; thread and claims are free meanwhile. What failed before has worked now, or is tried."""
        fresh = {} if wait.unproven else {"attempts": 0, "first_failed_at": None}
        self._later(tx, turn, due_at=wait.until, why=wait.why, **fresh)
        log.debug("operation.waits", why=wait.why)

    def retry(self, tx: Tx, turn: Turn, error: BmiError, step: str) -> None:
        """Again from the top, with back-off, until it has failed for too long."""
        one = turn.record
        late = max(timedelta(), tx.now - one.due_at - LATE)
        first = one.first_failed_at + late if one.first_failed_at else tx.now
        if tx.now - first > timedelta(seconds=self._give_up_after):
            self.give_up(tx, turn, error, step)
            return
        asked = error.delay if isinstance(error, TransientError) else None
        if asked is None:
            delay = backoff(one.attempts + 1, self._chance())
        elif one.attempts < PATIENCE:
            delay = asked
        else:
            delay = max(asked, backoff(one.attempts + 1, self._chance(), cap=QUICK))
        why = f"{step}: {error}"
        self._later(
            tx,
            turn,
            due_at=tx.now + timedelta(seconds=delay),
            why=why,
            attempts=one.attempts + 1,
            first_failed_at=first,
        )
        log.warning(
            "operation.retried", step=step, problem=error.problem.slug, detail=str(error), delay=round(delay, 1)
        )

    def give_up(self, tx: Tx, turn: Turn, error: BmiError, step: str) -> None:
        """No more tries: undo what was done, or say that it is stuck where even that can't be."""
        one = turn.record
        known = Problem.model_validate(one.problem) if one.problem else None
        problem = known or error.problem.model_copy(update={"step": step})
        if one.plan is None:
            self.fail(tx, turn, problem, refused=False)
            return
        refused = bool(one.problem["refused"]) if one.problem else isinstance(error, Refused)
        stored = {**problem.model_dump(mode="json"), "refused": refused}
        stuck = one.phase is Phase.REVERTING
        phase = Phase.STUCK if stuck else Phase.REVERTING
        why = f"{step}: {error}"
        self._later(tx, turn, phase=phase, problem=stored, due_at=tx.now, why=why, attempts=0, first_failed_at=None)
        level = log.error if stuck else log.warning
        level("operation.stuck" if stuck else "operation.reverts", step=step, problem=problem.slug, detail=str(error))

    def reverted(self, tx: Tx, turn: Turn, plan: Plan) -> None:
        """The way back is done. What is not as before all the same is told with what failed."""
        stored = dict(turn.record.problem or {})
        refused = bool(stored.pop("refused", False))
        problem = Problem.model_validate(stored)
        if left := turn.record.marks.get(AFTERMATH):
            told = {"detail": f"{problem.detail}; {left['detail']}", "todo": f"{problem.todo} {left['todo']}".strip()}
            problem = problem.model_copy(update=told)
        undone = tuple(step.kind for stage in reversed(plan.stages) for step in stage if step.reverts)
        self.fail(tx, turn, problem.model_copy(update={"undone": undone}), refused=refused)

    def _over(self, tx: Tx, turn: Turn) -> None:
        turn.release_in(tx, ended=True)
        if turn.record.parent:
            operations.wake_group(tx, turn.record.parent)

    def _later(self, tx: Tx, turn: Turn, **values: object) -> None:
        operations.give_back(tx, turn.operation, turn.former, **values)
        turn.release_in(tx)
