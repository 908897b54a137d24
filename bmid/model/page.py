"""A part of a list: what is asked for, and where it goes on. Values only; how rows are found is the store's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

__all__ = [
    "Asked",
    "ListedDisk",
    "ListedImage",
    "ListedNode",
    "ListedOperation",
    "ListedProject",
    "ListedTrash",
    "Mark",
    "Page",
]

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
    """The rows. `more`: others come behind them."""

    rows: tuple[E, ...]
    more: bool


class ListedNode(NamedTuple):
    """What is told of a node and the disk that it is on. `disk_id` is for further questions; `image` is
    `project/name`, `power` the driver."""

    id: str
    name: str
    created_at: datetime
    firmware: str
    boot_mac: str
    macs: list[str]
    labels: dict[str, str]
    power: str | None
    address: str | None
    state: str
    project: str | None
    disk: str | None
    disk_id: str | None
    image: str | None
    aside: dict[str, Any] | None


class ListedDisk(NamedTuple):
    """What is told of a disk: no seed, which may be as long as a book, and is secret. `image` is `project/name`."""

    id: str
    project: str
    name: str
    state: str
    image: str
    node: str | None
    address: str | None
    hostname: str | None
    head: str | None
    shard: str | None
    size: int
    created_at: datetime


class ListedImage(NamedTuple):
    """What is told of an image: what it comes from (`project/name`), and how many images, disks and sets of labels
    hang on it."""

    id: str
    project: str
    name: str
    ready: bool
    size: int
    format: str
    firmware: list[str]
    sha256: str
    created_at: datetime
    description: str
    labels: dict[str, str]
    parent: str | None
    children: int
    disks: int
    defaults: int
    aside: dict[str, Any] | None


class ListedOperation(NamedTuple):
    """What is told of an operation: neither its command nor its plan, which may be long and secret."""

    id: str
    seq: int
    type: str
    project: str | None
    phase: str
    why: str
    attempts: int
    user: str
    source: str
    message: str
    correlation: str
    accepted_at: datetime
    ended_at: datetime | None
    expires_at: datetime | None
    parent: str | None
    problem: dict[str, Any] | None


class ListedProject(NamedTuple):
    """What is told of a project."""

    id: str
    name: str
    created_at: datetime


class ListedTrash(NamedTuple):
    """What is told of something in the trash: not its row. `image` is what it was made from, as `project/image`."""

    id: str
    kind: str
    project: str
    name: str
    image: str | None
    size: int
    removed_at: datetime
    expires_at: datetime
    operation: str
