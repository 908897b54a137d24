"""portal.move, by the daemon itself: an address has passed to another head, which first exports its disks.

The rows have moved when this begins; each mapped disk is a member of its own (export.restore). When all of them have
ended the address is ready: its new carrier may have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from bmid.handlers.base import Context, Handler, Outcome
from bmid.messages.base import Command, Event
from bmid.model.change import Put
from bmid.model.claim import Key
from bmid.model.name import Label
from bmid.model.operation import Phase
from bmid.steps.base import Plan
from bmid.steps.group import AwaitExports

__all__ = ["HANDLER", "MovePortal", "PortalMoved"]

Why = Literal["dead", "asked"]


class MovePortal(Command):
    """Have an address answered by the head that carries it from now on."""

    type: ClassVar[str] = "bmi.portal.move.v1"
    address: str = Field(description="the address")
    portals: tuple[str, ...] = Field(description="IP:PORT of each portal at it")
    origin: Label = Field(description="the head that carried it")
    head: Label = Field(description="the head that carries it from now on")
    why: Why = Field(description="whether `origin` is dead, or it was asked for")

    def subject(self) -> str:
        """The address."""
        return f"portal/{self.address}"


class PortalMoved(Event):
    """Nodes find their targets at this address again, at another head. Their systems went on meanwhile, and waited."""

    type: ClassVar[str] = "bmi.portal.moved.v1"
    operation: str
    address: str = Field(description="the address at which nodes find their targets")
    portals: tuple[str, ...] = Field(description="IP:PORT of each portal that moved")
    origin: str = Field(description="the head that carried it before")
    head: str = Field(description="the head that carries it now")
    why: Why = Field(description="dead: nothing was heard of `origin`; asked: it is being drained, or a person said so")
    disks: int = Field(description="how many mapped disks moved with it")
    failed: int = Field(description="how many of them are not exported yet; they are tried again")

    def subject(self) -> str:
        """The address."""
        return f"portal/{self.address}"


def keys(command: MovePortal) -> tuple[Key, ...]:
    """The address, exclusively."""
    return (Key(f"portal:{command.address}", exclusive=True),)


def plan(command: MovePortal, context: Context) -> Plan:
    """Wait for the exports, which were accepted with it."""
    return Plan(stages=((AwaitExports(),),))


def finish(command: MovePortal, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The carrier may have the address, unless it has moved on."""
    members = context.view.members(context.operation)
    event = PortalMoved(
        operation=context.operation,
        address=command.address,
        portals=command.portals,
        origin=command.origin,
        head=command.head,
        why=command.why,
        disks=len(members),
        failed=sum(one.phase is not Phase.SUCCEEDED for one in members),
    )
    rows = [row for row in map(context.view.carried, command.portals) if row and row.head == command.head]
    if context.view.moves(command.address) > 1:
        rows = []  # it was away and is back, and the exports of that wait in the line
    return Outcome(event, tuple(Put(replace(row, ready=True)) for row in rows))


HANDLER = Handler(MovePortal, PortalMoved, keys, plan, finish, internal=True, urgent=True)
