"""Query project.list: all projects."""

from __future__ import annotations

from typing import Any, ClassVar

from bmid.handlers.base import QueryHandler, View
from bmid.handlers.shape import project_shape
from bmid.messages.base import Query

__all__ = ["QUERY", "ListProjects"]


class ListProjects(Query):
    """List all projects."""

    type: ClassVar[str] = "bmi.project.list.v1"


def answer(query: ListProjects, view: View) -> dict[str, Any]:
    """By name."""
    return {"projects": [project_shape(one) for one in view.projects()]}


QUERY = QueryHandler(ListProjects, answer)
