"""Steps that make an unsealed image of what lies in a storage already: another image, or an RBD image of somebody else.

Sealing it is the business of steps/image.py, as it is for one that came from a file.
"""

from __future__ import annotations

from typing import ClassVar

from bmid.drivers.base import Foreign, ImageFile
from bmid.errors import PermanentError
from bmid.steps.base import Step, Wait, World
from bmid.steps.job import follow

__all__ = ["CLONED", "CopyForeign", "CopyStored"]

CLONED = "cloned"  # the mark of a copy that hangs on its original
SECTOR = 512


class CopyStored(Step):
    """The bytes of a golden image are in an image of their own: shared where the storage can, unless they shall not."""

    kind: ClassVar[str] = "copy-stored"
    source: str
    image: str
    size: int
    flatten: bool

    def apply(self, world: World) -> Wait | None:
        """Clone, or copy in a child. What was cut off starts anew."""
        if world.notes.mark("copied") or world.storage.sealed(self.image):
            return None
        if world.storage.capabilities.cow and not self.flatten:
            world.notes.write(CLONED, True)
            world.storage.clone_image(self.source, self.image)
            return None
        job = f"{world.notes.operation}-copy"

        def start() -> None:
            destination = world.storage.create_image(self.image, self.size)
            world.imaging.copy(job, world.storage.address(self.source), self.size, destination)

        done = follow(world, job, start, "copies the image", told=self.kind)
        if isinstance(done, Wait):
            return done
        world.notes.write("copied", True)
        return None

    def revert(self, world: World) -> Wait | None:
        """No child, no image."""
        world.imaging.cancel(f"{world.notes.operation}-copy")
        world.storage.remove_image(self.image)
        return None


class CopyForeign(Step):
    """The bytes of an RBD image that somebody else keeps, or of a snapshot of it, are in an image of ours.

    The source is only read. `limit` in bytes.
    """

    kind: ClassVar[str] = "copy-foreign"
    image: str
    pool: str
    source: str
    snapshot: str | None
    limit: int

    def apply(self, world: World) -> Wait | None:
        """In a child, which tells how far it is. Without a snapshot nobody may have it open, before and after."""
        if world.notes.mark("copied"):
            return None
        job = f"{world.notes.operation}-copy"

        def start() -> None:
            found = self._look(world)
            size = -(-found.size // SECTOR) * SECTOR
            world.notes.write("found", vars(ImageFile("raw", None, found.size, size, "")))
            destination = world.storage.create_image(self.image, size)
            world.imaging.copy(job, found.address, found.size, destination)

        done = follow(world, job, start, f"copies {self.pool}/{self.source}", told=self.kind)
        if isinstance(done, Wait):
            return done
        self._look(world)
        world.notes.write("copied", True)
        return None

    def _look(self, world: World) -> Foreign:
        found = world.storage.foreign_source(self.pool, self.source, self.snapshot)
        if found.size > self.limit:
            detail = f"{self.pool}/{self.source} has {found.size} bytes, more than the limit of {self.limit}"
            raise PermanentError("too-large", detail, todo="Import a smaller one, or have the limit raised.")
        if not found.size:
            raise PermanentError("image-empty", f"{self.pool}/{self.source} is empty", todo="Import another one.")
        return found

    def revert(self, world: World) -> Wait | None:
        """No child, no image."""
        world.imaging.cancel(f"{world.notes.operation}-copy")
        world.storage.remove_image(self.image)
        return None
