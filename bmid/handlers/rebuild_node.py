"""node.rebuild: a mapped node gets a fresh disk, of the same image or another, in place of the one it has.

The new disk is made first, and the old one is not touched before: where that fails, nothing has happened. Until the old
one is discarded, last of all, every way back leads to it, and to a node that is on if it was; from then on there is
none, and the node is on the new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from bmid.errors import Refused, TransientError
from bmid.handlers import demand, way
from bmid.handlers.base import Context, Handler, Outcome
from bmid.handlers.choice import LabelsChoice, image_keys
from bmid.handlers.mapping import NewSystem, NodeMapped, PowerChoice, chosen_power, mapped, new_disk, with_disk
from bmid.handlers.trash import thrown
from bmid.messages.base import NodeCommand
from bmid.model.change import Change, Drop, Put
from bmid.model.claim import Key
from bmid.model.entity import Disk, DiskState, Image, Node, Seed
from bmid.model.name import ImageRef, ProjectName
from bmid.model.placement import Home
from bmid.steps.base import SETTLED, Plan, Stages
from bmid.steps.boot import PointBoot
from bmid.steps.isolation import RequireAllocated
from bmid.steps.rebuild import DiscardOld, ReturnTo, Settle
from bmid.steps.seed import WriteSeed
from bmid.steps.target import ExportDisk

__all__ = ["HANDLER", "RebuildNode"]


class RebuildNode(NewSystem, NodeCommand):
    """Put a mapped node on a fresh disk, and discard the one it has. Its address stays, and so do host name and seed
    where nothing else is said."""

    type: ClassVar[str] = "bmi.node.rebuild.v1"
    project: ProjectName
    image: ImageRef | None = Field(
        None, description="another golden image; if not said, the one that the disk was made from"
    )
    image_labels: LabelsChoice = None
    power: PowerChoice = None
    force: bool = Field(
        False, description="cut a running node off from its disk, and take an image that seems unable to boot"
    )

    @model_validator(mode="after")
    def _what_fits(self) -> Self:
        if self.image and self.image_labels:
            raise ValueError("give image or image_labels, or neither")
        if self.nodes and self.hostname:
            raise ValueError("hostname can't be given for a group of nodes")
        return self


def keys(command: RebuildNode) -> tuple[Key, ...]:
    """Project and image shared, the node exclusively."""
    return (
        Key(f"project:{command.project}", exclusive=False),
        *image_keys(command.image, command.project),
        Key(f"node:{command.node}", exclusive=True),
    )


def plan(command: RebuildNode, context: Context) -> Plan:
    """The new disk; then the old one's way out; then the new one's way in; then the old one goes."""
    view = context.view
    demand.require_project(view, command.project)
    node, old = demand.require_mapped(view, command.project, command.node)
    demand.require_usable(node)
    image = _image(command, context, old)
    demand.require_usable(image)
    demand.require_bootable(image, node, force=command.force)
    power = chosen_power(command.power, node)
    fresh = new_disk(context, command.project, image, node, _home(context, old), view.number(), old.address or "")
    hostname = command.hostname or old.hostname
    new = replace(fresh, network=old.network, hostname=hostname, seed=_seed(command, old))
    switched = node if power == "cycle" else replace(node, power=None)
    stages: Stages = (
        (RequireAllocated(project=command.project, node=node.name),),
        (way.clone(context, new, image, with_disk(node, new)),),
        *way.back_on(context, switched),
        *way.quiet(context, old, switched, force=command.force),
        (_way_back(context, old, node),),
        *way.removed(old),
        *way.exported(context, new, node, None, power),
    )
    gone = way.discarded(context, old, node)
    last = (Settle(stages=len(stages) + 1),), (DiscardOld(disk=old.id, name=old.name, metadata=gone.metadata),)
    # While the old disk has node and address, the new one's row is without.
    reserve = (Put(replace(old, state=DiskState.REMOVING)), Put(_unplaced(new)))
    memo = {"changed": True, "disk": new.id, "old": old.id, "power": power}
    return Plan(reserve, (*stages, *last), home=old.head, memo=memo)


def _image(command: RebuildNode, context: Context, old: Disk) -> Image:
    if command.image or command.image_labels:
        return demand.require_image(context.view, command.image, command.image_labels, command.project)
    return demand.image_of(context.view, old)


def _home(context: Context, old: Disk) -> Home:
    """Where the old disk is: a plan has one home. A head that is being emptied takes nothing new."""
    home = next((one for one in context.view.homes() if (one.head, one.shard) == (old.head, old.shard)), None)
    if home is None:
        detail = f"head {old.head}, which exports disk {old.name}, is not alive"
        raise TransientError("no-home", detail, todo=f"Start bmid on {old.head}.", delay=5)
    if home.draining:
        detail = f"head {old.head}, which exports disk {old.name}, is being drained"
        raise Refused("head-draining", detail, todo="Unmap the node and map it again: then another head exports it.")
    return home


def _seed(command: RebuildNode, old: Disk) -> Seed | None:
    """What is not said stays as it was."""
    kept = old.seed or Seed()
    seed = Seed(
        command.ssh_keys or kept.ssh_keys,
        command.user_data or kept.user_data,
        command.network_config or kept.network_config,
    )
    return seed if old.seed or command.seed() else None


def _way_back(context: Context, old: Disk, node: Node) -> ReturnTo:
    return ReturnTo(
        export=ExportDisk.of(old, context.site, again=True),
        point=PointBoot.of(node, old, context.site),
        seed=WriteSeed(disk=old.id) if old.seed else None,
    )


def _unplaced(disk: Disk) -> Disk:
    return replace(disk, node=None, network=None, address=None)


def finish(command: RebuildNode, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The node is on the new disk, whose boot is watched; the old one is in the trash."""
    old = context.view.disk(plan.memo["old"])
    return _moved(command, context, plan, *(thrown(context, old) if old else ()))


def undo(command: RebuildNode, context: Context, plan: Plan, marks: Mapping[str, Any]) -> tuple[Change, ...]:
    """The node is on its old disk. If that could only not be discarded, the node is on the new one, and the old one is
    left without a node, for disk.remove."""
    new, old = context.view.disk(plan.memo["disk"]), context.view.disk(plan.memo["old"])
    if marks.get(SETTLED) and old:
        left = replace(_unplaced(old), state=DiskState.REMOVING, head=None, shard=None, portal=None, owner=None)
        return _moved(command, context, plan, Put(left)).changes
    gone: tuple[Change, ...] = (Drop(new),) if new else ()
    return (*gone, Put(replace(old, state=DiskState.MAPPED))) if old else gone


def _moved(command: RebuildNode, context: Context, plan: Plan, *first: Change) -> Outcome:
    view = context.view
    new, old, node = view.disk(plan.memo["disk"]), view.disk(plan.memo["old"]), view.node(command.node)
    assert new is not None and old is not None and node is not None  # noqa: S101, PT018 - rows under our claim
    placed = replace(new, node=node.name, network=old.network, address=old.address)
    return mapped(context, node.name, command.image, plan, *first, Put(with_disk(node, new)), disk=placed)


HANDLER = Handler(RebuildNode, NodeMapped, keys, plan, finish, undo=undo)
