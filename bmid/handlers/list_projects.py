"""Query project.list: all projects."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from bmid.handlers.base import QueryHandler, View
from bmid.handlers.page import ListQuery, NamedOrder, Pattern
from bmid.handlers.shape import project_shape
from bmid.model.page import ListedProject

__all__ = ["QUERY", "ListProjects"]


class ListProjects(ListQuery):
    """List projects."""

    type: ClassVar[str] = "bmi.project.list.v1"
    name: Pattern | None = Field(None, description="only names like this; * stands for anything, ? for a character")
    order: NamedOrder = Field("name", description="what they are ordered by; with -: the last one first")


def answer(query: ListProjects, view: View) -> dict[str, Any]:
    """One page."""
    return query.answered(view, ListedProject, "projects", lambda rows: [project_shape(one) for one in rows])


QUERY = QueryHandler(ListProjects, answer)
