"""The part of the database's view that lists are answered from. No message of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from bmid.model.page import Asked, Lineage, Page

__all__ = ["Lists"]

E = TypeVar("E")


class Lists(Protocol):
    """Reads of many rows at once, each with one statement that reads what is asked for and no more."""

    def page(self, kind: type[E], asked: Asked) -> Page[E]:
        """Rows of a kind (ListedNode, ListedDisk, Image, Operation, Project), filtered and in order. Which filters
        there are is in the queries' own fields."""
        ...

    def lineage(self, images: Sequence[str]) -> Mapping[str, Lineage]:
        """Of each of these images (ids), where it comes from and what hangs on it."""
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
