"""What all list queries have in common: how much of the list, in which order, and where it goes on. No message of its
own.

A cursor is a place in the order of one query, not a right: whoever makes one up can only begin elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, StringConstraints, model_validator

from bmid.errors import Rejected
from bmid.handlers.base import View
from bmid.messages.base import Query
from bmid.model.name import split_image
from bmid.model.page import Asked, Mark, Page

__all__ = ["AsideFilter", "ListQuery", "NamedOrder", "Pattern"]

E = TypeVar("E")
NamedOrder = Literal["name", "-name", "created_at", "-created_at"]
AsideFilter = Annotated[
    Literal["maintenance", "quarantine", "none"] | None,
    Field(description="only those set aside by an operator, or by bmid after failures; none: those that are in use"),
]
Pattern = Annotated[str, StringConstraints(pattern=r"^[a-z0-9._*?-]+$", max_length=80)]
Cursor = Annotated[str, StringConstraints(min_length=1, max_length=512)]

TEXT = re.compile(r"[a-z0-9._-]{1,80}", re.ASCII)
NUMBER = re.compile(r"-?[0-9]{1,18}", re.ASCII)


class ListQuery(Query):
    """A query for a list. Its further fields, but for `order`, are filters: what is given must all hold."""

    limit: int = Field(1000, ge=1, le=1000, description="at most so many in one answer")
    after: Cursor | None = Field(
        None, description="`next` of the answer before: go on behind it. All other fields but `limit` stay as they were"
    )

    @model_validator(mode="after")
    def _image_has_a_project(self) -> Self:
        for name in ("image", "parent"):
            reference = getattr(self, name, None)
            if reference and "/" not in reference and not getattr(self, "project", None):
                raise ValueError(f"write {name} as project/image, or give project")
        return self

    def filters(self) -> dict[str, Any]:
        """What is filtered by, as the store reads it."""
        given = {name: getattr(self, name) for name in type(self).model_fields if name not in PLACE}
        found = {name: value for name, value in given.items() if value not in (None, {})}
        for name in ("image", "parent"):
            if name in found:
                found[name] = split_image(found[name], given.get("project") or "")
        return found

    def answered(
        self, view: View, kind: type[E], member: str, shapes: Callable[[Sequence[E]], Sequence[dict[str, Any]]]
    ) -> dict[str, Any]:
        """One page: `member` has the rows in their shape, `next` the cursor, or null at the end. Raises Rejected."""
        order: str = getattr(self, "order")  # noqa: B009 - each query says which orders it knows
        column, where = order.removeprefix("-"), self.filters()
        mine = _print([self.type, order, sorted(where.items())])
        after = _opened(self.after, mine, column) if self.after else None
        page = view.page(kind, Asked(column, order.startswith("-"), self.limit, after, where))
        return {member: list(shapes(page.rows)), "next": _next(page, mine, column)}


PLACE = frozenset({"limit", "after", "order"})


def _print(asked: Any) -> str:
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _next(page: Page[Any], mine: str, column: str) -> str | None:
    if not page.more:
        return None
    value, tie = getattr(page.rows[-1], column), getattr(page.rows[-1], _tie(column))
    text = json.dumps([mine, value.isoformat() if isinstance(value, datetime) else value, str(tie)])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _tie(column: str) -> str:
    """What tells rows of the same value apart: of operations, their place in the line."""
    return "seq" if column == "accepted_at" else "id"


def _opened(cursor: str, mine: str, column: str) -> Mark:
    try:
        found = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
        theirs, value, tie = (str(one) for one in found)
        mark = Mark(
            _text(value) if column == "name" else _time(value), _number(tie) if _tie(column) == "seq" else _text(tie)
        )
    except (ValueError, TypeError, OverflowError) as error:
        raise _invalid("this is no cursor that an answer gave") from error
    if theirs != mine:
        raise _invalid("the cursor is of a query with another order or other filters")
    return mark


def _time(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        raise ValueError(value)
    return moment.astimezone(UTC)


def _text(value: str) -> str:
    if not TEXT.fullmatch(value):
        raise ValueError(value)
    return value


def _number(value: str) -> int:
    if not NUMBER.fullmatch(value):
        raise ValueError(value)
    return int(value)


def _invalid(detail: str) -> Rejected:
    return Rejected("cursor-invalid", detail, todo="Ask from the beginning, without `after`.")
