"""node.unmap: a node is taken off its disk, and nothing of the map is left.

Power first, verified, or the fence; then the boot pointer, the target, the disk. Repeated: nothing changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from bmid.errors import Refused
from bmid.handlers.base import Context, Handler, Outcome
from bmid.messages.base import Command, Event
from bmid.model import placement
from bmid.model.change import Change, Drop, Put
from bmid.model.claim import Key
from bmid.model.entity import Disk, DiskState, Node
from bmid.model.name import NodeName, ProjectName
from bmid.steps.base import Plan, Stages, Step
from bmid.steps.boot import REMOVING, ClearBoot
from bmid.steps.disk import DiscardDisk
from bmid.steps.power import PowerOff
from bmid.steps.target import RemoveExport, RequireQuiet

__all__ = ["HANDLER", "NodeUnmapped", "UnmapNode"]


class UnmapNode(Command):
    """Take a node off its disk and discard the disk."""

    type: ClassVar[str] = "bmi.node.unmap.v1"
    project: ProjectName
    node: NodeName
    force: bool = Field(False, description="cut a running node off from its disk if its power can't be switched off")

    def subject(self) -> str:
        """The node."""
        return f"node/{self.node}"


class NodeUnmapped(Event):
    """Nothing of the map is left. `power` is off where it was verified, unknown where the node was only fenced."""

    type: ClassVar[str] = "bmi.node.unmapped.v1"
    operation: str
    project: str
    node: str
    disk: str | None = None
    power: str
    changed: bool

    def subject(self) -> str:
        """The node."""
        return f"node/{self.node}"


def keys(command: UnmapNode) -> tuple[Key, ...]:
    """The project shared, the node exclusively."""
    return (Key(f"project:{command.project}", exclusive=False), Key(f"node:{command.node}", exclusive=True))


def plan(command: UnmapNode, context: Context) -> Plan:
    """The way out, in the order that never lets a node boot a half-removed disk."""
    node = context.view.node(command.node)
    if node is None:
        raise Refused("node-unknown", f"there is no node {command.node}", todo="bmi-publish node list shows them.")
    disk = context.view.disk(node.disk) if node.disk else None
    if disk is None:
        return Plan(memo={"changed": False, "disk": None, "power": "untouched"})
    if disk.project != command.project:
        detail = f"node {command.node} is not mapped by project {command.project}"
        raise Refused("node-of-another-project", detail, todo="Name the project that mapped it.")
    memo = {"changed": True, "disk": disk.id, "power": "off" if node.power else "unknown"}
    removing = replace(disk, state=DiskState.REMOVING)
    return Plan((Put(removing),), _stages(command, context, disk, node), home=disk.head, memo=memo)


def _stages(command: UnmapNode, context: Context, disk: Disk, node: Node) -> Stages:
    shard, address = disk.shard or "", disk.address or ""
    quiet: tuple[Step, ...] = ()
    if node.power:
        off = PowerOff(**vars(node.power), deadline=context.site.power_off_deadline, force=command.force)
        quiet = (off,)
    elif not command.force:
        look = RequireQuiet(node=node.name, disk=disk.name, shard=shard, number=disk.number, address=address)
        quiet = (look,)
    image = context.view.image_by_id(disk.image)
    assert image is not None  # noqa: S101 - a disk's row refers to its image's row
    metadata = placement.metadata(disk, image, node, context.site.target(disk.id), "discarded")
    return (
        *((quiet,) if quiet else ()),
        (ClearBoot(disk=disk.id, address=address),),
        (RemoveExport(disk=disk.id, shard=shard, number=disk.number),),
        (DiscardDisk(disk=disk.id, metadata=metadata),),
    )


def finish(command: UnmapNode, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The node is free; the disk's row goes after the disk."""
    disk = context.view.disk(plan.memo["disk"]) if plan.memo["disk"] else None
    node = context.view.node(command.node)
    power = "unknown" if marks.get("power-unverified") else plan.memo["power"]
    event = NodeUnmapped(
        operation=context.operation,
        project=command.project,
        node=command.node,
        disk=disk.name if disk else None,
        power=power,
        changed=plan.memo["changed"],
    )
    if disk is None or node is None:
        return Outcome(event)
    return Outcome(event, (Put(replace(node, disk=None)), Drop(disk)))


def undo(command: UnmapNode, context: Context, plan: Plan, marks: Mapping[str, Any]) -> tuple[Change, ...]:
    """The node keeps its disk. What was half removed stays on its way out: the same command again goes on with it."""
    disk = context.view.disk(plan.memo["disk"]) if plan.memo["disk"] else None
    return (Put(replace(disk, state=DiskState.MAPPED)),) if disk and not marks.get(REMOVING) else ()


HANDLER = Handler(UnmapNode, NodeUnmapped, keys, plan, finish, undo=undo)
