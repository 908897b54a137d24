"""Lists that come in pages, followed page by page. How a query is asked is not known here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from bmid.messages.base import Query

__all__ = ["LARGEST", "follow", "is_list", "newest_first", "rows_of"]

LARGEST = 1000  # rows that one answer may have
Q = TypeVar("Q", bound=Query)


def is_list(query: type[Query]) -> bool:
    """Whether the answer comes in pages."""
    return {"limit", "after"} <= set(query.model_fields)


def newest_first(query: type[Query]) -> bool:
    """Whether the list begins with what is newest, where no order is asked for: then hardly anybody wants its end."""
    return str(query.model_fields["order"].default).startswith("-")


def rows_of(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows in an answer, whatever the list is called."""
    return next((value for key, value in answer.items() if key != "next" and isinstance(value, list)), [])


def follow(ask: Callable[[Query], dict[str, Any]], query: Query, most: int | None = None) -> Iterator[dict[str, Any]]:
    """The answers to a query and to those that go on behind it, with at most `most` rows in all; None: all there are.

    The last one's `next` says whether there are more."""
    left = most
    while left is None or left > 0:
        size = getattr(query, "limit", LARGEST)
        answer = ask(query.model_copy(update={"limit": size if left is None else min(size, left)}))
        yield answer
        if not answer.get("next"):
            return
        left = None if left is None else left - len(rows_of(answer))
        query = query.model_copy(update={"after": answer["next"]})
