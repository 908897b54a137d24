"""node.remove: a machine leaves the site. Refused while it is mapped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bmid.errors import Refused
from bmid.handlers.base import Context, Handler, Outcome
from bmid.messages.base import Command, Event
from bmid.model.change import Drop
from bmid.model.claim import Key
from bmid.model.name import NodeName
from bmid.steps.base import Plan

__all__ = ["HANDLER", "NodeRemoved", "RemoveNode"]


class RemoveNode(Command):
    """Forget a node that is not mapped."""

    type: ClassVar[str] = "bmi.node.remove.v1"
    node: NodeName

    def subject(self) -> str:
        """The node."""
        return f"node/{self.node}"


class NodeRemoved(Event):
    """The node is forgotten. `changed` is False if it wasn't known."""

    type: ClassVar[str] = "bmi.node.removed.v1"
    operation: str
    node: str
    changed: bool

    def subject(self) -> str:
        """The node."""
        return f"node/{self.node}"


def keys(command: RemoveNode) -> tuple[Key, ...]:
    """The node, exclusively."""
    return (Key(f"node:{command.node}", exclusive=True),)


def plan(command: RemoveNode, context: Context) -> Plan:
    """Nothing in the world."""
    node = context.view.node(command.node)
    disk = context.view.disk(node.disk) if node and node.disk else None
    if disk:
        detail = f"node {command.node} is mapped to disk {disk.name} of project {disk.project}"
        raise Refused("node-mapped", detail, todo="Unmap it first.", disk=disk.name)
    return Plan(memo={"changed": node is not None})


def finish(command: RemoveNode, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The row goes."""
    node = context.view.node(command.node)
    event = NodeRemoved(operation=context.operation, node=command.node, changed=plan.memo["changed"])
    return Outcome(event, (Drop(node),) if node else ())


HANDLER = Handler(RemoveNode, NodeRemoved, keys, plan, finish)
