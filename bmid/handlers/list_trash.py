"""Query trash.list: what a project, or all, has removed and could still bring back."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from bmid.handlers.base import QueryHandler, View
from bmid.handlers.page import ListQuery, Pattern
from bmid.handlers.shape import trash_shape
from bmid.model.name import ProjectName
from bmid.model.page import ListedTrash

__all__ = ["QUERY", "ListTrash"]

TrashOrder = Literal["name", "-name", "removed_at", "-removed_at", "expires_at", "-expires_at"]


class ListTrash(ListQuery):
    """List what lies in the trash. `expires_at` says until when it can be restored."""

    type: ClassVar[str] = "bmi.trash.list.v1"
    project: ProjectName | None = Field(None, description="only what was this project's")
    kind: Literal["image", "disk"] | None = Field(None, description="only images, or only disks")
    name: Pattern | None = Field(None, description="only names like this; * stands for anything, ? for a character")
    operation: str | None = Field(
        None, max_length=64, description="only what this operation removed: its id is in the outcome's event"
    )
    order: TrashOrder = Field("expires_at", description="what they are ordered by; with -: the last one first")


def answer(query: ListTrash, view: View) -> dict[str, Any]:
    """One page."""
    return query.answered(view, ListedTrash, "trash", lambda rows: [trash_shape(one) for one in rows])


QUERY = QueryHandler(ListTrash, answer)
