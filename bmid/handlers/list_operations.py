"""Query operation.list: operations, the newest first."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from bmid.handlers.base import QueryHandler, View
from bmid.handlers.page import ListQuery
from bmid.handlers.shape import operation_shape
from bmid.model.moment import Moment
from bmid.model.name import NodeName, ProjectName
from bmid.model.page import ListedOperation

__all__ = ["QUERY", "ListOperations"]


Text = Annotated[str, StringConstraints(pattern=r"^[!-~]+$", max_length=255)]


class ListOperations(ListQuery):
    """List operations, the newest first."""

    type: ClassVar[str] = "bmi.operation.list.v1"
    project: ProjectName | None = Field(None, description="only operations of this project")
    phase: Literal["pending", "running", "reverting", "stuck", "succeeded", "failed", "unfinished"] | None = Field(
        None, description="only operations in this phase; unfinished: in any but the last two"
    )
    command: Text | None = Field(None, description="only operations of this type of command: bmi.node.map.v1")
    node: NodeName | None = Field(None, description="only operations whose command names this node")
    group: Text | None = Field(None, description="only the members of this operation, whose command named many nodes")
    since: Moment | None = Field(None, description="only operations accepted at this time (RFC 3339) or later")
    order: Literal["-accepted_at", "accepted_at"] = Field(
        "-accepted_at", description="what they are ordered by; with -: the newest first"
    )
    limit: int = Field(100, ge=1, le=1000, description="at most so many in one answer")


def answer(query: ListOperations, view: View) -> dict[str, Any]:
    """One page."""
    return query.answered(view, ListedOperation, "operations", lambda rows: [operation_shape(one) for one in rows])


QUERY = QueryHandler(ListOperations, answer)
