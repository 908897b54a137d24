"""What a handler is, and what it may see. No message of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from bmid.handlers.lists import Lists
from bmid.messages.base import Command, Event, Query
from bmid.model.change import Change
from bmid.model.claim import Key
from bmid.model.entity import Boot, Disk, Image, ImageDefault, Network, Node, Portal, Project
from bmid.model.operation import Operation
from bmid.model.placement import Home
from bmid.model.site import Site
from bmid.model.trash import Trashed
from bmid.steps.base import Plan

__all__ = ["Context", "Handler", "Outcome", "QueryHandler", "View"]

C = TypeVar("C", bound=Command)
Q = TypeVar("Q", bound=Query)


class View(Lists, Protocol):
    """The database as a handler sees it: reads only, all in one transaction."""

    def project(self, name: str) -> Project | None: ...
    def image(self, project: str, name: str) -> Image | None: ...
    def image_by_id(self, image: str) -> Image | None: ...
    def children(self, image: str) -> Sequence[Image]: ...
    def node(self, name: str) -> Node | None: ...
    def node_with_mac(self, mac: str) -> Node | None: ...
    def node_with_address(self, address: str) -> Node | None: ...
    def disk(self, disk: str) -> Disk | None: ...
    def disk_named(self, project: str, name: str) -> Disk | None: ...
    def disks_of(self, image: str) -> Sequence[Disk]: ...
    def boot(self, disk: str) -> Boot | None: ...
    def network(self, name: str) -> Network | None: ...
    def addresses(self, network: str) -> Mapping[str, str]:
        """Addresses in use on a network, each with the name of the disk or node that has it."""
        ...

    def disk_at(self, network: str, address: str) -> Disk | None:
        """The disk that has an address, or keeps it while it is parked."""
        ...

    def homes(self) -> Sequence[Home]:
        """Shards of living heads."""
        ...

    def portal(self, head: str, shard: str) -> str | None:
        """IP:PORT of a head's shard, also while the head is dead."""
        ...

    def moves(self, address: str) -> int:
        """How many moves of an address have not ended."""
        ...

    def carried(self, portal: str) -> Portal | None:
        """One portal, by IP:PORT, with the head that carries it."""
        ...

    def number(self) -> int:
        """The next number for a target, never given twice."""
        ...

    def operation(self, operation: str) -> Operation | None: ...
    def operation_of_message(self, message: str, source: str | None) -> Operation | None: ...
    def members(self, group: str) -> Sequence[Operation]:
        """The operations of a group, in the order accepted."""
        ...

    def trashed(self, project: str, kind: str | None = None, name: str | None = None) -> Sequence[Trashed]:
        """What a project has in the trash: all, or what is called so; what was removed last comes first."""
        ...

    def trashed_by_id(self, identity: str) -> Trashed | None: ...
    def default_image(self, project: str, labels: Mapping[str, str]) -> Image | None:
        """The image that a project means by a set of labels."""
        ...

    def defaults_of(self, image: str) -> Sequence[ImageDefault]:
        """The sets of labels that an image is the default for."""
        ...


@dataclass(frozen=True)
class Context:
    """What a handler is given beside the command: the operation it is, the head it runs on, the time, the database
    and the site."""

    operation: str
    correlation: str
    head: str
    now: datetime
    view: View
    site: Site


@dataclass(frozen=True)
class Outcome:
    """How an operation ends well: rows, and the event that says so."""

    event: Event
    changes: tuple[Change, ...] = ()


def _no_upload(command: Command) -> str | None:
    return None


def _no_objection(command: Command, site: Site) -> None:
    return None


def _no_undo(command: Command, context: Context, plan: Plan, marks: Mapping[str, Any]) -> tuple[Change, ...]:
    return ()


@dataclass(frozen=True)
class Handler(Generic[C]):
    """One command. `keys` from the command alone; `plan` may raise Refused; `finish` gets what steps wrote down;
    `undo` says which rows go when the plan was reverted.

    `internal` commands are made by the daemon itself and never accepted from the bus. `local` ones are about the
    machine of their home, and end with it: what they look at or take away is no other head's. `upload` says where
    bytes are awaited: the SHA-256 of the token that the sender will present, or None. `accept` raises Rejected for
    what the settings of the site rule out for ever. `urgent` ones stand before all that has not begun: a system that
    runs waits for them.
    """

    command: type[C]
    outcome: type[Event]
    keys: Callable[[C], tuple[Key, ...]]
    plan: Callable[[C, Context], Plan]
    finish: Callable[[C, Context, Plan, Mapping[str, Any]], Outcome]
    undo: Callable[[C, Context, Plan, Mapping[str, Any]], tuple[Change, ...]] = _no_undo
    internal: bool = False
    local: bool = False
    upload: Callable[[C], str | None] = _no_upload
    accept: Callable[[C, Site], None] = _no_objection
    urgent: bool = False


@dataclass(frozen=True)
class QueryHandler(Generic[Q]):
    """One query, and how it is answered from the database. Raises Refused where there is nothing to show."""

    query: type[Q]
    answer: Callable[[Q, View], dict[str, Any]]
