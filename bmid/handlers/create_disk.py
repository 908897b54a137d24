"""disk.create: a disk without node and target, for other provisioners or to be mapped later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from bmid.errors import Refused
from bmid.handlers import demand, way
from bmid.handlers.base import Context, Handler, Outcome
from bmid.handlers.choice import ImageChoice, LabelsChoice, image_keys
from bmid.messages.base import Command, Event
from bmid.model.change import Change, Drop, Put
from bmid.model.claim import Key
from bmid.model.entity import Disk, DiskState
from bmid.model.name import DiskName, ProjectName
from bmid.steps.base import Plan
from bmid.steps.disk import LocateDisk

__all__ = ["HANDLER", "CreateDisk", "DiskCreated"]


class CreateDisk(Command):
    """Make a disk of an image, without a node."""

    type: ClassVar[str] = "bmi.disk.create.v1"
    project: ProjectName
    disk: DiskName = Field(description="what the disk is called, in the project")
    image: ImageChoice = None
    image_labels: LabelsChoice = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if bool(self.image) == bool(self.image_labels):
            raise ValueError("give exactly one of image and image_labels")
        return self

    def subject(self) -> str:
        """The disk."""
        return f"disk/{self.project}/{self.disk}"


class DiskCreated(Event):
    """The disk is there, parked: no node has it. `location` is where it is in the storage (`pool/name` or a path)."""

    type: ClassVar[str] = "bmi.disk.created.v1"
    operation: str
    project: str
    disk: str
    id: str
    image: str
    size: int
    location: str
    changed: bool

    def subject(self) -> str:
        """The disk."""
        return f"disk/{self.project}/{self.disk}"


def keys(command: CreateDisk) -> tuple[Key, ...]:
    """Project and image shared, the disk exclusively."""
    return (
        Key(f"project:{command.project}", exclusive=False),
        *image_keys(command.image, command.project),
        Key(f"disk:{command.project}/{command.disk}", exclusive=True),
    )


def plan(command: CreateDisk, context: Context) -> Plan:
    """Clone, and note where it is. The same again only says where."""
    demand.require_project(context.view, command.project)
    image = demand.require_image(context.view, command.image, command.image_labels, command.project)
    known = context.view.disk_named(command.project, command.disk)
    if known is not None:
        if known.state is DiskState.PARKED and known.image == image.id:
            return Plan(stages=((LocateDisk(disk=known.id),),), memo={"changed": False, "disk": known.id})
        detail = f"project {command.project} has a disk {command.disk} already"
        raise Refused("disk-exists", detail, todo="Remove it first, or choose another name.")
    demand.require_usable(image)
    disk = Disk(
        id=context.operation,
        project=command.project,
        name=command.disk,
        image=image.id,
        size=image.size,
        number=context.view.number(),
        state=DiskState.MAKING,
        created_at=context.now,
        generation=0,
    )
    stages = ((way.clone(context, disk, image, None),), (LocateDisk(disk=disk.id),))
    return Plan((Put(disk),), stages, memo={"changed": True, "disk": disk.id})


def finish(command: CreateDisk, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The disk is parked."""
    disk = context.view.disk(plan.memo["disk"])
    assert disk is not None  # noqa: S101 - a row of ours, under our claim
    event = DiskCreated(
        operation=context.operation,
        project=disk.project,
        disk=disk.name,
        id=disk.id,
        image=demand.image_of(context.view, disk).reference,
        size=disk.size,
        location=str(marks.get("location", "")),
        changed=plan.memo["changed"],
    )
    changes = (Put(replace(disk, state=DiskState.PARKED)),) if plan.memo["changed"] else ()
    return Outcome(event, changes)


def undo(command: CreateDisk, context: Context, plan: Plan, marks: Mapping[str, Any]) -> tuple[Change, ...]:
    """There is no disk; unless it was there before."""
    disk = context.view.disk(context.operation)
    return (Drop(disk),) if disk else ()


HANDLER = Handler(CreateDisk, DiskCreated, keys, plan, finish, undo=undo)
