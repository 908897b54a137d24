"""orphan.remove, by the daemon itself: something of ours that no row knows is taken away.

Whether no row knows it is looked at again, under the keys of whatever it may have belonged to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field

from bmid.handlers.base import Context, Handler, Outcome
from bmid.messages.base import Command, Event
from bmid.model.change import Change, Put
from bmid.model.claim import Key, ordered
from bmid.model.entity import DiskState
from bmid.model.finding import SHARED, Kind
from bmid.model.recovery import thrown
from bmid.model.remnant import Remnant
from bmid.model.trash import Trashed
from bmid.steps.base import Plan, Step
from bmid.steps.boot import ClearBoot
from bmid.steps.image import RemoveImage
from bmid.steps.reconcile import DiscardOrphan, RemovePartial, RemoveStray
from bmid.steps.seed import RemoveSeed
from bmid.steps.snapshot import ThawDisk

__all__ = ["HANDLER", "OrphanRemoved", "RemoveOrphan"]


class RemoveOrphan(Command):
    """Take away what no row knows. Disks and images go to the trash."""

    type: ClassVar[str] = "bmi.orphan.remove.v1"
    kind: Kind = Field(description="what it is, as it was found")
    id: str
    head: str = Field(description="the head where it is; empty: it is in the storage")
    project: str | None = None
    name: str | None = Field(None, description="the name of the disk or image that it belonged to")
    node: str | None = None
    details: dict[str, str] = Field(default_factory=dict, description="what its removal has to know")

    def subject(self) -> str:
        """The orphan."""
        return f"orphan/{self.id}"


class OrphanRemoved(Event):
    """It is gone. `changed` is False if a row knows it by now."""

    type: ClassVar[str] = "bmi.orphan.removed.v1"
    operation: str
    kind: str = Field(description="what it was, as it was found")
    id: str
    head: str = Field(description="the head where it was; empty: in the storage")
    changed: bool

    def subject(self) -> str:
        """The orphan."""
        return f"orphan/{self.id}"


def keys(command: RemoveOrphan) -> tuple[Key, ...]:
    """Those of what it may have belonged to, and itself."""
    what = "image" if command.kind is Kind.IMAGE_ORPHANED else "disk"
    named = [f"{what}:{command.project}/{command.name}"] if command.project and command.name else []
    named += [f"node:{command.node}"] if command.node else []
    return ordered(*(Key(name, exclusive=True) for name in (*named, f"look:{command.kind}/{command.id}")))


def plan(command: RemoveOrphan, context: Context) -> Plan:
    """Unless a row knows it by now."""
    if _known(command, context):
        return Plan(memo={"changed": False})
    home = command.head if command.head != SHARED else None
    return Plan(stages=((_step(command, context),),), home=home, memo={"changed": True})


def _known(command: RemoveOrphan, context: Context) -> bool:
    view, kind = context.view, command.kind
    if kind is Kind.IMAGE_ORPHANED:
        return view.image_by_id(command.id) is not None
    if kind is Kind.EXPORT_LEFT:
        return _goes_on(context, command.id)
    disk = view.disk(command.id)
    if kind is Kind.SNAPSHOT_ORPHANED:
        return disk is not None and _goes_on(context, command.details["snapshot"])
    if kind is Kind.DISK_ORPHANED or disk is None:
        return disk is not None
    if kind is Kind.SEED_ORPHANED and disk.seed is None:
        return False
    return disk.head == command.head and disk.state is not DiskState.PARKED


def _goes_on(context: Context, operation: str) -> bool:
    found = context.view.operation(operation)
    return found is not None and found.ended_at is None


def _step(command: RemoveOrphan, context: Context) -> Step:
    identifier, details = command.id, command.details
    match command.kind:
        case Kind.DISK_ORPHANED:
            metadata = {**json.loads(details["metadata"]), "state": "discarded"}
            return DiscardOrphan(disk=identifier, metadata=metadata)
        case Kind.IMAGE_ORPHANED:
            return RemoveImage(image=identifier)
        case Kind.SNAPSHOT_ORPHANED:
            return ThawDisk(disk=identifier, snapshot=details["snapshot"])
        case Kind.POINTER_ORPHANED:
            return ClearBoot(disk=identifier, address=details["address"])
        case Kind.SEED_ORPHANED:
            return RemoveSeed(disk=identifier)
        case Kind.EXPORT_LEFT:
            return RemovePartial(operation=identifier)
        case _:
            iqn, number = context.site.target(identifier), int(details["number"])
            rowless = context.view.disk(identifier) is None
            return RemoveStray(shard=details["shard"], number=number, iqn=iqn, disk=identifier, rowless=rowless)


def finish(command: RemoveOrphan, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """It is gone."""
    changed = bool(plan.memo["changed"])
    event = OrphanRemoved(
        operation=context.operation, kind=command.kind, id=command.id, head=command.head, changed=changed
    )
    return Outcome(event, _thrown(command, context) if changed else ())


def _thrown(command: RemoveOrphan, context: Context) -> tuple[Change, ...]:
    """What lies in the trash now keeps its time there, and its project can have it back where it says enough of
    itself."""
    if command.kind not in (Kind.DISK_ORPHANED, Kind.IMAGE_ORPHANED):
        return ()
    kind: Literal["disk", "image"] = "disk" if command.kind is Kind.DISK_ORPHANED else "image"
    told, size = json.loads(command.details.get("metadata", "{}")), int(command.details.get("size", 0))
    expires_at = context.now + timedelta(days=context.site.trash_days)
    kept = thrown(Remnant(kind, command.id, told, size), context.now, expires_at) or Trashed(
        id=command.id,
        kind=kind,
        project="",
        name=command.name or "",
        parent=None,
        size=size,
        removed_at=context.now,
        expires_at=expires_at,
        operation="",
    )
    return (Put(replace(kept, operation=context.operation)),)


HANDLER = Handler(RemoveOrphan, OrphanRemoved, keys, plan, finish, internal=True, local=True)
