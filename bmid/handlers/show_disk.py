"""Query disk.show: one disk."""

from __future__ import annotations

from typing import Any, ClassVar

from bmid.handlers.base import QueryHandler, View
from bmid.handlers.shape import disk_shape, unknown
from bmid.messages.base import Query
from bmid.model.name import DiskName, ProjectName
from bmid.model.page import Asked, ListedDisk

__all__ = ["QUERY", "ShowDisk"]


class ShowDisk(Query):
    """Show one disk."""

    type: ClassVar[str] = "bmi.disk.show.v1"
    project: ProjectName
    disk: DiskName


def answer(query: ShowDisk, view: View) -> dict[str, Any]:
    """With its image."""
    found = view.page(ListedDisk, Asked("name", where={"project": query.project, "name": query.disk})).rows
    if not found:
        raise unknown("disk", f"{query.project}/{query.disk}")
    return {"disk": disk_shape(found[0])}


QUERY = QueryHandler(ShowDisk, answer)
