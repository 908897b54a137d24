"""What was removed and can be brought back for a while: a row as it was, kept as JSON, and the row made of it again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from bmid.model.aside import Aside
from bmid.model.entity import Disk, DiskState, Image, Seed

__all__ = ["Trashed", "disk_again", "image_again", "trashed"]


@dataclass(frozen=True)
class Trashed:
    """An image or a disk (`kind`) whose bytes are in the storage's trash. `id` is its own; `parent` the id of the image
    that it was made from and hangs on; `row` what its row held, and may hold secrets; `operation` removed it."""

    id: str
    kind: str
    project: str
    name: str
    parent: str | None
    size: int
    removed_at: datetime
    expires_at: datetime
    operation: str
    row: dict[str, Any] = field(default_factory=dict, repr=False)


def trashed(thing: Image | Disk, operation: str, removed_at: datetime, expires_at: datetime) -> Trashed:
    """What is remembered of a thing that is removed now."""
    disk = isinstance(thing, Disk)
    return Trashed(
        id=thing.id,
        kind="disk" if disk else "image",
        project=thing.project,
        name=thing.name,
        parent=thing.image if isinstance(thing, Disk) else thing.parent,
        size=thing.size,
        removed_at=removed_at,
        expires_at=expires_at,
        operation=operation,
        row={**dataclasses.asdict(thing), "created_at": thing.created_at.isoformat()},
    )


def image_again(one: Trashed) -> Image:
    """The image as it was."""
    row = _known(Image, one.row)
    aside = Aside.read(row["aside"]) if row.get("aside") else None
    return Image(**{**row, "firmware": tuple(row["firmware"]), "aside": aside})


def disk_again(one: Trashed) -> Disk:
    """The disk as it was."""
    row = _known(Disk, one.row)
    seed = row.get("seed")
    told = Seed(**{**seed, "ssh_keys": tuple(seed["ssh_keys"])}) if seed else None
    return Disk(**{**row, "state": DiskState(row["state"]), "seed": told})


def _known(kind: type, row: Mapping[str, Any]) -> dict[str, Any]:
    """Without what only another version of this program knows."""
    known = {one.name for one in dataclasses.fields(kind)}
    values = {name: value for name, value in row.items() if name in known}
    return {**values, "created_at": datetime.fromisoformat(values["created_at"])}
