"""What a plan wants to be true in the database, as values. How rows are written is the store's business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from bmid.model.aside import Aside
from bmid.model.entity import Boot, Disk, Image, ImageDefault, Node, Portal, Project
from bmid.model.trash import Trashed

__all__ = ["Change", "Drop", "Entity", "Put", "SetAside"]

Entity: TypeAlias = Project | Image | ImageDefault | Node | Disk | Boot | Portal | Trashed


@dataclass(frozen=True)
class Put:
    """Insert the entity, or replace the row that has its id; all of it but whether it is set aside."""

    entity: Entity


@dataclass(frozen=True)
class Drop:
    """Delete the row of the entity, which is verifiably gone from the world."""

    entity: Entity


@dataclass(frozen=True)
class SetAside:
    """Set a node or an image aside, or take it back; what failed before is forgotten."""

    entity: Node | Image
    aside: Aside | None


Change: TypeAlias = Put | Drop | SetAside
