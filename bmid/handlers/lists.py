"""The part of the database's view that lists are answered from. No message of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from bmid.model.page import Asked, Page

__all__ = ["Lists"]

E = TypeVar("E")


class Lists(Protocol):
    """Reads of many rows at once, each with one statement that reads what is asked for and no more."""

    def page(self, kind: type[E], asked: Asked) -> Page[E]:
        """Rows of a kind (ListedNode and its like), filtered and in order. Which filters there are is in the queries'
        own fields."""
        ...

    def default_labels(self, images: Sequence[str]) -> Mapping[str, Sequence[Mapping[str, str]]]:
        """Of those of these images (ids) that are a default, for which sets of labels."""
        ...

    def names(self, kind: type, project: str) -> Sequence[str]:
        """The names of a project's rows of a kind, in order."""
        ...

    def phases(self, group: str) -> Mapping[str, int]:
        """How many operations of a group are in each phase."""
        ...

    def ahead(self, operation: str) -> Sequence[tuple[str, str]]:
        """What stands before an operation: keys that both want, each with the id of the other one."""
        ...
