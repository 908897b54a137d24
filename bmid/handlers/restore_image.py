"""image.restore: a removed image comes back out of the trash, under its name or another one.

What it was the default for is not brought back: somebody may mean another image by those labels now.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from bmid.handlers import demand, golden
from bmid.handlers.base import Context, Handler, Outcome
from bmid.handlers.trash import TrashId, require_parent, require_trashed
from bmid.messages.base import Command, Event
from bmid.model.change import Change, Drop, Put
from bmid.model.claim import Key, ordered
from bmid.model.name import ImageName, ProjectName
from bmid.model.trash import image_again
from bmid.steps.base import Plan
from bmid.steps.trash import RestoreImage as RestoreStored

__all__ = ["HANDLER", "ImageRestored", "RestoreImage"]


class RestoreImage(Command):
    """Bring a removed image back out of the trash."""

    type: ClassVar[str] = "bmi.image.restore.v1"
    project: ProjectName
    image: ImageName = Field(description="what the image was called")
    id: TrashId = None
    name: ImageName | None = Field(None, description="what it is called from now on; as before, if not said")

    def subject(self) -> str:
        """The image."""
        return f"image/{self.project}/{self.name or self.image}"


class ImageRestored(Event):
    """The image is golden again, with the id and the bytes that it had."""

    type: ClassVar[str] = "bmi.image.restored.v1"
    operation: str
    project: str
    image: str
    id: str
    size: int
    changed: bool

    def subject(self) -> str:
        """The image."""
        return f"image/{self.project}/{self.image}"


def keys(command: RestoreImage) -> tuple[Key, ...]:
    """The project shared, the names of before and after exclusively."""
    names = {command.image, command.name or command.image}
    images = (Key(f"image:{command.project}/{name}", exclusive=True) for name in names)
    return ordered(Key(f"project:{command.project}", exclusive=False), *images)


def plan(command: RestoreImage, context: Context) -> Plan:
    """A row that nobody can use yet; then the bytes."""
    demand.require_project(context.view, command.project)
    # Whoever removes what it was made from raises this counter too: one of us looks, then the other.
    context.view.number()
    found = require_trashed(context, "image", command.project, command.image, command.id)
    require_parent(context, found)
    demand.require_free_image(context.view, command.project, command.name or command.image)
    before = image_again(found)
    image = replace(before, name=command.name or command.image, ready=False)
    metadata = golden.described(image, context.site) if image.name != before.name else None
    step = RestoreStored(image=image.id, metadata=metadata)
    return Plan((Put(image),), ((step,),), memo={"changed": True, "image": image.id})


def finish(command: RestoreImage, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """It can be mapped, and is not in the trash any more."""
    image, gone = context.view.image_by_id(plan.memo["image"]), context.view.trashed_by_id(plan.memo["image"])
    assert image is not None  # noqa: S101 - a row of ours, under our claim
    event = ImageRestored(
        operation=context.operation,
        project=image.project,
        image=image.name,
        id=image.id,
        size=image.size,
        changed=plan.memo["changed"],
    )
    return Outcome(event, (Put(replace(image, ready=True)), *((Drop(gone),) if gone else ())))


def undo(command: RestoreImage, context: Context, plan: Plan, marks: Mapping[str, Any]) -> tuple[Change, ...]:
    """It lies in the trash, as before."""
    image = context.view.image_by_id(plan.memo["image"])
    return (Drop(image),) if image else ()


HANDLER = Handler(RestoreImage, ImageRestored, keys, plan, finish, undo=undo)
