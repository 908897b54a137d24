"""Steps on a node's disk in the storage."""

from __future__ import annotations

from typing import Any, ClassVar

from bmid.errors import PermanentError
from bmid.steps.base import Step, Wait, World

__all__ = ["CloneDisk", "DescribeDisk", "DiscardDisk", "LocateDisk"]


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
        _cut_off(world, self.disk)
        world.storage.discard(self.disk, {**self.metadata, "state": "discarded"})
        return None


def _cut_off(world: World, disk: str) -> None:
    """Whoever was let in can write no more."""
    owner = world.notes.owner(disk)
    world.storage.fence(disk, [owner] if owner else [])


class DescribeDisk(Step):
    """The disk says in the storage where it is from now on. `before` is what it says again on the way back, if there
    is a way back."""

    kind: ClassVar[str] = "describe-disk"
    disk: str
    metadata: dict[str, Any]
    before: dict[str, Any] | None = None

    def apply(self, world: World) -> Wait | None:
        """Replace its metadata."""
        world.storage.describe(self.disk, self.metadata)
        return None

    def revert(self, world: World) -> Wait | None:
        """As it was; whoever was let in meanwhile is cut off. Where the disk itself is gone, its node is free all the
        same."""
        if self.before is None:
            return None
        try:
            _cut_off(world, self.disk)
            world.storage.describe(self.disk, self.before)
        except PermanentError as error:
            if error.problem.slug != "storage-missing":
                raise
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


class LocateDisk(Step):
    """It is noted where the disk is, as `location`, for whoever wants to use it in another way than we do."""

    kind: ClassVar[str] = "locate-disk"
    disk: str

    def apply(self, world: World) -> Wait | None:
        """Where a target would open it."""
        if not world.notes.mark("location"):
            world.notes.write("location", world.storage.backing(self.disk).path)
        return None
