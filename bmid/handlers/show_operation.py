"""Query operation.show: one operation, by its id or by the message that asked for it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, StringConstraints, model_validator

from bmid.handlers.base import QueryHandler, View
from bmid.handlers.shape import operation_shape, unknown
from bmid.messages.base import Query

__all__ = ["QUERY", "ShowOperation"]

Text = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class ShowOperation(Query):
    """Show one operation."""

    type: ClassVar[str] = "bmi.operation.show.v1"
    operation: Text | None = Field(None, description="its id, from the accepted event")
    message: Text | None = Field(None, description="the id of the command's message")
    source: Text | None = Field(None, description="the source of the command's message")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.operation is None) == (self.message is None):
            raise ValueError("give exactly one of operation and message")
        return self


def answer(query: ShowOperation, view: View) -> dict[str, Any]:
    """With its plan, the operations that stand before it, and of a group how many are in each phase."""
    if query.operation is not None:
        found = view.operation(query.operation)
    else:
        found = view.operation_of_message(query.message or "", query.source)
    if found is None:
        raise unknown("operation", query.operation or query.message or "")
    steps = [step["kind"] for stage in (found.plan or {}).get("stages", ()) for step in stage]
    more = {
        "steps": steps,
        "behind": [{"operation": other, "key": key} for key, other in view.ahead(found.id)],
        "members": dict(view.phases(found.id)),
    }
    return {"operation": operation_shape(found) | more}


QUERY = QueryHandler(ShowOperation, answer)
