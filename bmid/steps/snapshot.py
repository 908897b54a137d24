"""Steps that make a golden image of a disk: freeze, duplicate, thaw. Sealing is the same as after an import."""

from __future__ import annotations

from typing import ClassVar

from bmid.drivers.base import Job
from bmid.errors import Refused
from bmid.steps.base import Step, Wait, World
from bmid.steps.job import FillImage, copied, copy_job, hand_over

__all__ = ["DuplicateDisk", "FreezeDisk", "RequireUntouched", "ThawDisk"]

PATIENCE = 2.0  # seconds; somebody may be waiting to use the node again, and most copies end within them


class FreezeDisk(Step):
    """The disk has a snapshot that nothing changes any more."""

    kind: ClassVar[str] = "freeze-disk"
    disk: str
    snapshot: str
    image: str

    def apply(self, world: World) -> Wait | None:
        """Unless the image that it is for is golden already."""
        if not world.storage.sealed(self.image):
            world.storage.freeze(self.disk, self.snapshot)
            if not world.notes.mark("frozen"):
                world.notes.write("frozen", True)
        return None

    def revert(self, world: World) -> Wait | None:
        """No snapshot."""
        world.storage.thaw(self.disk, self.snapshot)
        return None


class DuplicateDisk(FillImage):
    """What the snapshot holds is in an image of its own."""

    kind: ClassVar[str] = "duplicate-disk"
    disk: str
    snapshot: str

    def apply(self, world: World) -> Wait | None:
        """At once, or in a child, which tells how far it is. A copy that was cut off starts anew."""

        def start() -> Job | None:
            return hand_over(world, copy_job(world), world.storage.duplicate(self.disk, self.snapshot, self.image))

        return copied(world, start, "copies the disk", self.kind, patience=PATIENCE)


class RequireUntouched(Step):
    """Nobody has begun to use the disk while it was copied. Where the storage makes consistent snapshots of a disk in
    use, nobody has to look."""

    kind: ClassVar[str] = "require-untouched"
    image: str
    node: str
    shard: str
    number: int

    def apply(self, world: World) -> Wait | None:
        """No session is newer than those that were noted."""
        if world.storage.capabilities.live_snapshot or world.storage.sealed(self.image):
            return None
        status = world.target.status(self.shard, self.number)
        newest = max((one.id for one in status.sessions), default=0) if status else 0
        if newest > int(world.notes.mark("base") or 0):
            detail = f"node {self.node} has begun to use its disk while it was copied"
            raise Refused("session-live", detail, todo="Shut it down, then send the command again.")
        return None


class ThawDisk(Step):
    """The disk has no snapshot of ours any more."""

    kind: ClassVar[str] = "thaw-disk"
    disk: str
    snapshot: str

    def apply(self, world: World) -> Wait | None:
        """Remove it: the image needs it no longer."""
        world.storage.thaw(self.disk, self.snapshot)
        return None
