"""Steps on a node's disk in the storage."""

from __future__ import annotations

from typing import Any, ClassVar

from bmid.steps.base import Step, Wait, World

__all__ = ["CloneDisk", "DiscardDisk"]


class CloneDisk(Step):
    """A copy-on-write clone of the image is there, and says whose it is."""

    kind: ClassVar[str] = "clone-disk"
    image: str
    disk: str
    metadata: dict[str, Any]

    def apply(self, world: World) -> Wait | None:
        """Clone."""
        world.storage.clone(self.image, self.disk, self.metadata)
        return None

    def revert(self, world: World) -> Wait | None:
        """Discard, whoever may have it open."""
        world.storage.fence(self.disk, [owner] if (owner := world.notes.owner(self.disk)) else [])
        world.storage.discard(self.disk, {**self.metadata, "state": "discarded"})
        return None


class DiscardDisk(Step):
    """The disk is in the trash."""

    kind: ClassVar[str] = "discard-disk"
    disk: str
    metadata: dict[str, Any]

    def apply(self, world: World) -> Wait | None:
        """Discard. Its target is gone by now; a client that has it open all the same did not close in time."""
        world.storage.discard(self.disk, self.metadata)
        return None
