"""Runs the stages of a plan forwards, or backwards. Knows nothing of rows and claims."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import replace

import structlog

from bmid.errors import BmiError, TransientError
from bmid.steps.base import Plan, Step, Wait, World

__all__ = ["StepFailed", "apply", "revert"]

log = structlog.get_logger(__name__)


class StepFailed(Exception):
    """A step raised; the error itself is the cause, `step` its kind."""

    def __init__(self, step: str, error: Exception) -> None:
        super().__init__(step)
        self.step = step
        self.error = error

    def known(self) -> BmiError:
        """What the engine goes by; what nobody foresaw is logged whole, and may pass."""
        if isinstance(self.error, BmiError):
            return self.error
        log.error("step.crashed", step=self.step, exc_info=self.error)
        kind = type(self.error).__name__
        return TransientError(
            "unexpected",
            f"an unexpected {kind} in step {self.step}; see bmid's log",
            todo="It is tried again. Please report it, with what bmid's log says of this operation.",
        )


def apply(plan: Plan, world: World, pool: Executor) -> Wait | None:
    """From the top: every step looks first. Ends at the first Wait, or raises StepFailed."""
    for stage in plan.stages:
        waits = _stage(stage, lambda step: step.apply(world), pool)
        if waits:
            return min(waits, key=lambda wait: wait.until)
    return None


def revert(plan: Plan, world: World, pool: Executor) -> Wait | None:
    """From the bottom: ensure that nothing of the plan is left."""
    for stage in reversed(plan.stages):
        waits = _stage(stage, lambda step: step.revert(world), pool)
        if waits:
            return min(waits, key=lambda wait: wait.until)
    return None


def _stage(stage: Sequence[Step], act: Callable[[Step], Wait | None], pool: Executor) -> list[Wait]:
    """All steps of a stage, side by side where there are several; every one is heard out before an error is raised."""
    if len(stage) == 1:
        return [wait for wait in [_one(stage[0], act)] if wait]
    others: list[Future[Wait | None]] = [pool.submit(_one, step, act) for step in stage[1:]]
    waits: list[Wait] = []
    failures: list[StepFailed] = []
    for index, step in enumerate(stage):
        try:
            wait = others[index - 1].result() if index else _one(step, act)
        except StepFailed as failure:
            failures.append(failure)
        else:
            waits += [wait] if wait else []
    if failures:
        raise failures[0]
    return waits


def _one(step: Step, act: Callable[[Step], Wait | None]) -> Wait | None:
    try:
        wait = act(step)
    except Exception as error:
        raise StepFailed(step.kind, error) from error
    return replace(wait, step=step.kind) if wait else None
