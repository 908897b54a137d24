"""node.map: a node gets its own clone of a golden image and boots it.

The same again succeeds and changes nothing; another image is refused, naming the disk in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field

from bmid.errors import Refused
from bmid.handlers.base import Context, Handler, Outcome
from bmid.messages.base import Command, Event
from bmid.model import placement
from bmid.model.change import Change, Drop, Put
from bmid.model.claim import Key
from bmid.model.entity import Boot, BootStage, Disk, DiskState, Firmware, Image, Node
from bmid.model.name import ImageRef, NodeName, ProjectName, split_image
from bmid.steps.base import Plan, Stages
from bmid.steps.boot import PointBoot
from bmid.steps.disk import CloneDisk
from bmid.steps.isolation import RequireAllocated
from bmid.steps.power import BootFromNetwork, CyclePower
from bmid.steps.target import ExportDisk

__all__ = ["HANDLER", "MapNode", "NodeMapped"]


class MapNode(Command):
    """Put a node on an image."""

    type: ClassVar[str] = "bmi.node.map.v1"
    project: ProjectName
    node: NodeName
    image: ImageRef = Field(description="a golden image, `image` of this project or `project/image`")
    power: Literal["cycle", "none"] | None = Field(
        None, description="cycle: power cycle it; none: leave power alone; not said: cycle where there is a driver"
    )
    force: bool = Field(False, description="map an image that seems unable to boot in the node's firmware mode")

    def subject(self) -> str:
        """The node."""
        return f"node/{self.node}"


class NodeMapped(Event):
    """The node is led to its disk. It doesn't say that the node has booted: `bmi.node.booted.v1` does."""

    type: ClassVar[str] = "bmi.node.mapped.v1"
    operation: str
    project: str
    node: str
    image: str
    disk: str
    address: str
    hostname: str
    target: str
    portal: str
    power: str
    changed: bool

    def subject(self) -> str:
        """The node."""
        return f"node/{self.node}"


def keys(command: MapNode) -> tuple[Key, ...]:
    """Project and image shared, the node (and with it its disk) exclusively."""
    owner, image = split_image(command.image, command.project)
    return (
        Key(f"project:{command.project}", exclusive=False),
        Key(f"image:{owner}/{image}", exclusive=False),
        Key(f"node:{command.node}", exclusive=True),
    )


def plan(command: MapNode, context: Context) -> Plan:
    """Clone, export, boot pointer, power; or nothing, if that is how it stands."""
    image, node = _image(command, context), _node(command, context)
    in_place = context.view.disk(node.disk) if node.disk else None
    if in_place:
        same = (in_place.image, in_place.project) == (image.id, command.project)
        if same and in_place.state is DiskState.MAPPED:
            return Plan(memo={"changed": False, "disk": in_place.id, "power": "untouched"})
        raise Refused(
            "disk-in-place",
            f"node {node.name} is mapped to disk {in_place.name} of project {in_place.project}",
            todo="Unmap it first.",
            disk=in_place.name,
        )
    _require_bootable(command, image, node)
    power = command.power or ("cycle" if node.power else "none")
    if power == "cycle" and node.power is None:
        detail = f"node {node.name} has no power driver, so it can't be cycled"
        raise Refused("no-power-driver", detail, todo="Register its power, or map it with power: none.")
    # First: the counter lets one map plan at a time, so that each sees which shard and address the others took.
    number = context.view.number()
    home = placement.choose_home(context.view.homes())
    disk = _disk(context, image, node, home, number, command.project)
    reserve = (Put(disk), Put(_with_disk(node, disk)))
    stages = _stages(context, disk, image, node, power)
    return Plan(reserve, stages, home=disk.head, memo={"changed": True, "disk": disk.id, "power": power})


def _image(command: MapNode, context: Context) -> Image:
    if context.view.project(command.project) is None:
        detail = f"there is no project {command.project}"
        raise Refused("project-unknown", detail, todo=f"Create it: bmi-publish project create {command.project}")
    owner, name = split_image(command.image, command.project)
    image = context.view.image(owner, name)
    if image is None or not image.ready:
        raise Refused("image-unknown", f"there is no image {owner}/{name}", todo="bmi-publish image list shows them.")
    return image


def _node(command: MapNode, context: Context) -> Node:
    node = context.view.node(command.node)
    if node is None:
        detail = f"there is no node {command.node}"
        raise Refused("node-unknown", detail, todo=f"Register it: bmi-publish node register {command.node} --macs ...")
    return node


def _require_bootable(command: MapNode, image: Image, node: Node) -> None:
    fits = bool(image.firmware) if node.firmware is Firmware.ANY else node.firmware.value in image.firmware
    if fits or command.force:
        return
    modes = " and ".join(image.firmware) or "in no firmware mode that was recognised"
    raise Refused(
        "firmware-mismatch",
        f"image {image.name} boots {modes}; node {node.name} has firmware {node.firmware.value}",
        todo="Choose another image, register the node's firmware anew, or send the command with force: true.",
        firmware=list(image.firmware),
    )


def _disk(context: Context, image: Image, node: Node, home: placement.Home, number: int, project: str) -> Disk:
    network = context.view.network(context.site.network)
    if network is None:
        raise Refused("network-unknown", f"there is no boot network {context.site.network}")
    taken = dict(context.view.addresses(network.name))
    if node.address and taken.get(node.address) == node.name:
        del taken[node.address]
    address = placement.choose_address(network, taken, node.address, node.name)
    return Disk(
        id=context.operation,
        project=project,
        name=f"{node.name[:50]}-{context.operation[-12:]}",
        image=image.id,
        size=image.size,
        number=number,
        state=DiskState.MAKING,
        created_at=context.now,
        node=node.name,
        network=network.name,
        address=address,
        hostname=node.name,
        head=home.head,
        shard=home.shard,
        generation=1,
    )


def _with_disk(node: Node, disk: Disk | None) -> Node:
    return replace(node, disk=disk.id if disk else None, generation=node.generation + (1 if disk else 0))


def _stages(context: Context, disk: Disk, image: Image, node: Node, power: str) -> Stages:
    metadata = placement.metadata(disk, image, node, context.site.target(disk.id), "mapped")
    clone = CloneDisk(image=image.id, disk=disk.id, metadata=metadata)
    export = ExportDisk.of(disk, context.site)
    point = PointBoot.of(node, disk, context.site)
    allocated = RequireAllocated(project=disk.project, node=node.name)
    if power == "none" or node.power is None:
        return ((allocated,), (clone,), (export,), (point,))
    bmc = vars(node.power)
    return ((allocated,), (clone, BootFromNetwork(**bmc)), (export,), (point,), (CyclePower(**bmc),))


def finish(command: MapNode, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The disk is in use, and its boot is watched."""
    disk = context.view.disk(plan.memo["disk"])
    node = context.view.node(command.node)
    assert disk is not None and node is not None  # noqa: S101, PT018 - rows of ours, under our claim
    event = _mapped(command, context, disk, plan)
    if not plan.memo["changed"]:
        return Outcome(event)
    powered = plan.memo["power"] == "cycle"
    boot = Boot(
        disk=disk.id,
        node=node.name,
        project=disk.project,
        operation=context.operation,
        correlation=context.correlation,
        stage=BootStage.WAITING,
        attempt=1,
        started_at=context.now,
        deadline=context.now + timedelta(seconds=context.site.boot_deadline) if powered else None,
    )
    return Outcome(event, (Put(replace(disk, state=DiskState.MAPPED)), Put(boot)))


def _mapped(command: MapNode, context: Context, disk: Disk, plan: Plan) -> NodeMapped:
    network = context.view.network(disk.network or "")
    return NodeMapped(
        operation=context.operation,
        project=command.project,
        node=command.node,
        image=command.image,
        disk=disk.name,
        address=disk.address or "",
        hostname=disk.hostname or command.node,
        target=context.site.target(disk.id),
        portal=network.portal if network else "",
        power=plan.memo["power"],
        changed=plan.memo["changed"],
    )


def undo(command: MapNode, context: Context, plan: Plan, marks: Mapping[str, Any]) -> tuple[Change, ...]:
    """The node is free, the disk is gone."""
    disk, node = context.view.disk(plan.memo["disk"]), context.view.node(command.node)
    return (*([Put(_with_disk(node, None))] if node else []), *([Drop(disk)] if disk else []))


HANDLER = Handler(MapNode, NodeMapped, keys, plan, finish, undo=undo)
