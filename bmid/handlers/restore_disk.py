"""disk.restore: a discarded disk comes back out of the trash, parked: no node has it, and it can be mapped to any.

Host name and seed are those of before. Its address is too, unless somebody has it by now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from bmid.errors import Refused
from bmid.handlers import demand
from bmid.handlers.base import Context, Handler, Outcome, View
from bmid.handlers.trash import TrashId, require_parent, require_trashed
from bmid.messages.base import Command, Event
from bmid.model import placement
from bmid.model.change import Change, Drop, Put
from bmid.model.claim import Key, ordered
from bmid.model.entity import Disk, DiskState
from bmid.model.name import DiskName, ProjectName
from bmid.model.trash import disk_again
from bmid.steps.base import Plan
from bmid.steps.trash import RestoreDisk as RestoreStored

__all__ = ["HANDLER", "DiskRestored", "RestoreDisk"]


class RestoreDisk(Command):
    """Bring a discarded disk back out of the trash, parked."""

    type: ClassVar[str] = "bmi.disk.restore.v1"
    project: ProjectName
    disk: DiskName = Field(description="what the disk was called; the event of the unmap says it")
    id: TrashId = None
    name: DiskName | None = Field(None, description="what it is called from now on; as before, if not said")

    def subject(self) -> str:
        """The disk."""
        return f"disk/{self.project}/{self.name or self.disk}"


class DiskRestored(Event):
    """The disk is there again, parked. `address` is absent where it never had one, or somebody else has it by now."""

    type: ClassVar[str] = "bmi.disk.restored.v1"
    operation: str
    project: str
    disk: str
    id: str
    image: str
    size: int
    address: str | None = None
    changed: bool

    def subject(self) -> str:
        """The disk."""
        return f"disk/{self.project}/{self.disk}"


def keys(command: RestoreDisk) -> tuple[Key, ...]:
    """The project shared, the names of before and after exclusively."""
    names = {command.disk, command.name or command.disk}
    disks = (Key(f"disk:{command.project}/{name}", exclusive=True) for name in names)
    return ordered(Key(f"project:{command.project}", exclusive=False), *disks)


def plan(command: RestoreDisk, context: Context) -> Plan:
    """A row that no node can have yet; then the bytes."""
    view, name = context.view, command.name or command.disk
    demand.require_project(view, command.project)
    # Whoever removes its image, or takes its address, raises this counter too: one of us looks, then the other.
    view.number()
    found = require_trashed(context, "disk", command.project, command.disk, command.id)
    image = require_parent(context, found)
    assert image is not None  # noqa: S101 - every disk was made from an image
    if view.disk_named(command.project, name) is not None:
        detail = f"project {command.project} has a disk {name} already"
        raise Refused("disk-exists", detail, todo="Remove it first, or give another name.")
    disk = _placed(view, replace(disk_again(found), name=name))
    step = RestoreStored(
        disk=disk.id,
        metadata=placement.metadata(disk, image, None, context.site, "parked"),
        before=placement.metadata(disk, image, None, context.site, "discarded"),
    )
    reserve = (Put(replace(disk, state=DiskState.MAKING)),)
    return Plan(reserve, ((step,),), memo={"changed": True, "disk": disk.id, "image": image.reference})


def _placed(view: View, disk: Disk) -> Disk:
    """With the address that it had, if nobody has it or wishes for it."""
    if disk.network and disk.address and disk.address not in view.addresses(disk.network):
        return disk
    return replace(disk, network=None, address=None)


def finish(command: RestoreDisk, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """It is parked, and not in the trash any more."""
    disk, gone = context.view.disk(plan.memo["disk"]), context.view.trashed_by_id(plan.memo["disk"])
    assert disk is not None  # noqa: S101 - a row of ours, under our claim
    event = DiskRestored(
        operation=context.operation,
        project=disk.project,
        disk=disk.name,
        id=disk.id,
        image=plan.memo["image"],
        size=disk.size,
        address=disk.address,
        changed=plan.memo["changed"],
    )
    return Outcome(event, (Put(replace(disk, state=DiskState.PARKED)), *((Drop(gone),) if gone else ())))


def undo(command: RestoreDisk, context: Context, plan: Plan, marks: Mapping[str, Any]) -> tuple[Change, ...]:
    """It lies in the trash, as before."""
    disk = context.view.disk(plan.memo["disk"])
    return (Drop(disk),) if disk else ()


HANDLER = Handler(RestoreDisk, DiskRestored, keys, plan, finish, undo=undo)
