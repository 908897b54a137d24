"""The events that belong to every operation, whatever its command: accepted, progressed, failed, rejected; and what an
operator did with it."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from bmid.errors import Problem
from bmid.messages.base import Event

__all__ = [
    "ClaimBroken",
    "CommandRejected",
    "LeftBehind",
    "OperationAbandoned",
    "OperationAccepted",
    "OperationEvent",
    "OperationFailed",
    "OperationPlanned",
    "OperationProgressed",
    "OperationRetried",
    "PlannedStep",
]


class OperationEvent(Event):
    """An event about an operation."""

    operation: str
    command: str
    project: str | None = None

    def subject(self) -> str:
        """The operation itself."""
        return f"operation/{self.operation}"


class OperationAccepted(OperationEvent):
    """The command is durable and will be carried out. `upload` is the address to PUT bytes to, where it takes any."""

    type: ClassVar[str] = "bmi.operation.accepted.v1"
    about: str | None = Field(None, description="what the command is about, `node/n1`")
    upload: str | None = None


class PlannedStep(BaseModel):
    """A step as it would be done. Steps of one stage may run side by side."""

    model_config = ConfigDict(frozen=True)

    step: str
    stage: int
    details: dict[str, Any] = Field(default_factory=dict)


class OperationPlanned(OperationEvent):
    """The end of a dry run: what would be done now, and nothing was. `changed` False: all is as asked already.
    `home` is the head that would do it; None: any."""

    type: ClassVar[str] = "bmi.operation.planned.v1"
    changed: bool
    home: str | None = None
    steps: tuple[PlannedStep, ...] = ()


class OperationProgressed(OperationEvent):
    """Long work goes on: bytes done and in all, or nodes of a group, at most once a second."""

    type: ClassVar[str] = "bmi.operation.progressed.v1"
    step: str
    done: int
    total: int


class OperationFailed(OperationEvent):
    """The end of an operation that did not do what was asked. `refused`: the state said no, and nothing was done."""

    type: ClassVar[str] = "bmi.operation.failed.v1"
    refused: bool = False
    problem: Problem


class OperationRetried(OperationEvent):
    """An operator had it looked at again at once. `phase` is its phase from then on: one that was stuck goes on with
    its way back."""

    type: ClassVar[str] = "bmi.operation.retried.v1"
    phase: str = Field(description="from now on")
    reason: str | None = Field(None, description="as the operator said it")


class LeftBehind(BaseModel):
    """Something that an abandoned operation leaves, as `bmid fsck` finds it from now on: its kind, what it is about,
    where it is. `parts` are the things in the world that belong to it."""

    model_config = ConfigDict(frozen=True)

    kind: str
    subject: str
    where: str
    what: str
    todo: str
    parts: tuple[str, ...] = ()


class OperationAbandoned(OperationEvent):
    """An operator ended a stuck operation; `bmi.operation.failed.v1` follows at once. `unseen` says where nobody could
    look, and why: there, too, `steps` may have left something."""

    type: ClassVar[str] = "bmi.operation.abandoned.v1"
    reason: str = Field(description="as the operator said it")
    left: tuple[LeftBehind, ...] = Field((), description="what it leaves behind")
    unseen: dict[str, str] = Field(default_factory=dict, description="places where nobody could look, and why")
    steps: tuple[str, ...] = Field((), description="the kinds of its steps")
    cut_off: tuple[str, ...] = Field(
        (), description="who was cut off from the storage: had it in hand, never gave it back, and may still wake"
    )


class ClaimBroken(Event):
    """An operator took claims away from their holder, which touches nothing any more; whoever is next goes on."""

    type: ClassVar[str] = "bmi.claim.broken.v1"
    key: str = Field(description="the claim that was named")
    keys: tuple[str, ...] = Field(description="all that went with it: those of the same operation")
    holder: str = Field(description="head and running instance")
    alive: bool = Field(description="whether that instance was heard of lately")
    operation: str | None = None
    reason: str = Field(description="as the operator said it")

    def subject(self) -> str:
        """The claim."""
        return f"claim/{self.key}"


class CommandRejected(Event):
    """The command can never be accepted as it is: all reasons, and what to do."""

    type: ClassVar[str] = "bmi.command.rejected.v1"
    message: str
    source: str
    command: str
    project: str | None = None
    reasons: tuple[str, ...]
    problem: Problem

    def subject(self) -> str:
        """The message that was rejected."""
        return f"message/{self.message}"
