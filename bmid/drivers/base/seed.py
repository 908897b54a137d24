"""The seed port: the small volume that tells a new system who it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from bmid.drivers.base.storage import Backing

__all__ = ["Seeds"]


class Seeds(ABC):
    """Seed volumes of this head, named by the ids of disks. They hold secrets: the target's server alone reads them."""

    @abstractmethod
    def check(self) -> str:
        """Whether volumes can be written; says where."""

    @abstractmethod
    def write(self, disk: str, files: Mapping[str, str]) -> None:
        """Ensure that a volume with exactly these files is there, complete before it gets its name."""

    @abstractmethod
    def remove(self, disk: str) -> None:
        """Ensure that there is none."""

    @abstractmethod
    def backing(self, disk: str) -> Backing:
        """How a target opens the volume, for reading only. No I/O."""

    @abstractmethod
    def inventory(self) -> tuple[str, ...]:
        """The disks that have a volume here."""
