"""image.remove: refused while disks or images hang on it, naming them.

From the moment it is planned nobody can map, copy or export the image. Its bytes lie in the trash until they expire.
One whose bytes are gone stays out of reach until the same command, sent again, has finished the removal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from bmid.errors import Refused
from bmid.handlers.base import Context, Handler, Outcome
from bmid.handlers.trash import RestorableUntil, restorable_until, thrown
from bmid.messages.base import Command, Event
from bmid.model.change import Change, Put
from bmid.model.claim import Key
from bmid.model.name import ImageName, ProjectName
from bmid.steps.base import Plan
from bmid.steps.image import GONE
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
    restorable_until: RestorableUntil = None

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
    # Who maps by labels has no key of the image, but raises this counter too: one of us looks, then the other.
    context.view.number()
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
    reserve = (Put(replace(image, ready=False)),)
    memo = {"changed": True, "image": image.id, "whole": image.ready}
    return Plan(reserve, ((RemoveStored(image=image.id),),), memo=memo)


def finish(command: RemoveImage, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The row goes after the bytes, and with it whatever it was the default for; for as long as the bytes lie in the
    trash, another one remembers it."""
    image, whole = context.view.image(command.project, command.image), bool(plan.memo.get("whole"))
    event = ImageRemoved(
        operation=context.operation,
        project=command.project,
        image=command.image,
        changed=plan.memo["changed"],
        restorable_until=restorable_until(context, whole=whole) if image else None,
    )
    # Its row has been out of reach since the plan, but it was ready before.
    return Outcome(event, thrown(context, replace(image, ready=whole), whole=whole) if image else ())


def undo(command: RemoveImage, context: Context, plan: Plan, marks: Mapping[str, Any]) -> tuple[Change, ...]:
    """The image is there for all again, unless its bytes are gone."""
    image = context.view.image_by_id(plan.memo["image"])
    return (Put(replace(image, ready=True)),) if image and not marks.get(GONE) else ()


HANDLER = Handler(RemoveImage, ImageRemoved, keys, plan, finish, undo=undo)
