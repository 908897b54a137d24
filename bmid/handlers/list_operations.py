"""Query operation.list: the newest operations."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from bmid.handlers.base import QueryHandler, View
from bmid.handlers.shape import operation_shape
from bmid.messages.base import Query
from bmid.model.name import ProjectName

__all__ = ["QUERY", "ListOperations"]


class ListOperations(Query):
    """List operations, the newest first."""

    type: ClassVar[str] = "bmi.operation.list.v1"
    project: ProjectName | None = None
    limit: int = Field(100, ge=1, le=1000, description="at most so many")


def answer(query: ListOperations, view: View) -> dict[str, Any]:
    """Newest first."""
    return {"operations": [operation_shape(one) for one in view.operations(query.project, query.limit)]}


QUERY = QueryHandler(ListOperations, answer)
