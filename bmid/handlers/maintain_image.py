"""image.maintenance: a golden image is set aside by an operator, or taken back into use, whoever set it aside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from bmid.handlers import aside, demand
from bmid.handlers.aside import Maintenance, State
from bmid.handlers.base import Context, Handler, Outcome
from bmid.messages.base import Event
from bmid.model.change import SetAside
from bmid.model.claim import Key
from bmid.model.entity import Image
from bmid.model.name import ImageName, ProjectName
from bmid.steps.base import Plan

__all__ = ["HANDLER", "ImageMaintained", "MaintainImage"]


class MaintainImage(Maintenance):
    """Set an image aside: no node is mapped to it or rebuilt with it, and no disk is made from it, while the disks that
    there are go on. Or take it back into use, also from quarantine."""

    type: ClassVar[str] = "bmi.image.maintenance.v1"
    project: ProjectName
    image: ImageName

    def subject(self) -> str:
        """The image."""
        return f"image/{self.project}/{self.image}"


class ImageMaintained(Event):
    """The image is set aside, or in use again. `before` says how it was; `changed` is False if all was said before."""

    type: ClassVar[str] = "bmi.image.maintained.v1"
    operation: str
    project: str
    image: str
    state: State = Field(description="how it is now: in-use or maintenance")
    before: State = Field(description="how it was: in-use, maintenance or quarantine")
    reason: str | None = Field(None, description="as the command said it")
    changed: bool

    def subject(self) -> str:
        """The image."""
        return f"image/{self.project}/{self.image}"


def keys(command: MaintainImage) -> tuple[Key, ...]:
    """The project shared, the image exclusively: what was accepted before goes on, what comes after is refused."""
    image = Key(f"image:{command.project}/{command.image}", exclusive=True)
    return (Key(f"project:{command.project}", exclusive=False), image)


def plan(command: MaintainImage, context: Context) -> Plan:
    """Nothing in the world."""
    image = _image(command, context)
    changed = aside.after(command, context, image.aside) != image.aside
    return Plan(memo={"changed": changed, "before": aside.state(image)})


def _image(command: MaintainImage, context: Context) -> Image:
    demand.require_project(context.view, command.project)
    return demand.require_image(context.view, command.image, None, command.project)


def finish(command: MaintainImage, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The row."""
    image = _image(command, context)
    told = aside.after(command, context, image.aside)
    event = ImageMaintained(
        operation=context.operation,
        project=image.project,
        image=image.name,
        state="maintenance" if told else "in-use",
        before=plan.memo["before"],
        reason=command.reason,
        changed=plan.memo["changed"],
    )
    return Outcome(event, (SetAside(image, told),))


HANDLER = Handler(MaintainImage, ImageMaintained, keys, plan, finish)
