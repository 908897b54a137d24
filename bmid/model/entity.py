"""The things that BMI keeps rows of. Values only: what may happen to them is decided in the handlers.

Times are aware datetimes in UTC, sizes are bytes, ids are 32 hex digits made when the thing is, and never used
again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from bmid.model.aside import Aside

__all__ = [
    "Boot",
    "BootStage",
    "Disk",
    "DiskState",
    "Firmware",
    "Image",
    "ImageDefault",
    "Network",
    "Node",
    "Portal",
    "PowerAddress",
    "Project",
    "Seed",
    "default_id",
]


class Firmware(StrEnum):
    """What a node starts with. `any` means that it can do both."""

    BIOS = "bios"
    UEFI = "uefi"
    ANY = "any"


@dataclass(frozen=True)
class Project:
    """A tenant."""

    id: str
    name: str
    created_at: datetime


@dataclass(frozen=True)
class Image:
    """A golden image: immutable, cloned by disks. `aside`: nothing new is made from it, and why."""

    id: str
    project: str
    name: str
    size: int
    format: str
    sha256: str
    firmware: tuple[str, ...]
    created_at: datetime
    description: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    parent: str | None = None
    ready: bool = False
    aside: Aside | None = None

    @property
    def reference(self) -> str:
        """`project/name`, as any project may write it."""
        return f"{self.project}/{self.name}"


@dataclass(frozen=True)
class ImageDefault:
    """The image that a project means by a set of labels. `id` follows from project and labels: one for each set."""

    id: str
    project: str
    labels: dict[str, str]
    image: str


def default_id(project: str, labels: Mapping[str, str]) -> str:
    """The id of a default: a digest of the project and the set of labels."""
    text = json.dumps([project, sorted(labels.items())])
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class PowerAddress:
    """Where a node's power is switched: driver, address and the *name* of a credential, never the secret."""

    driver: str
    address: str
    credential: str | None = None


@dataclass(frozen=True)
class Node:
    """A physical machine. `boot_mac` is the MAC of its boot NIC; `disk` is the id of the disk it is mapped to.
    `aside`: nothing new is put on it, and why."""

    id: str
    name: str
    macs: tuple[str, ...]
    boot_mac: str
    firmware: Firmware
    created_at: datetime
    address: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    power: PowerAddress | None = None
    hil_name: str | None = None
    disk: str | None = None
    generation: int = 0
    aside: Aside | None = None


@dataclass(frozen=True)
class Network:
    """A subnet that nodes boot on. `first` to `last` are the addresses that BMI gives out."""

    name: str
    subnet: str
    first: str
    last: str
    interface: str
    portal: str


@dataclass(frozen=True)
class Portal:
    """An address IP:PORT where nodes find their targets, and the head whose shard carries it now.

    All portals of one IP are with one head. `native` is the head that brought it in; `bound_for` the one that it is to
    move to; `withdrawn_at`: since when nobody answers there. `ready` is False from a move until the disks that were
    told this address are exported by the new carrier.
    """

    portal: str
    head: str
    shard: str
    native: str
    bound_for: str | None = None
    withdrawn_at: datetime | None = None
    ready: bool = True

    @property
    def address(self) -> str:
        """The IP of it."""
        return self.portal.rpartition(":")[0]


class DiskState(StrEnum):
    """Where a disk is in its life.

    making: the row is there, the clone may be. mapped: exported to its node. parked: kept without node and target.
    removing: on its way out.
    """

    MAKING = "making"
    MAPPED = "mapped"
    PARKED = "parked"
    REMOVING = "removing"


@dataclass(frozen=True)
class Seed:
    """What a new system on a disk is told at its first boot (cloud-init's NoCloud). May hold secrets: it is in no
    event, log or plan."""

    ssh_keys: tuple[str, ...] = ()
    user_data: str | None = field(default=None, repr=False)
    network_config: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Disk:
    """A node's own clone of an image, its address and its home. One that is parked keeps the address, and has no home.

    `number` is the target's id in tgtd, taken from a counter and never used again. `generation` rises at each
    map. `owner` is the RADOS address of the client that exports it, recorded before any initiator may enter. `portal`
    is IP:PORT, as its node was told; None: that of its home's own shard.
    """

    id: str
    project: str
    name: str
    image: str
    size: int
    number: int
    state: DiskState
    created_at: datetime
    node: str | None = None
    network: str | None = None
    address: str | None = None
    hostname: str | None = None
    head: str | None = None
    shard: str | None = None
    generation: int = 1
    owner: str | None = None
    seed: Seed | None = None
    portal: str | None = None


class BootStage(StrEnum):
    """The last thing seen of a boot: nothing yet, then the log-ins at the target, then an OS that reads."""

    WAITING = "waiting"
    FIRMWARE = "firmware"
    INITRAMFS = "initramfs"
    BOOTED = "booted"
    FAILED = "failed"


@dataclass(frozen=True)
class Boot:
    """One boot of a mapped node that is being watched. `deadline` None: the node is powered by somebody else.

    `base` is the highest session id of before the power-on: what a dead system left behind tells nothing.
    """

    disk: str
    node: str
    project: str
    operation: str
    correlation: str
    stage: BootStage
    attempt: int
    started_at: datetime
    deadline: datetime | None
    base: int = 0
    evidence: dict[str, str] = field(default_factory=dict)
