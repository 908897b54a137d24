"""node.maintenance: a node is set aside by an operator, or taken back into use, whoever set it aside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from bmid.handlers import aside, demand
from bmid.handlers.aside import Maintenance, State
from bmid.handlers.base import Context, Handler, Outcome
from bmid.messages.base import Event, NodeCommand
from bmid.model.change import SetAside
from bmid.model.claim import Key
from bmid.steps.base import Plan

__all__ = ["HANDLER", "MaintainNode", "NodeMaintained"]


class MaintainNode(Maintenance, NodeCommand):
    """Set a node aside: it is not mapped or rebuilt, while unmap and power go on as before. Or take it back into use,
    also from quarantine."""

    type: ClassVar[str] = "bmi.node.maintenance.v1"


class NodeMaintained(Event):
    """The node is set aside, or in use again. `before` says how it was; `changed` is False if all was said before."""

    type: ClassVar[str] = "bmi.node.maintained.v1"
    operation: str
    node: str
    state: State = Field(description="how it is now: in-use or maintenance")
    before: State = Field(description="how it was: in-use, maintenance or quarantine")
    reason: str | None = Field(None, description="as the command said it")
    changed: bool

    def subject(self) -> str:
        """The node."""
        return f"node/{self.node}"


def keys(command: MaintainNode) -> tuple[Key, ...]:
    """The node, exclusively: what was accepted before goes on, what comes after is refused."""
    return (Key(f"node:{command.node}", exclusive=True),)


def plan(command: MaintainNode, context: Context) -> Plan:
    """Nothing in the world."""
    node = demand.require_node(context.view, command.node)
    changed = aside.after(command, context, node.aside) != node.aside
    return Plan(memo={"changed": changed, "before": aside.state(node)})


def finish(command: MaintainNode, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The row."""
    node = demand.require_node(context.view, command.node)
    told = aside.after(command, context, node.aside)
    event = NodeMaintained(
        operation=context.operation,
        node=node.name,
        state="maintenance" if told else "in-use",
        before=plan.memo["before"],
        reason=command.reason,
        changed=plan.memo["changed"],
    )
    return Outcome(event, (SetAside(node, told),))


HANDLER = Handler(MaintainNode, NodeMaintained, keys, plan, finish)
