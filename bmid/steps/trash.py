"""Steps on the way out of the trash."""

from __future__ import annotations

from typing import Any, ClassVar

from bmid.steps.base import Step, Wait, World

__all__ = ["RestoreDisk", "RestoreImage"]


class RestoreImage(Step):
    """A removed image is golden again. `metadata`: what it says of itself from now on, where that has changed."""

    kind: ClassVar[str] = "restore-image"
    image: str
    metadata: dict[str, Any] | None = None

    def apply(self, world: World) -> Wait | None:
        """Out of the trash, as it was."""
        world.storage.restore("image", self.image)
        if self.metadata is not None:
            world.storage.seal_image(self.image, self.metadata)
        return None

    def revert(self, world: World) -> Wait | None:
        """In the trash, where its row still says that it is."""
        world.storage.remove_image(self.image)
        return None


class RestoreDisk(Step):
    """A discarded disk is there again, and says so. `before` is what it says again in the trash."""

    kind: ClassVar[str] = "restore-disk"
    disk: str
    metadata: dict[str, Any]
    before: dict[str, Any]

    def apply(self, world: World) -> Wait | None:
        """Out of the trash, as it was."""
        world.storage.restore("disk", self.disk)
        world.storage.describe(self.disk, self.metadata)
        return None

    def revert(self, world: World) -> Wait | None:
        """In the trash, where its row still says that it is."""
        world.storage.discard(self.disk, self.before)
        return None
