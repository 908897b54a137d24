"""Groups: one command for many nodes is an operation for each of them, and one beside them that waits for their ends.

Which commands can be to a group, their classes say (`NodeCommand`); no message is known here but the summary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from bmid.errors import Problem
from bmid.handlers.base import Context, Handler, Outcome
from bmid.messages.base import NodeCommand
from bmid.messages.operation import OperationEvent
from bmid.model.claim import Key
from bmid.model.operation import Operation, Phase
from bmid.steps.base import Plan
from bmid.steps.group import AwaitMembers

__all__ = ["EVENTS", "GROUP", "GroupFinished", "GroupMember"]


class GroupMember(BaseModel):
    """One node of a group and how its operation ended: `succeeded` or `failed`, then with the problem."""

    model_config = ConfigDict(frozen=True)

    node: str
    operation: str
    phase: str
    problem: Problem | None = None


class GroupFinished(OperationEvent):
    """All operations of a group have ended, each with an event of its own before this one."""

    type: ClassVar[str] = "bmi.group.finished.v1"
    succeeded: int
    failed: int
    members: tuple[GroupMember, ...]


def keys(command: NodeCommand) -> tuple[Key, ...]:
    """None: it only waits for others."""
    return ()


def plan(command: NodeCommand, context: Context) -> Plan:
    """Wait for the members, which were accepted with it."""
    return Plan(stages=((AwaitMembers(),),))


def finish(command: NodeCommand, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """How each of them ended."""
    members = tuple(_member(one) for one in context.view.members(context.operation))
    failed = sum(member.phase == Phase.FAILED for member in members)
    event = GroupFinished(
        operation=context.operation,
        command=command.type,
        project=getattr(command, "project", None),
        succeeded=len(members) - failed,
        failed=failed,
        members=members,
    )
    return Outcome(event)


def _member(one: Operation) -> GroupMember:
    problem = Problem.model_validate(one.problem) if one.problem else None
    return GroupMember(node=one.command["node"], operation=one.id, phase=one.phase.value, problem=problem)


GROUP = Handler(NodeCommand, GroupFinished, keys, plan, finish)
EVENTS = (GroupFinished,)
