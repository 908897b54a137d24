"""disk.snapshot: a parked disk becomes a golden image, and stays parked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bmid.handlers import demand, golden, snapshot
from bmid.handlers.base import Context, Handler, Outcome
from bmid.handlers.snapshot import ImageCreated, NewImage
from bmid.messages.base import Command
from bmid.model.change import Put
from bmid.model.claim import Key
from bmid.model.name import DiskName, ProjectName
from bmid.steps.base import Plan

__all__ = ["HANDLER", "SnapshotDisk"]


class SnapshotDisk(NewImage, Command):
    """Make a golden image of a parked disk."""

    type: ClassVar[str] = "bmi.disk.snapshot.v1"
    project: ProjectName
    disk: DiskName

    def subject(self) -> str:
        """The disk."""
        return f"disk/{self.project}/{self.disk}"


def keys(command: SnapshotDisk) -> tuple[Key, ...]:
    """The project shared, the new image and the disk exclusively."""
    return (
        Key(f"project:{command.project}", exclusive=False),
        Key(f"image:{command.project}/{command.image}", exclusive=True),
        Key(f"disk:{command.project}/{command.disk}", exclusive=True),
    )


def plan(command: SnapshotDisk, context: Context) -> Plan:
    """Freeze, copy, seal, thaw: nobody uses what is parked. On this head, where the copy's child is."""
    disk = demand.require_parked(context.view, command.project, command.disk)
    image = snapshot.new_image(command, context, disk)
    stages = (*snapshot.copied(disk, image), *snapshot.sealed(disk, image, context.site))
    return Plan((Put(image),), stages, home=context.head, memo={"disk": disk.id})


def finish(command: SnapshotDisk, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The image is ready."""
    return snapshot.created(context, plan, marks)


HANDLER = Handler(SnapshotDisk, ImageCreated, keys, plan, finish, undo=golden.undo)
