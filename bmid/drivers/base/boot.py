"""The boot port: what the firmware of a node is led to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from bmid.model.entity import Firmware

__all__ = ["Boot", "BootEntry", "Pointer"]


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
