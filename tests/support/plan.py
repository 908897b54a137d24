"""What handlers make of a command, by its kind: plans, refusals, outcomes and undoings. Without a database."""

from __future__ import annotations

from typing import Any

import pytest

from bmid.errors import Refused
from bmid.handlers.base import Context, Handler
from bmid.handlers.registry import discover
from bmid.steps.base import Plan
from tests.support.view import context

__all__ = ["handler_of", "kinds", "outcome_of", "plan_of", "refused", "undone"]


def handler_of(kind: str) -> Handler:
    """The handler of `bmi.<kind>.v1`."""
    return discover().commands[f"bmi.{kind}.v1"]


def plan_of(kind: str, data: dict[str, Any], given: Context) -> Plan:
    """What is to be done."""
    handler = handler_of(kind)
    return handler.plan(handler.command.model_validate(data), given)


def kinds(plan: Plan) -> list[list[str]]:
    """The kinds of its steps, stage by stage."""
    return [[step.kind for step in stage] for stage in plan.stages]


def outcome_of(kind: str, data: dict[str, Any], given: Context, plan: Plan, **marks: Any) -> Any:
    """What is true when all steps are done."""
    handler = handler_of(kind)
    return handler.finish(handler.command.model_validate(data), given, plan, marks)


def undone(kind: str, data: dict[str, Any], given: Context, plan: Plan, **marks: Any) -> Any:
    """What is true when all steps are undone."""
    handler = handler_of(kind)
    return handler.undo(handler.command.model_validate(data), given, plan, marks)


def refused(kind: str, data: dict[str, Any], rows: tuple[Any, ...], slug: str, words: tuple[str, ...]) -> None:
    """Require a refusal: its slug is for programs, its text, which names what is in the way, for people."""
    with pytest.raises(Refused) as caught:
        plan_of(kind, data, context(*rows))
    assert caught.value.problem.slug == slug
    assert caught.value.problem.todo
    for word in words:
        assert word in caught.value.problem.detail
