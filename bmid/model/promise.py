"""The rows of one moment, as far as they promise that something is in the world. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bmid.model.entity import DiskState
from bmid.model.finding import SHARED, Finding, Kind

__all__ = ["PromisedDisk", "PromisedImage", "Promises"]


@dataclass(frozen=True)
class PromisedDisk:
    """What the row of a disk promises. `seeded`: it has a seed at its home."""

    id: str
    project: str
    name: str
    state: str
    number: int
    node: str | None = None
    address: str | None = None
    head: str | None = None
    shard: str | None = None
    generation: int = 1
    owner: str | None = None
    seeded: bool = False

    @property
    def label(self) -> str:
        """For people."""
        return f"disk {self.project}/{self.name}"

    def finding(
        self, kind: Kind, where: str, what: str, why: str, head: str = SHARED, details: dict[str, str] | None = None
    ) -> Finding:
        """Something that is not as it should be about it."""
        return Finding(
            kind, self.id, where, what, why, head, self.node, self.project, self.name, details=dict(details or {})
        )

    def home(self, head: str) -> bool:
        """Whether this head has to lead a node to it."""
        return self.state == DiskState.MAPPED and self.head == head


@dataclass(frozen=True)
class PromisedImage:
    """What the row of an image promises."""

    id: str
    project: str
    name: str
    ready: bool


@dataclass(frozen=True)
class Promises:
    """All rows of one moment. `at_work` are the keys that unfinished operations want for themselves (`node:n1`): what
    has one of them is in the making, or on its way out, and neither missing nor left. `restored` are those of them that
    are wanted only to put back what leads to a disk, which neither makes nor removes one. `unfinished` are the ids of
    all operations that have not ended; what is named by one is theirs. `nodes` are the disks' ids by the node that
    points there, `trash` is what can be restored, by id, as `disk:p1/d1`. `ledger` is what was found wrong among the
    rows themselves, `site` the id that is in all of this site's things."""

    disks: Mapping[str, PromisedDisk] = field(default_factory=dict)
    images: Mapping[str, PromisedImage] = field(default_factory=dict)
    nodes: Mapping[str, str] = field(default_factory=dict)
    trash: Mapping[str, str] = field(default_factory=dict)
    at_work: frozenset[str] = frozenset()
    restored: frozenset[str] = frozenset()
    unfinished: frozenset[str] = frozenset()
    ledger: tuple[Finding, ...] = ()
    site: str = ""

    def busy(self, disk: PromisedDisk) -> bool:
        """Whether somebody is at work on the disk, or on its node."""
        keys = {f"disk:{disk.project}/{disk.name}", f"node:{disk.node}"}
        return not keys.isdisjoint(self.at_work)

    def in_the_making(self, disk: PromisedDisk) -> bool:
        """Whether somebody is at work on the disk itself, and not only on what leads to it."""
        keys = {f"disk:{disk.project}/{disk.name}", f"node:{disk.node}"}
        return not keys.isdisjoint(self.at_work - self.restored)

    def busy_image(self, image: PromisedImage) -> bool:
        """Whether somebody is at work on the image."""
        return f"image:{image.project}/{image.name}" in self.at_work
