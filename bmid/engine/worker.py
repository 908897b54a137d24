"""The worker: takes the oldest free operation, plans it, carries it out, and commits how it went.

One turn is one run from the top of the plan. It ends in an outcome, a Wait, a retry or a way back; in each case
the claims are given back in the transaction that says so.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars

from bmid.drivers.base import Boot, Imaging, Isolation, Power, Storage, Target
from bmid.drivers.loader import guarded
from bmid.engine import executor
from bmid.engine.ending import Ending
from bmid.engine.executor import StepFailed
from bmid.engine.turn import Turn
from bmid.errors import BmiError, ClaimLost, PermanentError, Refused, TransientError
from bmid.handlers.base import Context, Handler
from bmid.handlers.registry import Registry
from bmid.messages.base import Command
from bmid.model.operation import Operation, Phase
from bmid.model.site import Site
from bmid.steps.base import Plan, Wait, World
from bmid.store import operations
from bmid.store.database import Database, Tx
from bmid.store.operations import Busy
from bmid.store.rows import apply
from bmid.store.view import StoreView

__all__ = ["Identity", "Ports", "Worker"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Identity:
    """Who this head is, and for how long its claims run. `active` are the operations in its workers' hands."""

    head: str
    instance: str
    source: str
    lease: float
    dead_after: float
    give_up_after: float
    active: set[str]

    @property
    def holder(self) -> str:
        """The name under which this running instance holds claims."""
        return f"{self.head}/{self.instance}"


@dataclass(frozen=True)
class Ports:
    """The drivers of this head, unguarded, and what steps get beside them."""

    storage: Storage
    target: Target
    boot: Boot
    imaging: Imaging
    power: Mapping[str, Power]
    isolation: Isolation
    secret: Callable[[str, int], str]
    staging: Path
    imports: Path | None

    def world(self, turn: Turn) -> World:
        """The same for the steps of one turn, each call guarded by its claims."""
        verify = turn.verify
        return World(
            storage=guarded(self.storage, verify),
            target=guarded(self.target, verify),
            boot=guarded(self.boot, verify),
            imaging=guarded(self.imaging, verify),
            power={name: guarded(driver, verify) for name, driver in self.power.items()},
            isolation=guarded(self.isolation, verify),
            secret=self.secret,
            staging=self.staging,
            imports=self.imports,
            notes=turn,
        )


class Worker:
    """Carries out one operation at a time. Many of them share everything they are made of."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        ports: Ports,
        site: Site,
        identity: Identity,
        pool: Executor,
        notify: Callable[[], None],
    ) -> None:
        self._database = database
        self._registry = registry
        self._ports = ports
        self._site = site
        self._identity = identity
        self._pool = pool
        self._notify = notify
        self._ending = Ending(identity.give_up_after, random.random)

    def run_once(self) -> bool:
        """One turn; False if there was nothing to do."""
        try:
            turn = self._take()
        except Busy as busy:
            self._postpone(busy.operation)
            return False
        if turn is None:
            return False
        one = turn.record
        with bound_contextvars(operation=one.id, command=one.type, correlation=one.correlation, project=one.project):
            try:
                self._run(turn)
            except ClaimLost as lost:
                log.warning("operation.claim_lost", detail=str(lost))
            except TransientError as error:
                # Nothing could be written down: the claims run out by themselves, and the plan starts from the top.
                log.warning("operation.interrupted", detail=str(error))
            finally:
                self._identity.active.discard(one.id)
        self._notify()
        return True

    def _postpone(self, operation: str) -> None:
        with self._database.write() as tx:
            operations.change(tx, operation, due_at=tx.now + timedelta(seconds=1))

    def _take(self) -> Turn | None:
        """The next operation with its plan; those that need nothing in the world end right here."""
        me = self._identity
        with self._database.write() as tx:
            taken = operations.take(tx, me.head, me.holder, me.lease)
            if taken is None:
                return None
            turn = Turn(self._database, taken[0], taken[1], me.holder, me.source, self._ports.staging)
            me.active.add(turn.operation)
            try:
                if turn.record.plan is None:
                    self._plan(tx, turn)
            except BaseException:
                me.active.discard(turn.operation)
                raise
            return turn

    def _plan(self, tx: Tx, turn: Turn) -> None:
        handler, command = self._handler(turn.record)
        try:
            plan = handler.plan(command, self._context(tx, turn.record))
        except Refused as refusal:
            self._ending.fail(tx, turn, refusal.problem, refused=True)
            turn.record = replace(turn.record, phase=Phase.FAILED)
            return
        apply(tx, plan.reserve)
        operations.start(tx, turn.operation, plan.dump(), plan.home)
        turn.record = replace(turn.record, plan=plan.dump(), phase=Phase.RUNNING, home=plan.home)
        if not plan.stages:
            self._succeed(tx, turn, handler, command, plan)
            turn.record = replace(turn.record, phase=Phase.SUCCEEDED)
        elif plan.home not in (None, self._identity.head):
            turn.release_in(tx)
            operations.change(tx, turn.operation, claimed_until=None)
            turn.record = replace(turn.record, phase=Phase.PENDING)

    def _run(self, turn: Turn) -> None:
        if turn.record.phase not in (Phase.RUNNING, Phase.REVERTING):
            return
        handler, command = self._handler(turn.record)
        plan = Plan.load(turn.record.plan or {})
        world = self._ports.world(turn)
        try:
            if turn.record.phase is Phase.RUNNING:
                wait = executor.apply(plan, world, self._pool)
            else:
                wait = executor.revert(plan, world, self._pool)
        except StepFailed as failure:
            self._failed(turn, failure)
            return
        if wait is not None:
            self._wait(turn, wait)
            return
        with self._database.write() as tx:
            turn.verify_in(tx)
            if turn.record.phase is Phase.RUNNING:
                self._succeed(tx, turn, handler, command, plan)
            else:
                undo = handler.undo(command, self._context(tx, turn.record), plan)
                apply(tx, undo)
                self._ending.reverted(tx, turn, plan)

    def _succeed(self, tx: Tx, turn: Turn, handler: Handler[Any], command: Command, plan: Plan) -> None:
        outcome = handler.finish(command, self._context(tx, turn.record), plan, turn.record.marks)
        apply(tx, outcome.changes)
        self._ending.succeed(tx, turn, outcome.event)

    def _failed(self, turn: Turn, failure: StepFailed) -> None:
        error = failure.error
        if isinstance(error, ClaimLost):
            raise error
        if not isinstance(error, BmiError):
            log.error("step.crashed", step=failure.step, exc_info=error)
            kind = type(error).__name__
            error = TransientError("unexpected", f"an unexpected {kind} in step {failure.step}; see bmid's log")
        with self._database.write() as tx:
            turn.verify_in(tx)
            if isinstance(error, PermanentError | Refused):
                self._ending.give_up(tx, turn, error, failure.step)
            else:
                self._ending.retry(tx, turn, error, failure.step)

    def _wait(self, turn: Turn, wait: Wait) -> None:
        with self._database.write() as tx:
            turn.verify_in(tx)
            if wait.deadline is not None and tx.now >= wait.deadline:
                detail = f"gave up waiting: {wait.why}"
                error = PermanentError(
                    "deadline-passed", detail, todo="Look at what it waited for, then send it again."
                )
                self._ending.give_up(tx, turn, error, wait.why)
            else:
                self._ending.wait(tx, turn, wait)

    def _handler(self, operation: Operation) -> tuple[Handler[Any], Command]:
        handler = self._registry.commands[operation.type]
        return handler, handler.command.model_validate(operation.command)

    def _context(self, tx: Tx, operation: Operation) -> Context:
        view = StoreView(tx, self._identity.dead_after)
        return Context(operation.id, operation.correlation, self._identity.head, tx.now, view, self._site)
