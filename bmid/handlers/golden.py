"""What commands that make a golden image have in common: its row until it is ready, and its seal. No message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmid.handlers.base import Context
from bmid.messages.base import Command
from bmid.model.change import Change, Drop
from bmid.model.entity import Image
from bmid.model.site import Site
from bmid.steps.base import Plan
from bmid.steps.image import SealImage

__all__ = ["described", "reserved", "seal", "undo"]


def reserved(context: Context) -> Image:
    """The row that the plan began with, under the operation's id."""
    image = context.view.image_by_id(context.operation)
    assert image is not None  # noqa: S101 - a row of ours, under our claim
    return image


def seal(image: Image, site: Site, *, parent_mark: str | None = None, **more: str) -> SealImage:
    """Golden from then on. With a `parent_mark` it hangs on its parent only where that mark was left."""
    return SealImage(image=image.id, metadata={**described(image, site), **more}, parent_mark=parent_mark)


def described(image: Image, site: Site) -> dict[str, Any]:
    """What is written beside an image in the storage: enough to make its row again without a database. What is only
    found out while it is made, the step that seals it adds."""
    return {
        "kind": "image",
        "site": site.id,
        "project": image.project,
        "image": image.name,
        "id": image.id,
        "format": image.format,
        "sha256": image.sha256,
        "firmware": list(image.firmware),
        "created_at": image.created_at.isoformat(),
        "description": image.description,
        "labels": dict(image.labels),
        "parent": image.parent,
    }


def undo(command: Command, context: Context, plan: Plan, marks: Mapping[str, Any]) -> tuple[Change, ...]:
    """The name is free again."""
    image = context.view.image_by_id(context.operation)
    return (Drop(image),) if image else ()
