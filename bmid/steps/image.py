"""Steps that make a golden image of a file: receive, inspect, copy and digest, seal, tidy up."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from bmid.drivers.base import ImageFile
from bmid.errors import PermanentError
from bmid.model.firmware import firmware_modes
from bmid.steps.base import Step, Wait, World
from bmid.steps.job import FillImage, copied, copy_job, follow

__all__ = [
    "GONE",
    "CopyImage",
    "DescribeImage",
    "DigestFile",
    "InspectFile",
    "ReceiveUpload",
    "RemoveImage",
    "SealImage",
    "TidyStaging",
]

GONE = "gone"  # the mark of an image whose bytes are no more, though its removal failed
MEND = "Mend the file, then send the command again under a new id."


def _source(world: World, file: str | None) -> Path:
    """The file that the image comes from: one of the import folder, or the upload."""
    if file is None:
        return world.staging / world.notes.operation
    if world.imports is None:
        raise PermanentError("imports-disabled", "this site has no import folder", todo="Set [images] import_folder.")
    path = world.imports / file
    if path.is_symlink() or not path.is_file():
        detail = f"there is no plain file {file} in the import folder"
        raise PermanentError("file-unknown", detail, todo="Put the file there, then send the command again.")
    return path


def _workspace(world: World) -> Path:
    return world.staging / f"{world.notes.operation}.work"


def _tidy(world: World) -> None:
    for path in world.staging.glob(f"{world.notes.operation}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


class ReceiveUpload(Step):
    """The bytes that the sender promised are there, whole."""

    kind: ClassVar[str] = "receive-upload"
    deadline: datetime

    def apply(self, world: World) -> Wait | None:
        """Wait for them; the listener wakes the operation."""
        if world.notes.mark("found") or world.notes.upload() is not None:
            return None
        look = min(world.notes.now() + timedelta(seconds=30), self.deadline)
        return Wait(look, "waits for the upload", self.deadline)

    def revert(self, world: World) -> Wait | None:
        """No staging file."""
        _tidy(world)
        return None


class InspectFile(Step):
    """Format and sizes are known, and what is dangerous is refused."""

    kind: ClassVar[str] = "inspect-file"
    file: str | None
    format: str | None
    sha256: str | None

    def apply(self, world: World) -> Wait | None:
        """In a child; what it finds is noted as `found`."""
        if world.notes.mark("found"):
            return None
        job = f"{world.notes.operation}-inspect"

        def start() -> None:
            world.imaging.inspect(job, _source(world, self.file), _workspace(world), self.sha256, self.format)

        done = follow(world, job, start, "looks at the image file", todo=MEND)
        if isinstance(done, Wait):
            return done
        found = done.result
        assert found is not None  # noqa: S101 - a done inspection has a result
        world.notes.write("found", vars(found))
        return None

    def revert(self, world: World) -> Wait | None:
        """No child, no unpacked file."""
        world.imaging.cancel(f"{world.notes.operation}-inspect")
        shutil.rmtree(_workspace(world), ignore_errors=True)
        return None


class CopyImage(FillImage):
    """The bytes are in the storage."""

    kind: ClassVar[str] = "copy-image"
    file: str | None

    def apply(self, world: World) -> Wait | None:
        """In a child, which tells how far it is. A copy that was cut off starts anew."""
        found = ImageFile(**world.notes.mark("found"))

        def start() -> None:
            destination = world.storage.create_image(self.image, found.virtual_size)
            file = world.imaging.unpacked(_source(world, self.file), _workspace(world), found)
            world.imaging.convert(copy_job(world), file, found, destination)

        return copied(world, start, "copies the image into the storage", self.kind, todo=MEND)


class DigestFile(Step):
    """The digest of the file is known, and is the one that was promised. It is read while it is copied."""

    kind: ClassVar[str] = "digest-file"
    file: str | None
    sha256: str | None

    def apply(self, world: World) -> Wait | None:
        """In a child, unless the file had to be read whole before; noted as `sha256`."""
        if world.notes.mark("sha256"):
            return None
        job = f"{world.notes.operation}-digest"
        found = ImageFile(**world.notes.mark("found"))

        def start() -> None:
            world.imaging.digest(job, _source(world, self.file), found, self.sha256)

        if not found.sha256:
            done = follow(world, job, start, "digests the image file", todo=MEND)
            if isinstance(done, Wait):
                return done
            assert done.result is not None  # noqa: S101 - a done digest has a result
            found = done.result
        world.notes.write("sha256", found.sha256)
        return None

    def revert(self, world: World) -> Wait | None:
        """No child."""
        world.imaging.cancel(f"{world.notes.operation}-digest")
        return None


class SealImage(Step):
    """The image is golden, says what it is, and it is known which firmware can boot it. With a `parent_mark` it hangs
    on its parent only where that mark was left."""

    kind: ClassVar[str] = "seal-image"
    image: str
    metadata: dict[str, Any]
    parent_mark: str | None = None

    def apply(self, world: World) -> Wait | None:
        """Read boot sector and partition table, then seal."""
        modes = firmware_modes(lambda offset, length: world.storage.read_image(self.image, offset, length))
        world.notes.write("firmware", list(modes))
        if not world.storage.sealed(self.image):
            world.storage.seal_image(self.image, {**self.metadata, **self._found(world), "firmware": list(modes)})
        return None

    def _found(self, world: World) -> dict[str, Any]:
        """What nobody knew when the plan was made."""
        found = world.notes.mark("found")
        facts = {"format": found["format"], "sha256": world.notes.mark("sha256") or ""} if found else {}
        alone = self.parent_mark is not None and not world.notes.mark(self.parent_mark)
        return {**facts, "parent": None} if alone else facts


class DescribeImage(Step):
    """A golden image says from now on what it is. `before` is what it says again on the way back."""

    kind: ClassVar[str] = "describe-image"
    image: str
    metadata: dict[str, Any]
    before: dict[str, Any]

    def apply(self, world: World) -> Wait | None:
        """Replace its metadata."""
        world.storage.seal_image(self.image, self.metadata)
        return None

    def revert(self, world: World) -> Wait | None:
        """As it was."""
        world.storage.seal_image(self.image, self.before)
        return None


class TidyStaging(Step):
    """Neither the upload nor what was unpacked of it is left."""

    kind: ClassVar[str] = "tidy-staging"

    def apply(self, world: World) -> Wait | None:
        """Delete what is named by this operation."""
        _tidy(world)
        return None


class RemoveImage(Step):
    """The image is in the trash."""

    kind: ClassVar[str] = "remove-image"
    image: str

    def apply(self, world: World) -> Wait | None:
        """Nothing hangs on it: the rows said so, and the storage says so again."""
        world.storage.remove_image(self.image)
        return None

    def revert(self, world: World) -> Wait | None:
        """Out of the trash again. Where it isn't there, that is noted, so that nobody is promised the image again."""
        if not world.storage.sealed(self.image):
            try:
                world.storage.restore("image", self.image)
            except PermanentError as error:
                if error.problem.slug != "trash-missing":
                    raise
                world.notes.write(GONE, True)
        return None
