"""Steps on the seed: the small volume that tells a new system on a disk who it is.

What is in it may be secret, so a step holds the disk's id only, and the words come from the disk's row.
"""

from __future__ import annotations

from typing import ClassVar

from bmid.errors import ClaimLost
from bmid.model.seed import seed_files
from bmid.steps.base import Step, Wait, World

__all__ = ["RemoveSeed", "WriteSeed"]


class WriteSeed(Step):
    """The seed of the disk is there, at the disk's home."""

    kind: ClassVar[str] = "write-seed"
    disk: str

    def apply(self, world: World) -> Wait | None:
        """Write it from the row."""
        disk = world.notes.disk(self.disk)
        if disk is None:
            raise ClaimLost(f"the row of disk {self.disk} is gone")
        world.seeds.write(self.disk, seed_files(disk))
        return None

    def revert(self, world: World) -> Wait | None:
        """There is none."""
        world.seeds.remove(self.disk)
        return None


class RemoveSeed(Step):
    """There is no seed for the disk here."""

    kind: ClassVar[str] = "remove-seed"
    disk: str

    def apply(self, world: World) -> Wait | None:
        """Remove it; its target is gone."""
        world.seeds.remove(self.disk)
        return None
