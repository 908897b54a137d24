"""image.remove: refused while disks or images hang on it, naming them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bmid.errors import Refused
from bmid.handlers.base import Context, Handler, Outcome
from bmid.messages.base import Command, Event
from bmid.model.change import Drop
from bmid.model.claim import Key
from bmid.model.name import ImageName, ProjectName
from bmid.steps.base import Plan
from bmid.steps.image import RemoveImage as RemoveStored

__all__ = ["HANDLER", "ImageRemoved", "RemoveImage"]


class RemoveImage(Command):
    """Remove a golden image that nothing hangs on."""

    type: ClassVar[str] = "bmi.image.remove.v1"
    project: ProjectName
    image: ImageName

    def subject(self) -> str:
        """The image."""
        return f"image/{self.project}/{self.image}"


class ImageRemoved(Event):
    """The image is gone. `changed` is False if there was none."""

    type: ClassVar[str] = "bmi.image.removed.v1"
    operation: str
    project: str
    image: str
    changed: bool

    def subject(self) -> str:
        """The image."""
        return f"image/{self.project}/{self.image}"


def keys(command: RemoveImage) -> tuple[Key, ...]:
    """The project shared, the image exclusively: no map of it is on its way."""
    image = Key(f"image:{command.project}/{command.image}", exclusive=True)
    return (Key(f"project:{command.project}", exclusive=False), image)


def plan(command: RemoveImage, context: Context) -> Plan:
    """Out of the storage, then out of the database."""
    image = context.view.image(command.project, command.image)
    if image is None:
        return Plan(memo={"changed": False})
    disks = [f"disk {disk.name} of project {disk.project}" for disk in context.view.disks_of(image.id)]
    images = [f"image {child.name} of project {child.project}" for child in context.view.children(image.id)]
    if disks or images:
        hanging = [*disks, *images]
        raise Refused(
            "image-in-use",
            f"on image {image.name} hang {', '.join(hanging)}",
            todo="Unmap those nodes and remove those images first.",
            hanging=hanging,
        )
    return Plan(stages=((RemoveStored(image=image.id),),), memo={"changed": True})


def finish(command: RemoveImage, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The row goes, after the bytes."""
    image = context.view.image(command.project, command.image)
    event = ImageRemoved(
        operation=context.operation, project=command.project, image=command.image, changed=plan.memo["changed"]
    )
    return Outcome(event, (Drop(image),) if image else ())


HANDLER = Handler(RemoveImage, ImageRemoved, keys, plan, finish)
