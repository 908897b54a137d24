"""node.unmap: a node is taken off its disk, which is discarded or parked, and nothing else of the map is left.

Power first, verified, or the fence; then the boot pointer, the target, the disk. Repeated: nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from bmid.handlers import demand, way
from bmid.handlers.base import Context, Handler, Outcome
from bmid.handlers.mapping import parked
from bmid.handlers.trash import RestorableUntil, restorable_until, thrown
from bmid.messages.base import Event, NodeCommand
from bmid.model import placement
from bmid.model.change import Change, Put
from bmid.model.claim import Key
from bmid.model.entity import Disk, DiskState
from bmid.model.name import ProjectName
from bmid.steps.base import Plan
from bmid.steps.boot import REMOVING
from bmid.steps.disk import DescribeDisk

__all__ = ["HANDLER", "NodeUnmapped", "UnmapNode"]


class UnmapNode(NodeCommand):
    """Take a node off its disk, and discard or park the disk."""

    type: ClassVar[str] = "bmi.node.unmap.v1"
    project: ProjectName
    disk: Literal["discard", "park"] = Field(
        "discard", description="park: keep the disk with its address and host name, to map it again on any node"
    )
    force: bool = Field(False, description="cut a running node off from its disk if its power can't be switched off")


class NodeUnmapped(Event):
    """Nothing of the map is left but the disk, where it was `parked`; discarded, it lies in the trash. `power` is off
    where it was verified, unknown where the node was only fenced."""

    type: ClassVar[str] = "bmi.node.unmapped.v1"
    operation: str
    project: str
    node: str
    disk: str | None = None
    power: str
    changed: bool
    parked: bool = False
    address: str | None = None
    restorable_until: RestorableUntil = None

    def subject(self) -> str:
        """The node."""
        return f"node/{self.node}"


def keys(command: UnmapNode) -> tuple[Key, ...]:
    """The project shared, the node exclusively."""
    return (Key(f"project:{command.project}", exclusive=False), Key(f"node:{command.node}", exclusive=True))


def plan(command: UnmapNode, context: Context) -> Plan:
    """The way out, in the order that never lets a node boot a half-removed disk."""
    node = demand.require_node(context.view, command.node)
    disk = context.view.disk(node.disk) if node.disk else None
    if disk is None:
        return Plan(memo={"changed": False, "disk": None, "power": "untouched"})
    demand.require_own(disk, command.project)
    power = "off" if node.power else "unknown"
    memo = {"changed": True, "disk": disk.id, "power": power, "state": disk.state.value}
    removing = replace(disk, state=DiskState.REMOVING)
    stages = (
        *way.quiet(context, disk, node, force=command.force),
        *way.removed(disk),
        (_parked(context, disk) if command.disk == "park" else way.discarded(context, disk, node),),
    )
    return Plan((Put(removing),), stages, home=disk.head, memo=memo)


def _parked(context: Context, disk: Disk) -> DescribeDisk:
    image = demand.image_of(context.view, disk)
    return DescribeDisk(disk=disk.id, metadata=placement.metadata(parked(disk), image, None, context.site, "parked"))


def finish(command: UnmapNode, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The node is free; a discarded disk is a row of the trash from now on."""
    disk = context.view.disk(plan.memo["disk"]) if plan.memo["disk"] else None
    node = context.view.node(command.node)
    power = "unknown" if marks.get("power-unverified") else plan.memo["power"]
    whole = plan.memo.get("state") != DiskState.MAKING
    kept = bool(disk) and command.disk == "park"
    event = NodeUnmapped(
        operation=context.operation,
        project=command.project,
        node=command.node,
        disk=disk.name if disk else None,
        power=power,
        changed=plan.memo["changed"],
        parked=kept,
        address=disk.address if disk and kept else None,
        restorable_until=restorable_until(context, whole=whole) if disk and not kept else None,
    )
    if disk is None or node is None:
        return Outcome(event)
    gone = (Put(parked(disk)),) if kept else thrown(context, disk, whole=whole)
    return Outcome(event, (Put(replace(node, disk=None)), *gone))


def undo(command: UnmapNode, context: Context, plan: Plan, marks: Mapping[str, Any]) -> tuple[Change, ...]:
    """The disk is what it was. Half removed it stays on its way out: the same command again goes on with it."""
    disk = context.view.disk(plan.memo["disk"])
    if disk is None or marks.get(REMOVING):
        return ()
    return (Put(replace(disk, state=DiskState(plan.memo.get("state", DiskState.MAPPED)))),)


HANDLER = Handler(UnmapNode, NodeUnmapped, keys, plan, finish, undo=undo)
