"""node.map: a node gets its own clone of a golden image and boots it, or goes on with a disk that was parked.

The same again succeeds and changes nothing; anything else is refused, naming the disk in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from bmid.errors import Refused
from bmid.handlers import demand, way
from bmid.handlers.base import Context, Handler, Outcome
from bmid.handlers.choice import ImageChoice, LabelsChoice, image_keys
from bmid.handlers.mapping import (
    NewSystem,
    NodeMapped,
    PowerChoice,
    chosen_power,
    free_address,
    mapped,
    new_disk,
    parked,
    with_disk,
)
from bmid.messages.base import NodeCommand
from bmid.model import placement
from bmid.model.change import Change, Drop, Put
from bmid.model.claim import Key
from bmid.model.entity import Disk, DiskState, Image, Node
from bmid.model.name import DiskName, ProjectName
from bmid.steps.base import Plan, Step
from bmid.steps.isolation import RequireAllocated

__all__ = ["HANDLER", "MapNode", "NodeMapped"]

ONE_NODE_ONLY = ("disk", "hostname")
NEW_DISK_ONLY = ("hostname", "ssh_keys", "user_data", "network_config")


class MapNode(NewSystem, NodeCommand):
    """Put a node on an image, or on a parked disk."""

    type: ClassVar[str] = "bmi.node.map.v1"
    project: ProjectName
    image: ImageChoice = None
    image_labels: LabelsChoice = None
    disk: DiskName | None = Field(None, description="in place of `image`: a parked disk of this project, to go on with")
    power: PowerChoice = None
    force: bool = Field(False, description="map an image that seems unable to boot in the node's firmware mode")

    @model_validator(mode="after")
    def _what_fits(self) -> Self:
        if sum(bool(one) for one in (self.image, self.image_labels, self.disk)) != 1:
            raise ValueError("give exactly one of image, image_labels and disk")
        if self.nodes and (wrong := [name for name in ONE_NODE_ONLY if getattr(self, name)]):
            raise ValueError(f"{' and '.join(wrong)} can't be given for a group of nodes")
        if self.disk and (wrong := [name for name in NEW_DISK_ONLY if getattr(self, name)]):
            raise ValueError(f"{' and '.join(wrong)} can be given for a new disk only, not for a parked one")
        return self


def keys(command: MapNode) -> tuple[Key, ...]:
    """Project and image shared, a parked disk and the node exclusively. What is on a node is under the node's key."""
    disk = (Key(f"disk:{command.project}/{command.disk}", exclusive=True),) if command.disk else ()
    return (
        Key(f"project:{command.project}", exclusive=False),
        *image_keys(command.image, command.project),
        *disk,
        Key(f"node:{command.node}", exclusive=True),
    )


def plan(command: MapNode, context: Context) -> Plan:
    """Clone or resume, export, boot pointer, power; or nothing, if that is how it stands."""
    demand.require_project(context.view, command.project)
    node = demand.require_node(context.view, command.node)
    if node.disk and (in_place := context.view.disk(node.disk)):
        if _same(command, context, in_place):
            return Plan(memo={"changed": False, "disk": in_place.id, "power": "untouched"})
        raise Refused(
            "disk-in-place",
            f"node {node.name} is mapped to disk {in_place.name} of project {in_place.project}",
            todo="Unmap it first, or rebuild it.",
            disk=in_place.name,
        )
    demand.require_usable(node)
    kept = demand.require_parked(context.view, command.project, command.disk) if command.disk else None
    image = demand.image_of(context.view, kept) if kept else _image(command, context)
    if kept is None:
        demand.require_usable(image)
    demand.require_bootable(image, node, force=command.force)
    power = chosen_power(command.power, node)
    # First: the counter lets one map plan at a time, so that each sees which shard and address the others took.
    number = context.view.number()
    home = placement.choose_home(context.view.homes())
    if kept:
        disk = _resumed(context, kept, node, home)
        first: Step = way.resume(context, disk, image, with_disk(node, disk), kept)
    else:
        fresh = new_disk(context, command.project, image, node, home, number, free_address(context, node))
        disk = replace(fresh, hostname=command.hostname or node.name, seed=command.seed())
        first = way.clone(context, disk, image, with_disk(node, disk))
    reserve = (Put(disk), Put(with_disk(node, disk)))
    allocated = RequireAllocated(project=disk.project, node=node.name)
    stages = ((allocated,), *way.exported(context, disk, node, first, power))
    memo = {"changed": True, "disk": disk.id, "power": power, "resumed": kept is not None}
    return Plan(reserve, stages, home=disk.head, memo=memo)


def _same(command: MapNode, context: Context, disk: Disk) -> bool:
    if disk.project != command.project or disk.state is not DiskState.MAPPED:
        return False
    if command.disk:
        return disk.name == command.disk
    told = command.hostname in (None, disk.hostname) and command.seed() in (None, disk.seed)
    return told and disk.image == _image(command, context).id


def _image(command: MapNode, context: Context) -> Image:
    return demand.require_image(context.view, command.image, command.image_labels, command.project)


def _resumed(context: Context, kept: Disk, node: Node, home: placement.Home) -> Disk:
    """The same disk with its name, address and host name, on a node again. One that never was on one gets them."""
    address = kept.address or free_address(context, node)
    return replace(
        kept,
        state=DiskState.MAKING,
        node=node.name,
        network=kept.network or context.site.network,
        address=address,
        hostname=kept.hostname or node.name,
        head=home.head,
        shard=home.shard,
        portal=home.portal,
        generation=kept.generation + 1,
    )


def finish(command: MapNode, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The disk is in use, and its boot is watched."""
    return mapped(context, command.node, command.image, plan)


def undo(command: MapNode, context: Context, plan: Plan, marks: Mapping[str, Any]) -> tuple[Change, ...]:
    """The node is free; a new disk is gone, a parked one is parked again."""
    disk, node = context.view.disk(plan.memo["disk"]), context.view.node(command.node)
    free = (Put(with_disk(node, None)),) if node else ()
    if disk is None:
        return free
    return (*free, Put(parked(disk)) if plan.memo.get("resumed") else Drop(disk))


HANDLER = Handler(MapNode, NodeMapped, keys, plan, finish, undo=undo)
