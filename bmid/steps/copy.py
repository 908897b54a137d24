"""Steps that make an unsealed image of what lies in a storage already: another image, or an RBD image of somebody else.

Sealing it is the business of steps/image.py, as it is for one that came from a file.
"""

from __future__ import annotations

from typing import ClassVar

from bmid.drivers.base import Foreign, ImageFile
from bmid.errors import PermanentError
from bmid.steps.base import Wait, World
from bmid.steps.job import FillImage, copied, copy_job

__all__ = ["CLONED", "CopyForeign", "CopyStored"]

CLONED = "cloned"  # the mark of a copy that hangs on its original
SECTOR = 512


class CopyStored(FillImage):
    """The bytes of a golden image are in an image of their own: shared where the storage can, unless they shall not."""

    kind: ClassVar[str] = "copy-stored"
    source: str
    size: int
    flatten: bool

    def apply(self, world: World) -> Wait | None:
        """Clone, or copy in a child. What was cut off starts anew."""
        if world.notes.mark(CLONED):
            return None
        if world.storage.capabilities.cow and not self.flatten:
            world.storage.clone_image(self.source, self.image)
            world.notes.write(CLONED, True)
            return None

        def start() -> None:
            destination = world.storage.create_image(self.image, self.size)
            world.imaging.copy(copy_job(world), world.storage.address(self.source), self.size, destination)

        return copied(world, start, "copies the image", self.kind)


class CopyForeign(FillImage):
    """The bytes of an RBD image that somebody else keeps, or of a snapshot of it, are in an image of ours.

    The source is only read. `limit` in bytes.
    """

    kind: ClassVar[str] = "copy-foreign"
    pool: str
    source: str
    snapshot: str | None
    limit: int

    def apply(self, world: World) -> Wait | None:
        """In a child, which tells how far it is. Without a snapshot nobody may have it open, before and after."""

        def start() -> None:
            found = self._look(world)
            size = -(-found.size // SECTOR) * SECTOR
            world.notes.write("found", vars(ImageFile("raw", None, found.size, size, "")))
            destination = world.storage.create_image(self.image, size)
            world.imaging.copy(copy_job(world), found.address, found.size, destination)

        why = f"copies {self.pool}/{self.source}"
        return copied(world, start, why, self.kind, check=lambda: self._look(world))

    def _look(self, world: World) -> Foreign:
        found = world.storage.foreign_source(self.pool, self.source, self.snapshot)
        if found.size > self.limit:
            detail = f"{self.pool}/{self.source} has {found.size} bytes, more than the limit of {self.limit}"
            raise PermanentError("too-large", detail, todo="Import a smaller one, or have the limit raised.")
        if not found.size:
            raise PermanentError("image-empty", f"{self.pool}/{self.source} is empty", todo="Import another one.")
        return found
