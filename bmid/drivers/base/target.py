"""The target port: iSCSI exports of disks, each for one initiator."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from bmid.drivers.base.storage import Backing

__all__ = ["Export", "ExportStatus", "Session", "Target"]


@dataclass(frozen=True)
class Export:
    """One target: a disk, and the one initiator that may enter. `seed` is a second LUN beside it, for reading only."""

    number: int
    iqn: str
    backing: Backing
    address: str
    user: str
    secret: str = field(repr=False)
    lun: int = 1
    seed: Backing | None = None


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
    seed: str | None = None

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
