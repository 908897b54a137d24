"""The ports: what the engine asks of storage, target, boot, power, imaging and isolation.

Every call is idempotent ("ensure"), blocks its thread for a bounded time, and raises TransientError where a
later try may work, PermanentError where none will. Names that reach a port are ids of ours, never text of a user.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from bmid.model.entity import Firmware, PowerAddress

__all__ = [
    "Backing",
    "Boot",
    "BootEntry",
    "Export",
    "ExportStatus",
    "ImageFile",
    "Imaging",
    "Isolation",
    "Job",
    "JobState",
    "Pointer",
    "Power",
    "PowerAction",
    "PowerState",
    "Session",
    "Storage",
    "StorageCapabilities",
    "Stored",
    "Target",
    "Usage",
]


@dataclass(frozen=True)
class Backing:
    """How tgtd opens a disk: backing-store type, path and options (no commas in any of them)."""

    bstype: str
    path: str
    bsopts: str = ""


@dataclass(frozen=True)
class StorageCapabilities:
    """cow: a clone takes no space and no time. shared: reachable from several heads. live_snapshot: a snapshot
    of a disk in use is consistent as after a crash. owners: knows and can fence the client that has a disk open."""

    cow: bool
    shared: bool
    live_snapshot: bool
    owners: bool


@dataclass(frozen=True)
class Usage:
    """Bytes of the pool or file system: all, and what is free for us."""

    total: int
    free: int


@dataclass(frozen=True)
class Stored:
    """One thing found in the storage: kind is image, disk or trash."""

    kind: str
    id: str
    metadata: Mapping[str, object] = field(default_factory=dict)


class Storage(ABC):
    """Golden images and their clones, named by ids. Absent things are fine for whatever removes."""

    capabilities: StorageCapabilities

    @abstractmethod
    def check(self) -> str:
        """A round trip to the storage; says what it is and its version. TransientError where it is out of reach."""

    @abstractmethod
    def usage(self) -> Usage | None:
        """Space of the pool, in bytes; None where the storage keeps no such figures (a Ceph without a manager)."""

    @abstractmethod
    def create_image(self, image: str, size: int) -> str:
        """Make an empty image of `size` bytes, dropping an unfinished one of that id; a sealed one is an error.

        Returns the destination as qemu-img understands it (`rbd:pool/id:...` or a path), format raw.
        """

    @abstractmethod
    def read_image(self, image: str, offset: int, length: int) -> bytes:
        """Bytes of an image, sealed or not; shorter at its end."""

    @abstractmethod
    def seal_image(self, image: str, metadata: Mapping[str, object]) -> None:
        """Make the image golden: flush, snapshot, metadata. From now on it can be cloned, and only then."""

    @abstractmethod
    def sealed(self, image: str) -> bool:
        """Whether the image is there and golden."""

    @abstractmethod
    def remove_image(self, image: str) -> None:
        """Ensure that the image is absent (moved to trash). PermanentError `image-in-use` while clones hang on it."""

    @abstractmethod
    def clone(self, image: str, disk: str, metadata: Mapping[str, object]) -> None:
        """Ensure that a clone of a sealed image is there, with its one value of metadata written."""

    @abstractmethod
    def describe(self, disk: str, metadata: Mapping[str, object]) -> None:
        """Replace the one value of metadata of a disk."""

    @abstractmethod
    def discard(self, disk: str, metadata: Mapping[str, object]) -> None:
        """Ensure that the disk is absent: last metadata written, then moved to trash. Works at once with a live
        or a fenced client."""

    @abstractmethod
    def backing(self, disk: str) -> Backing:
        """How a target opens this disk. No I/O."""

    @abstractmethod
    def owner(self, disk: str) -> str | None:
        """The address of the one client that has the disk open; None where the storage knows no owners.

        TransientError `owner-unclear` where there is none, or more than one.
        """

    @abstractmethod
    def fence(self, disk: str, recorded: Collection[str]) -> None:
        """Cut off the recorded owners and whoever has the disk open now, and verify it. Cheap when there is nobody."""

    @abstractmethod
    def inventory(self, metadata: bool = True) -> Iterable[Stored]:
        """All that is in the storage, trash too. With `metadata` each entry costs an open; without, a list is all
        that is asked for, and `Stored.metadata` is empty."""

    @abstractmethod
    def purge(self, limit: int) -> int:
        """Remove at most `limit` entries of the trash for good; how many were removed."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True)
class Export:
    """One target: a disk, and the one initiator that may enter."""

    number: int
    iqn: str
    backing: Backing
    address: str
    user: str
    secret: str = field(repr=False)
    lun: int = 1


@dataclass(frozen=True)
class Session:
    """A log-in at a target. Byte counters start at the log-in and vanish with the session. `id` only rises while
    the target's server runs. `alias` is what the initiator calls itself; the firmware's sends none."""

    id: int
    initiator: str
    address: str
    bytes_read: int
    bytes_written: int
    alias: str | None = None


@dataclass(frozen=True)
class ExportStatus:
    """A target as it stands: open means that account and address are bound."""

    number: int
    iqn: str
    backing: str
    user: str | None
    addresses: tuple[str, ...]
    sessions: tuple[Session, ...]

    @property
    def open(self) -> bool:
        """Whether an initiator may enter."""
        return bool(self.user and self.addresses)


class Target(ABC):
    """The iSCSI targets of this head, over its shards. A shard is one tgtd."""

    shards: tuple[str, ...]

    @abstractmethod
    def check(self, shard: str) -> str:
        """A round trip; says what it is and its version. TransientError where it is down or frozen."""

    @abstractmethod
    def portal(self, shard: str) -> tuple[str, int]:
        """Address and port at which initiators find the shard."""

    @abstractmethod
    def create(self, shard: str, export: Export) -> None:
        """Make target and LUN anew, closed to all. What stands under that number or IQN is removed first."""

    @abstractmethod
    def admit(self, shard: str, export: Export) -> None:
        """Bind the CHAP account, then the initiator's address: from now on it may enter."""

    @abstractmethod
    def remove(self, shard: str, number: int, user: str) -> None:
        """Ensure absent, also under I/O: offline, close every connection, delete target, then account."""

    @abstractmethod
    def status(self, shard: str, number: int) -> ExportStatus | None:
        """One target with its sessions; None if it isn't there."""

    @abstractmethod
    def exports(self, shard: str) -> tuple[ExportStatus, ...]:
        """All targets of the shard with their sessions."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True)
class BootEntry:
    """What a node needs to boot its disk: who it is, where the target is, and how to log in."""

    node: str
    disk: str
    generation: int
    mac: str
    address: str
    hostname: str
    firmware: Firmware
    portal: tuple[str, int]
    iqn: str
    initiator: str
    user: str
    secret: str = field(repr=False)
    lun: int = 1


@dataclass(frozen=True)
class Pointer:
    """A boot pointer as it stands: which address is led to which target. `complete` is False while a part of it
    (script, loaders, host entry) is missing."""

    address: str
    disk: str
    generation: int
    iqn: str
    complete: bool = True


class Boot(ABC):
    """Boot pointers of this head: what the firmware of a node is told."""

    @abstractmethod
    def check(self) -> str:
        """Whether pointers can be written and the DHCP/TFTP server is there; says what it is."""

    @abstractmethod
    def point(self, entry: BootEntry) -> None:
        """Ensure that the node is led to its target, the visible part last and atomically."""

    @abstractmethod
    def clear(self, address: str, disk: str) -> None:
        """Ensure that nothing leads from this address to this disk; the node finds the dark script or nothing.
        A pointer to another disk is left alone."""

    @abstractmethod
    def pointer(self, address: str) -> Pointer | None:
        """Where this address is led."""

    @abstractmethod
    def pointers(self) -> tuple[Pointer, ...]:
        """All pointers of this head."""

    @abstractmethod
    def foreign_lines(self, entry: BootEntry) -> tuple[str, ...]:
        """The lines that a DHCP server of somebody else needs for this node (dnsmasq form)."""

    @abstractmethod
    def answers(self, address: str) -> bool | None:
        """Whether the address answers ARP on the boot network; None where that can't be known (yet)."""


class PowerState(StrEnum):
    """What the BMC says, read back."""

    ON = "on"
    OFF = "off"
    UNKNOWN = "unknown"


class PowerAction(StrEnum):
    """What can be asked of a BMC. `off` is hard; `cycle` is off and on again, or on if it was off."""

    ON = "on"
    OFF = "off"
    CYCLE = "cycle"


class Power(ABC):
    """The power of nodes. Requests return when the BMC has taken them; whether they were done, `state` tells."""

    @abstractmethod
    def check(self, bmc: PowerAddress) -> str:
        """A round trip to the BMC with its credential; says what it is."""

    @abstractmethod
    def state(self, bmc: PowerAddress) -> PowerState:
        """Power as the BMC reads it now."""

    @abstractmethod
    def request(self, bmc: PowerAddress, action: PowerAction) -> None:
        """Ask for the action. TransientError while the BMC is busy or out of reach."""

    @abstractmethod
    def boot_from_network_once(self, bmc: PowerAddress) -> None:
        """The next boot, and only that, is from the network; read back."""


class JobState(StrEnum):
    """Where a child process is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class ImageFile:
    """What was found by looking at a file: sizes in bytes, digest of the bytes as they came in."""

    format: str
    compression: str | None
    size: int
    virtual_size: int
    sha256: str


@dataclass(frozen=True)
class Job:
    """A child process as it stands. `problem` is set when it failed: slug, detail and whether a retry could help."""

    state: JobState
    done: int = 0
    total: int = 0
    result: ImageFile | None = None
    problem: tuple[str, str, bool] | None = None


class Imaging(ABC):
    """Work on image files, in child processes with limits on time, memory and files. Jobs are named by ids and
    die with this process; a job that is not known is started anew by its step."""

    @abstractmethod
    def check(self) -> str:
        """Whether the tools are there; says their versions."""

    @abstractmethod
    def inspect(self, job: str, source: Path, workspace: Path, sha256: str | None, declared: str | None) -> None:
        """Start: digest, unpack (gz, xz, zst) below `workspace`, find format and size, refuse what is dangerous."""

    @abstractmethod
    def convert(self, job: str, file: Path, found: ImageFile, destination: str) -> None:
        """Start: copy the file that `inspect` found (format forced) into the storage's destination, as raw."""

    @abstractmethod
    def poll(self, job: str) -> Job | None:
        """How a job stands; None if it isn't known."""

    @abstractmethod
    def unpacked(self, source: Path, workspace: Path, found: ImageFile) -> Path:
        """The file that holds the image after `inspect`: the source itself, or the unpacked one."""

    @abstractmethod
    def cancel(self, job: str) -> None:
        """Ensure that the job's processes are gone and forgotten."""


class Isolation(ABC):
    """Who may have which node, on which networks. Without an isolation layer everything is allowed."""

    @abstractmethod
    def allows(self, project: str, node: str) -> bool:
        """Whether the project may use the node now."""
