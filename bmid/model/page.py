"""A part of a list: what is asked for, and where it goes on. Values only; how rows are found is the store's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

__all__ = ["Asked", "Lineage", "Mark", "Page"]

E = TypeVar("E")


@dataclass(frozen=True)
class Mark:
    """A place in an order: the value that it goes by, and what tells rows of the same value apart."""

    value: str | datetime
    tie: str | int


@dataclass(frozen=True)
class Asked:
    """At most `limit` rows that are as `where` says, in the order of a column, those behind `after` only."""

    order: str
    descending: bool = False
    limit: int = 100
    after: Mark | None = None
    where: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Page(Generic[E]):
    """The rows, without what a list never shows (seeds, plans). `more`: others come behind them."""

    rows: tuple[E, ...]
    more: bool


@dataclass(frozen=True)
class Lineage:
    """What an image comes from (`project/name`), what hangs on it, and the sets of labels it is the default for."""

    parent: str | None = None
    children: int = 0
    disks: int = 0
    defaults: tuple[Mapping[str, str], ...] = ()
