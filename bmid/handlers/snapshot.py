"""What snapshots of disks have in common, on a node or parked: rows, stretches of plans, outcome. No command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from bmid.handlers import demand, golden
from bmid.handlers.base import Context, Outcome
from bmid.messages.base import Event
from bmid.model.change import Put
from bmid.model.entity import Disk, Image
from bmid.model.name import ImageName, Labels, Text
from bmid.model.site import Site
from bmid.steps.base import Plan, Stages
from bmid.steps.snapshot import DuplicateDisk, FreezeDisk, ThawDisk

__all__ = ["ImageCreated", "NewImage", "copied", "created", "new_image", "sealed"]


class NewImage(BaseModel):
    """The fields that say what a new image is called and what it is."""

    image: ImageName = Field(description="what the new image is called, in the same project")
    description: Text = Field("", description="free text, kept with the image")
    labels: Labels = Field(default_factory=dict, description="free keys and values, kept with the image")


class ImageCreated(Event):
    """A disk has become a golden image, which needs the disk no longer. `parent` is the image that the disk was made
    from; it can't be removed before this one. `crash_consistent`: the disk was perhaps in use."""

    type: ClassVar[str] = "bmi.image.created.v1"
    operation: str
    project: str
    image: str
    id: str
    size: int
    format: str
    firmware: tuple[str, ...]
    disk: str
    node: str | None = None
    parent: str
    crash_consistent: bool = False

    def subject(self) -> str:
        """The image."""
        return f"image/{self.project}/{self.image}"


def new_image(command: NewImage, context: Context, disk: Disk) -> Image:
    """The row of the image, not ready yet; or a refusal, if the name is taken."""
    demand.require_free_image(context.view, disk.project, command.image)
    return Image(
        id=context.operation,
        project=disk.project,
        name=command.image,
        size=disk.size,
        format="raw",
        sha256="",
        firmware=(),
        created_at=context.now,
        description=command.description,
        labels=dict(command.labels),
        parent=disk.image,
    )


def copied(disk: Disk, image: Image) -> Stages:
    """From the disk to an image that nobody can use yet. The snapshot is called like it."""
    freeze = FreezeDisk(disk=disk.id, snapshot=image.id, image=image.id)
    return (freeze,), (DuplicateDisk(disk=disk.id, snapshot=image.id, image=image.id),)


def sealed(disk: Disk, image: Image, site: Site) -> Stages:
    """The image is golden, and the disk as it was."""
    return (golden.seal(image, site, disk=disk.id),), (ThawDisk(disk=disk.id, snapshot=image.id),)


def created(
    context: Context, plan: Plan, marks: Mapping[str, Any], *, node: str | None = None, crash_consistent: bool = False
) -> Outcome:
    """The image can be mapped from now on."""
    disk = context.view.disk(plan.memo["disk"])
    assert disk is not None  # noqa: S101 - nobody removes it under our claim
    ready = replace(golden.reserved(context), firmware=tuple(marks.get("firmware") or ()), ready=True)
    event = ImageCreated(
        operation=context.operation,
        project=ready.project,
        image=ready.name,
        id=ready.id,
        size=ready.size,
        format=ready.format,
        firmware=ready.firmware,
        disk=disk.name,
        node=node,
        parent=demand.image_of(context.view, disk).reference,
        crash_consistent=crash_consistent,
    )
    return Outcome(event, (Put(ready),))
