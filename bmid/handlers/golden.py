"""What commands that make a golden image have in common: its row until it is ready, and its seal. No message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmid.handlers.base import Context
from bmid.messages.base import Command
from bmid.model.change import Change, Drop
from bmid.model.entity import Image
from bmid.steps.base import Plan
from bmid.steps.image import SealImage

__all__ = ["reserved", "seal", "undo"]


def reserved(context: Context) -> Image:
    """The row that the plan began with, under the operation's id."""
    image = context.view.image_by_id(context.operation)
    assert image is not None  # noqa: S101 - a row of ours, under our claim
    return image


def seal(image: Image, **more: str) -> SealImage:
    """Golden from then on, and beside it in the storage what is enough to know, without a database, whose it is."""
    metadata = {"kind": "image", "project": image.project, "image": image.name, "id": image.id, **more}
    return SealImage(image=image.id, metadata=metadata)


def undo(command: Command, context: Context, plan: Plan, marks: Mapping[str, Any]) -> tuple[Change, ...]:
    """The name is free again."""
    image = context.view.image_by_id(context.operation)
    return (Drop(image),) if image else ()
