"""The worker: takes the oldest free operation, plans it, carries it out, and commits how it went.

One turn is one run from the top of the plan. It ends in an outcome, a Wait, a retry or a way back; in each case
the claims are given back in the transaction that says so.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog

from bmid.engine import executor
from bmid.engine.auditor import Auditor
from bmid.engine.ending import Ending
from bmid.engine.executor import StepFailed
from bmid.engine.identity import Identity, Ports
from bmid.engine.turn import Turn
from bmid.errors import ClaimLost, PermanentError, Refused, TransientError
from bmid.handlers.base import Context, Handler
from bmid.handlers.registry import Registry
from bmid.messages.base import Command
from bmid.model.claim import Held
from bmid.model.operation import FINAL, Operation, Phase
from bmid.model.site import Site
from bmid.steps.base import Plan, Wait
from bmid.store import claims, operations, portals, site
from bmid.store.database import Database, Tx
from bmid.store.operations import Busy
from bmid.store.rows import apply
from bmid.store.view import StoreView

__all__ = ["Identity", "Ports", "Worker"]

log = structlog.get_logger(__name__)


class Unplanned(Exception):
    """An operation was taken, but could not be planned, and its transaction was rolled back."""

    def __init__(self, operation: str, error: Exception) -> None:
        super().__init__(operation)
        self.operation = operation
        self.error = error


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
        self._client: str | None = None
        self._ending = Ending(identity.give_up_after, random.random, identity.set_aside_after)
        self._auditor = Auditor(registry, site, identity.head, identity.source)

    def run_once(self) -> bool:
        """One turn; False if there was nothing to do."""
        try:
            turn = self._take()
        except Busy as busy:
            self._postpone(busy.operation)
            return False
        except Unplanned as failure:
            self._unplanned(failure.operation, failure.error)
            return True
        if turn is None:
            return False
        with turn.bound():
            try:
                self._carry_out(turn)
            except ClaimLost as lost:
                log.warning("operation.claim_lost", detail=str(lost))
            except TransientError as error:
                # Nothing could be written down: the claims run out by themselves, and the plan starts from the top.
                log.warning("operation.interrupted", detail=str(error))
            finally:
                self._identity.active.discard(turn.operation)
                self._client = turn.client
        self._notify()
        return True

    def pause(self) -> float:
        """Seconds to rest where there was nothing to do: until the next look that somebody waits for, 1 at most."""
        with self._database.read() as tx:
            due = operations.next_due(tx, self._identity.head)
            return min(max((due - tx.now).total_seconds(), 0.01), 1.0) if due else 1.0

    def _postpone(self, operation: str) -> None:
        with self._database.write() as tx:
            operations.change(tx, operation, due_at=tx.now + timedelta(seconds=1))

    def _take(self) -> Turn | None:
        """The next operation with its plan; those that need nothing in the world end right here."""
        me = self._identity
        turn: Turn | None = None
        try:
            with self._database.write() as tx:
                taken = operations.take(tx, me.head, me.holder, me.lease, me.active, self._client)
                if taken is None:
                    return None
                turn = self._turn(*taken)
                me.active.add(turn.operation)
                if turn.record.plan is None:
                    with turn.bound():
                        self._plan(tx, turn)
                return turn
        except BaseException as error:
            if turn is None or not isinstance(error, Exception):
                raise
            me.active.discard(turn.operation)
            raise Unplanned(turn.operation, error) from error

    def _turn(self, operation: Operation, held: tuple[Held, ...]) -> Turn:
        me, staging = self._identity, self._ports.staging
        return Turn(self._database, operation, held, me.holder, me.source, staging, self._auditor, self._client)

    def _unplanned(self, operation: str, error: Exception) -> None:
        """Its transaction is undone. Try again later, so that it holds up nobody else; too often, and it has failed."""
        me = self._identity
        known = StepFailed("plan", error).known()
        with self._database.write() as tx:
            fresh = operations.find(tx, operation, lock=True)  # before its claim, as whoever takes it
            held = claims.take(tx, [f"operation:{operation}"], me.holder, me.lease, operation)
            if held is None or fresh is None:
                return
            turn = self._turn(fresh, held)
            if fresh.phase is not Phase.PENDING:
                turn.release_in(tx, ended=fresh.phase in FINAL)
            elif isinstance(known, PermanentError):
                self._ending.give_up(tx, turn, known, "plan")
            else:
                self._ending.retry(tx, turn, known, "plan")

    def _plan(self, tx: Tx, turn: Turn) -> None:
        handler, command = self._handler(turn.record)
        portals.hold(tx)
        try:
            turn.require_in_time(tx.now)
            plan = handler.plan(command, self._context(tx, turn.record))
        except Refused as refusal:
            self._ending.fail(tx, turn, refusal.problem, refused=True)
            turn.record = replace(turn.record, phase=Phase.FAILED)
            return
        if command.dry_run and not command.members():
            self._ending.planned(tx, turn, plan)
            turn.record = replace(turn.record, phase=Phase.SUCCEEDED)
            return
        apply(tx, plan.reserve)
        stored = plan.dump()
        operations.start(tx, turn.operation, stored, plan.home)
        turn.record = replace(turn.record, plan=stored, phase=Phase.RUNNING, home=plan.home)
        if not plan.stages:
            self._succeed(tx, turn, handler, command, plan)
            turn.record = replace(turn.record, phase=Phase.SUCCEEDED)
        elif plan.home not in (None, self._identity.head):
            turn.release_in(tx)
            operations.give_back(tx, turn.operation, turn.former)
            turn.record = replace(turn.record, phase=Phase.PENDING)

    def _carry_out(self, turn: Turn) -> None:
        try:
            self._run(turn)
        except ClaimLost:
            raise
        except Exception as error:
            self._failed(turn, StepFailed("outcome", error))

    def _run(self, turn: Turn) -> None:
        if turn.record.phase not in (Phase.RUNNING, Phase.REVERTING):
            return
        handler, command = self._handler(turn.record)
        plan = Plan.load(turn.record.plan or {}).left(turn.record.marks)
        world = self._ports.world(turn)
        try:
            if turn.record.phase is Phase.RUNNING:
                turn.require_home(handler.local, plan.home, self._identity.head)
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
                undo = handler.undo(command, self._context(tx, turn.record), plan, turn.record.marks)
                apply(tx, undo)
                self._ending.reverted(tx, turn, plan)

    def _succeed(self, tx: Tx, turn: Turn, handler: Handler[Any], command: Command, plan: Plan) -> None:
        outcome = handler.finish(command, self._context(tx, turn.record), plan, turn.record.marks)
        apply(tx, outcome.changes)
        self._ending.succeed(tx, turn, outcome.event)

    def _failed(self, turn: Turn, failure: StepFailed) -> None:
        error = failure.known()
        if isinstance(error, ClaimLost):
            raise error
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
                detail, todo = f"gave up waiting: {wait.why}", "Look at what it waited for, then send it again."
                error = PermanentError("deadline-passed", detail, todo=todo)
                self._ending.give_up(tx, turn, error, wait.step)
            else:
                self._ending.wait(tx, turn, wait)

    def _handler(self, operation: Operation) -> tuple[Handler[Any], Command]:
        command = self._registry.commands[operation.type].command.model_validate(operation.command)
        return self._registry.handler(command), command

    def _context(self, tx: Tx, operation: Operation) -> Context:
        self._site = site.named(tx, self._site)
        view = StoreView(tx, self._identity.dead_after)
        return Context(operation.id, operation.correlation, self._identity.head, tx.now, view, self._site)
