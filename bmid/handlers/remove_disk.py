"""disk.remove: a disk that no node has is discarded. Also one whose removal has begun and did not end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from bmid.errors import Refused
from bmid.handlers import way
from bmid.handlers.base import Context, Handler, Outcome
from bmid.handlers.trash import RestorableUntil, restorable_until, thrown
from bmid.messages.base import Command, Event
from bmid.model.change import Put
from bmid.model.claim import Key
from bmid.model.entity import DiskState
from bmid.model.name import DiskName, ProjectName
from bmid.steps.base import Plan

__all__ = ["HANDLER", "DiskRemoved", "RemoveDisk"]


class RemoveDisk(Command):
    """Discard a parked disk."""

    type: ClassVar[str] = "bmi.disk.remove.v1"
    project: ProjectName
    disk: DiskName

    def subject(self) -> str:
        """The disk."""
        return f"disk/{self.project}/{self.disk}"


class DiskRemoved(Event):
    """The disk is gone. `changed` is False if there was none."""

    type: ClassVar[str] = "bmi.disk.removed.v1"
    operation: str
    project: str
    disk: str
    changed: bool
    restorable_until: RestorableUntil = None

    def subject(self) -> str:
        """The disk."""
        return f"disk/{self.project}/{self.disk}"


def keys(command: RemoveDisk) -> tuple[Key, ...]:
    """The project shared, the disk exclusively."""
    disk = Key(f"disk:{command.project}/{command.disk}", exclusive=True)
    return (Key(f"project:{command.project}", exclusive=False), disk)


def plan(command: RemoveDisk, context: Context) -> Plan:
    """Out of the storage, then out of the database."""
    disk = context.view.disk_named(command.project, command.disk)
    if disk is None:
        return Plan(memo={"changed": False})
    if disk.node is not None:
        todo = f"Unmap it: bmi-publish node unmap {disk.node}"
        raise Refused("disk-mapped", f"disk {disk.name} is on node {disk.node}", todo=todo, node=disk.node)
    maker = context.view.operation(disk.id) if disk.state is DiskState.MAKING else None
    if maker is not None and maker.ended_at is None:
        raise Refused("disk-not-ready", f"disk {disk.name} is being made", todo="Wait for its end.")
    stages = ((way.discarded(context, disk, None),),)
    # What was never finished stays known as that, also where its removal doesn't end.
    whole = disk.state is not DiskState.MAKING
    removing = replace(disk, state=DiskState.REMOVING) if whole else disk
    return Plan((Put(removing),), stages, memo={"changed": True, "whole": whole})


def finish(command: RemoveDisk, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The row goes, after the bytes; for as long as those lie in the trash, another one remembers it."""
    disk, whole = context.view.disk_named(command.project, command.disk), bool(plan.memo.get("whole"))
    event = DiskRemoved(
        operation=context.operation,
        project=command.project,
        disk=command.disk,
        changed=plan.memo["changed"],
        restorable_until=restorable_until(context, whole=whole) if disk else None,
    )
    return Outcome(event, thrown(context, disk, whole=whole) if disk else ())


HANDLER = Handler(RemoveDisk, DiskRemoved, keys, plan, finish)
