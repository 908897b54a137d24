"""What removals and restores have in common: the row of what lies in the trash. No message of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from bmid.errors import Refused
from bmid.handlers.base import Context
from bmid.handlers.mapping import parked
from bmid.model import trash
from bmid.model.change import Change, Drop, Put
from bmid.model.entity import Disk, Image
from bmid.model.trash import Trashed

__all__ = ["RestorableUntil", "TrashId", "nobodys", "require_parent", "require_trashed", "restorable_until", "thrown"]

TrashId = Annotated[
    Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")] | None,
    Field(description="its id, where several of that name are in the trash; if not said, the one removed last"),
]
RestorableUntil = Annotated[
    datetime | None,
    Field(description="until then it lies in the trash and can be restored; absent where it is not there"),
]


def thrown(context: Context, thing: Image | Disk, *, whole: bool = True) -> tuple[Change, ...]:
    """The row goes, and another one says that the bytes lie in the trash. What never was `whole` is nobody's there, and
    goes soon."""
    kept = parked(thing) if isinstance(thing, Disk) else thing
    row = trash.trashed(kept, context.operation, context.now, _expiry(context))
    return Drop(thing), Put(row if whole else nobodys(row, context.now))


def nobodys(one: Trashed, now: datetime) -> Trashed:
    """No project can have it back, and its bytes go within minutes. Without a row nobody would know whose they are."""
    return replace(one, project="", expires_at=now, row={})


def restorable_until(context: Context, *, whole: bool = True) -> datetime | None:
    """What the event says; None where it can't be restored."""
    return _expiry(context) if whole and context.site.trash_days > 0 else None


def _expiry(context: Context) -> datetime:
    return context.now + timedelta(days=context.site.trash_days)


def require_trashed(context: Context, kind: str, project: str, name: str, identity: str | None) -> Trashed:
    """What is meant is in the trash, and has not expired."""
    found = [one for one in context.view.trashed(project, kind, name) if identity in (None, one.id)]
    if not found:
        which = f"{name} with the id {identity}" if identity else name
        detail = f"no {kind} {which} is in the trash of project {project}"
        raise Refused("trash-unknown", detail, todo=f"bmi-publish trash list --project {project} shows what is.")
    if found[0].expires_at <= context.now:
        detail = f"{kind} {name} could be restored until {found[0].expires_at.isoformat(timespec='seconds')}"
        raise Refused("trash-expired", detail, todo="Its bytes are being removed, if they aren't gone.")
    return found[0]


def require_parent(context: Context, one: Trashed) -> Image | None:
    """The image that it was made from is there, and stays. None: it was made from none."""
    if one.parent is None:
        return None
    image = context.view.image_by_id(one.parent)
    if image is not None and image.ready:
        return image
    gone = context.view.trashed_by_id(one.parent)
    if gone is not None and image is None:
        detail = f"{one.kind} {one.name} was made from {gone.project}/{gone.name}, which is in the trash itself"
        todo = f"First bmi-publish image restore {gone.name} --project {gone.project} --id {gone.id}"
        raise Refused("parent-in-trash", detail, todo=todo, **_named(gone))
    detail = f"the image that {one.kind} {one.name} was made from is not ready, or gone"
    raise Refused("image-unknown", detail, todo="See bmi-publish operation list: its removal may be under way.")


def _named(one: Trashed) -> Mapping[str, Any]:
    return {"project": one.project, "image": one.name, "id": one.id}
