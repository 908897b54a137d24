"""What setting a node and an image aside have in common, and the events that say that bmid did it itself."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from bmid.errors import Problem
from bmid.handlers.base import Context
from bmid.messages.base import Command, Event
from bmid.model.aside import Aside, AsideState
from bmid.model.entity import Image, Node
from bmid.model.name import Text

__all__ = ["EVENTS", "Action", "ImageSetAside", "Maintenance", "NodeSetAside", "Reason", "State", "after", "state"]

Action = Annotated[
    Literal["on", "off"],
    Field(description="on: set it aside; off: it is in use again, whoever set it aside, its failures forgotten"),
]
Reason = Annotated[Text | None, Field(description="why, for whoever is refused; needed to set it aside")]
State = Literal["in-use", "maintenance", "quarantine"]


class Maintenance(Command):
    """What both commands check."""

    action: Action
    reason: Reason = None

    @model_validator(mode="after")
    def _has_a_reason(self) -> Maintenance:
        if self.action == "on" and not (self.reason or "").strip():
            raise ValueError("give a reason, with action on")
        return self


def after(command: Maintenance, context: Context, before: Aside | None) -> Aside | None:
    """How it is set aside afterwards. The same reason again changes nothing."""
    if command.action == "off":
        return None
    reason = command.reason or ""
    if before and (before.state, before.reason) == (AsideState.MAINTENANCE, reason):
        return before
    since = context.now.isoformat(timespec="seconds")
    return Aside(AsideState.MAINTENANCE, reason, since, context.operation)


def state(thing: Node | Image) -> State:
    """For the event."""
    return thing.aside.state.value if thing.aside else "in-use"


class NodeSetAside(Event):
    """So many operations of a node failed in a row for one reason that nothing new is put on it:
    `bmi.node.maintenance.v1` with action off is the way back."""

    type: ClassVar[str] = "bmi.node.set-aside.v1"
    operation: str
    node: str
    failures: int = Field(description="how many failed in a row")
    reason: str = Field(description="how many, in which step, and the last problem, for people")
    problem: Problem

    def subject(self) -> str:
        """The node."""
        return f"node/{self.node}"


class ImageSetAside(Event):
    """So many operations failed in a row for one reason, at reading an image, that nothing new is made from it:
    `bmi.image.maintenance.v1` with action off is the way back."""

    type: ClassVar[str] = "bmi.image.set-aside.v1"
    operation: str
    project: str
    image: str
    failures: int = Field(description="how many failed in a row")
    reason: str = Field(description="how many, in which step, and the last problem, for people")
    problem: Problem

    def subject(self) -> str:
        """The image."""
        return f"image/{self.project}/{self.image}"


EVENTS = (NodeSetAside, ImageSetAside)
