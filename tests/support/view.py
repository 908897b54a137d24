"""The View of a handler, in memory: a few rows and how they are found."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bmid.handlers.base import Context, View
from bmid.model.entity import (
    Boot,
    BootStage,
    Disk,
    DiskState,
    Firmware,
    Image,
    ImageDefault,
    Network,
    Node,
    Portal,
    PowerAddress,
    Project,
    default_id,
)
from bmid.model.operation import Operation
from bmid.model.site import Site

__all__ = ["MemoryView", "Shard", "boot", "context", "disk", "image", "node", "project"]

NOW = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
OPERATION = "0192f0c1a2b37c4d8e5f60718293a4b5"
NETWORK = Network("default", "10.77.0.0/24", "10.77.0.10", "10.77.0.12", "boot0", "10.77.0.1:3260")
BMC = PowerAddress("redfish", "http://bmc1/1", "lab")


@dataclass(frozen=True)
class Shard:
    """A shard of a living head."""

    head: str = "h1"
    shard: str = "0"
    load: int = 0
    portal: str = "10.77.0.1:3260"
    draining: bool = False


@dataclass
class MemoryView(View):
    """Rows in lists. `shards` are the homes there are."""

    rows: list[Any] = field(default_factory=list)
    shards: Sequence[Shard] = (Shard(),)
    networks: Sequence[Network] = (NETWORK,)

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)

    def _all(self, kind: type, **where: Any) -> list[Any]:
        named = [row for row in self.rows if isinstance(row, kind)]
        return [row for row in named if all(getattr(row, key) == value for key, value in where.items())]

    def _one(self, kind: type, **where: Any) -> Any:
        return next(iter(self._all(kind, **where)), None)

    def project(self, name: str) -> Project | None:
        return self._one(Project, name=name)

    def image(self, project: str, name: str) -> Image | None:
        return self._one(Image, project=project, name=name)

    def image_by_id(self, image: str) -> Image | None:
        return self._one(Image, id=image)

    def children(self, image: str) -> Sequence[Image]:
        return self._all(Image, parent=image)

    def node(self, name: str) -> Node | None:
        return self._one(Node, name=name)

    def node_with_mac(self, mac: str) -> Node | None:
        return next((one for one in self._all(Node) if mac in one.macs), None)

    def node_with_address(self, address: str) -> Node | None:
        return self._one(Node, address=address)

    def disk(self, disk: str) -> Disk | None:
        return self._one(Disk, id=disk)

    def disk_named(self, project: str, name: str) -> Disk | None:
        return self._one(Disk, project=project, name=name)

    def disks_of(self, image: str) -> Sequence[Disk]:
        return self._all(Disk, image=image)

    def boot(self, disk: str) -> Boot | None:
        return self._one(Boot, disk=disk)

    def network(self, name: str) -> Network | None:
        return next((one for one in self.networks if one.name == name), None)

    def addresses(self, network: str) -> Mapping[str, str]:
        wished = {one.address: one.name for one in self._all(Node) if one.address}
        return wished | {one.address: one.name for one in self._all(Disk, network=network) if one.address}

    def homes(self) -> Sequence[Shard]:
        return self.shards

    def portal(self, head: str, shard: str) -> str | None:
        return next((one.portal for one in self.shards if (one.head, one.shard) == (head, shard)), None)

    def moves(self, address: str) -> int:
        return 1

    def carried(self, portal: str) -> Portal | None:
        return self._one(Portal, portal=portal)

    def number(self) -> int:
        return next(self._numbers)

    def disk_at(self, network: str, address: str) -> Disk | None:
        return self._one(Disk, network=network, address=address)

    def members(self, group: str) -> Sequence[Operation]:
        return self._all(Operation, parent=group)

    def default_image(self, project: str, labels: Mapping[str, str]) -> Image | None:
        found = self._one(ImageDefault, id=default_id(project, labels))
        return self.image_by_id(found.image) if found else None

    def defaults_of(self, image: str) -> Sequence[ImageDefault]:
        return self._all(ImageDefault, image=image)

    def operation(self, operation: str) -> Operation | None:
        return self._one(Operation, id=operation)

    def operation_of_message(self, message: str, source: str | None) -> Operation | None:
        return self._one(Operation, message=message)

    def names(self, kind: type, project: str) -> Sequence[str]:
        return sorted(one.name for one in self._all(kind, project=project))


def context(*rows: Any, shards: Iterable[Shard] = (Shard(),), **site: Any) -> Context:
    """What a handler is given, with these rows in the database."""
    view = MemoryView(list(rows), tuple(shards))
    return Context(OPERATION, "corr", "h1", NOW, view, Site(**site))


def project(name: str = "p1") -> Project:
    """A project."""
    return Project(f"id-{name}", name, NOW)


def image(name: str = "debian", **values: Any) -> Image:
    """A golden image of p1 that boots both ways."""
    fields = {"project": "p1", "size": 1 << 30, "format": "raw", "sha256": "0" * 64, "firmware": ("bios", "uefi")}
    return Image(id=f"id-{name}", name=name, created_at=NOW, **{**fields, "ready": True, **values})


def node(name: str = "n1", **values: Any) -> Node:
    """A node with a BMC."""
    fields = {"macs": ("52:54:00:00:00:01",), "boot_mac": "52:54:00:00:00:01", "firmware": Firmware.ANY, "power": BMC}
    return Node(id=f"id-{name}", name=name, created_at=NOW, **{**fields, **values})


def disk(name: str = "d1", **values: Any) -> Disk:
    """A mapped disk of p1, on the image debian, at n1."""
    fields = {
        "project": "p1", "image": "id-debian", "size": 1 << 30, "number": 7, "state": DiskState.MAPPED, "node": "n1",
        "network": "default", "address": "10.77.0.10", "hostname": "n1", "head": "h1", "shard": "0",
    }  # fmt: skip
    return Disk(id=f"id-{name}", name=name, created_at=NOW, **{**fields, **values})


def boot(**values: Any) -> Boot:
    """The boot of d1, which is waited for."""
    fields = {"stage": BootStage.WAITING, "attempt": 1, "deadline": NOW}
    return Boot("id-d1", "n1", "p1", "o0", "c0", started_at=NOW, **{**fields, **values})


KEPT = disk(state=DiskState.PARKED, node=None, head=None, shard=None)
ON = (project(), image(), node(disk="id-d1"), disk())  # n1 on d1
FREE = (project(), image(), node(), KEPT)  # n1 free, d1 parked
