"""export.restore, by the daemon itself: a mapped disk whose target is gone (tgtd was restarted) gets it back.

The boot pointer is made sure of as well. The node's initiator logs in again by itself; its power is not touched.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from bmid.handlers import way
from bmid.handlers.base import Context, Handler, Outcome
from bmid.messages.base import Command, Event
from bmid.model.change import Put
from bmid.model.claim import Key
from bmid.model.entity import DiskState
from bmid.model.name import NodeName
from bmid.steps.base import Plan, Stages
from bmid.steps.boot import PointBoot
from bmid.steps.seed import WriteSeed
from bmid.steps.target import ExportDisk

__all__ = ["HANDLER", "ExportRestored", "RestoreExport"]


class RestoreExport(Command):
    """Put the target of a mapped node back."""

    type: ClassVar[str] = "bmi.export.restore.v1"
    node: NodeName
    disk: str
    moved: bool = Field(False, description="its address has come from another head")

    def subject(self) -> str:
        """The node."""
        return f"node/{self.node}"


class ExportRestored(Event):
    """The target is back. `changed` is False if the node was unmapped meanwhile."""

    type: ClassVar[str] = "bmi.export.restored.v1"
    operation: str
    node: str
    disk: str
    changed: bool

    def subject(self) -> str:
        """The node."""
        return f"node/{self.node}"


def keys(command: RestoreExport) -> tuple[Key, ...]:
    """The node, exclusively."""
    return (Key(f"node:{command.node}", exclusive=True),)


def plan(command: RestoreExport, context: Context) -> Plan:
    """Fence whoever exported it, export, point."""
    node, disk = context.view.node(command.node), context.view.disk(command.disk)
    if node is None or disk is None or node.disk != disk.id or disk.state is not DiskState.MAPPED:
        return Plan(memo={"changed": False})
    seed: Stages = ((WriteSeed(disk=disk.id),),) if disk.seed else ()
    export = ExportDisk.of(disk, context.site, again=True, moved=command.moved)
    point = PointBoot.of(node, disk, context.site)
    # Its home may be another one than its metadata say.
    stages = (*seed, (export,), (point, way.describe(context, disk, node)))
    return Plan(stages=stages, home=disk.head, memo={"changed": True})


def finish(command: RestoreExport, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The watched boot, if there is one, begins to count anew."""
    changed = bool(plan.memo["changed"])
    event = ExportRestored(operation=context.operation, node=command.node, disk=command.disk, changed=changed)
    boot = context.view.boot(command.disk)
    # A restarted target counts its sessions from the start again.
    return Outcome(event, (Put(replace(boot, base=0)),) if boot and changed else ())


HANDLER = Handler(RestoreExport, ExportRestored, keys, plan, finish, internal=True, urgent=True)
