"""image.update: what people and services say about a golden image, and what it is the default for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from bmid.handlers import demand, golden
from bmid.handlers.base import Context, Handler, Outcome, View
from bmid.messages.base import Command, Event
from bmid.model.change import Change, Drop, Put
from bmid.model.claim import Key
from bmid.model.entity import Image, ImageDefault, default_id
from bmid.model.name import ImageName, Labels, ProjectName, Text
from bmid.steps.base import Plan
from bmid.steps.image import DescribeImage

__all__ = ["HANDLER", "ImageUpdated", "UpdateImage"]


class UpdateImage(Command):
    """Change the description or the labels of an image, or what it is the default for. What isn't given stays."""

    type: ClassVar[str] = "bmi.image.update.v1"
    project: ProjectName
    image: ImageName
    description: Text | None = Field(None, description="replaces the description")
    labels: Labels | None = Field(None, description="replace all labels")
    default_for: Labels | None = Field(
        None,
        min_length=1,
        description="from now on the project means this image by exactly these labels, and no other one",
    )
    no_default: bool = Field(
        False, description="the project means this image by no labels any more, but for those of `default_for`"
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.description is None and self.labels is None and self.default_for is None and not self.no_default:
            raise ValueError("give at least one of description, labels, default_for and no_default")
        return self

    def subject(self) -> str:
        """The image."""
        return f"image/{self.project}/{self.image}"


class ImageUpdated(Event):
    """What is said of the image now. `changed` is False if it was said before."""

    type: ClassVar[str] = "bmi.image.updated.v1"
    operation: str
    project: str
    image: str
    description: str
    labels: dict[str, str]
    defaults: tuple[dict[str, str], ...] = Field(description="the sets of labels by which the project means this image")
    changed: bool

    def subject(self) -> str:
        """The image."""
        return f"image/{self.project}/{self.image}"


def keys(command: UpdateImage) -> tuple[Key, ...]:
    """The project shared, the image exclusively."""
    image = Key(f"image:{command.project}/{command.image}", exclusive=True)
    return (Key(f"project:{command.project}", exclusive=False), image)


def plan(command: UpdateImage, context: Context) -> Plan:
    """What is said of the image is written beside it, too."""
    demand.require_project(context.view, command.project)
    if command.default_for is not None or command.no_default:
        # The counter lets one of us at a time look: two images may want the same labels, under different keys.
        context.view.number()
    image = demand.require_image(context.view, command.image, None, command.project)
    told = _told(command, image)
    now, before = golden.described(told, context.site), golden.described(image, context.site)
    describe = DescribeImage(image=image.id, metadata=now, before=before)
    stages = ((describe,),) if told != image else ()
    return Plan(stages=stages, memo={"changed": bool(_changes(command, context.view, image))})


def finish(command: UpdateImage, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The rows."""
    image = context.view.image(command.project, command.image)
    assert image is not None  # noqa: S101 - it was there in this very transaction
    told = _told(command, image)
    defaults = _defaults(command, context.view, image)
    event = ImageUpdated(
        operation=context.operation,
        project=image.project,
        image=image.name,
        description=told.description,
        labels=told.labels,
        defaults=tuple(one.labels for one in defaults),
        changed=plan.memo["changed"],
    )
    return Outcome(event, _changes(command, context.view, image))


def _changes(command: UpdateImage, view: View, image: Image) -> tuple[Change, ...]:
    told, before, after = _told(command, image), view.defaults_of(image.id), _defaults(command, view, image)
    return (
        *([Put(told)] if told != image else []),
        *(Drop(one) for one in before if one not in after),
        *(Put(one) for one in after if one not in before),
    )


def _told(command: UpdateImage, image: Image) -> Image:
    description = image.description if command.description is None else command.description
    return replace(image, description=description, labels=image.labels if command.labels is None else command.labels)


def _defaults(command: UpdateImage, view: View, image: Image) -> list[ImageDefault]:
    """What the image is the default for afterwards."""
    kept = [] if command.no_default else list(view.defaults_of(image.id))
    if command.default_for is None:
        return kept
    labels = command.default_for
    new = ImageDefault(default_id(image.project, labels), image.project, labels, image.id)
    return [one for one in kept if one.id != new.id] + [new]


HANDLER = Handler(UpdateImage, ImageUpdated, keys, plan, finish)
