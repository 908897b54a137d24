"""Steps that make a golden image of a file: receive, inspect, copy, seal, tidy up."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from bmid.drivers.base import ImageFile, Job, JobState
from bmid.errors import PermanentError, TransientError
from bmid.model.firmware import firmware_modes
from bmid.steps.base import Step, Wait, World

__all__ = ["CopyImage", "InspectFile", "ReceiveUpload", "RemoveImage", "SealImage", "TidyStaging"]

LOOK = timedelta(seconds=1)
UPLOAD_LOOK = timedelta(seconds=5)  # the listener wakes us sooner, but for one moment
SOON = timedelta(milliseconds=200)


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


def _settled(world: World, job: str, stand: Job) -> Job | None:
    """The job if it is done; raises if it failed; None while it runs."""
    if stand.state is JobState.RUNNING:
        return None
    world.imaging.cancel(job)
    if stand.state is JobState.FAILED:
        slug, detail, again = stand.problem or ("child-failed", "the child process failed", True)
        if again:
            raise TransientError(slug, detail)
        raise PermanentError(slug, detail, todo="Mend the file, then send the command again under a new id.")
    return stand


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
        for path in world.staging.glob(f"{world.notes.operation}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return None


class InspectFile(Step):
    """Digest, format and sizes are known, and what is dangerous is refused."""

    kind: ClassVar[str] = "inspect-file"
    file: str | None
    format: str | None
    sha256: str | None

    def apply(self, world: World) -> Wait | None:
        """In a child; what it finds is noted as `found`."""
        if world.notes.mark("found"):
            return None
        job = f"{world.notes.operation}-inspect"
        stand = world.imaging.poll(job)
        if stand is None:
            workspace = _workspace(world)
            workspace.mkdir(parents=True, exist_ok=True)
            world.imaging.inspect(job, _source(world, self.file), workspace, self.sha256, self.format)
            return Wait(world.notes.now() + SOON, "looks at the image file")
        done = _settled(world, job, stand)
        if done is None:
            return Wait(world.notes.now() + LOOK, "looks at the image file")
        found = done.result
        assert found is not None  # noqa: S101 - a done inspection has a result
        world.notes.write("found", vars(found))
        return None

    def revert(self, world: World) -> Wait | None:
        """No child, no unpacked file."""
        world.imaging.cancel(f"{world.notes.operation}-inspect")
        shutil.rmtree(_workspace(world), ignore_errors=True)
        return None


class CopyImage(Step):
    """The bytes are in the storage."""

    kind: ClassVar[str] = "copy-image"
    image: str
    file: str | None

    def apply(self, world: World) -> Wait | None:
        """In a child, which tells how far it is. A copy that was cut off starts anew."""
        if world.notes.mark("copied"):
            return None
        job = f"{world.notes.operation}-copy"
        found = ImageFile(**world.notes.mark("found"))
        stand = world.imaging.poll(job)
        if stand is None:
            destination = world.storage.create_image(self.image, found.virtual_size)
            file = world.imaging.unpacked(_source(world, self.file), _workspace(world), found)
            world.imaging.convert(job, file, found, destination)
            return Wait(world.notes.now() + SOON, "copies the image into the storage")
        if _settled(world, job, stand) is None:
            world.notes.progress(self.kind, stand.done, stand.total)
            return Wait(world.notes.now() + LOOK, "copies the image into the storage")
        world.notes.progress(self.kind, found.virtual_size, found.virtual_size)
        world.notes.write("copied", True)
        return None

    def revert(self, world: World) -> Wait | None:
        """No child, no image."""
        world.imaging.cancel(f"{world.notes.operation}-copy")
        world.storage.remove_image(self.image)
        return None


class SealImage(Step):
    """The image is golden, and it is known which firmware can boot it."""

    kind: ClassVar[str] = "seal-image"
    image: str
    metadata: dict[str, Any]

    def apply(self, world: World) -> Wait | None:
        """Read boot sector and partition table, then seal."""
        if not world.storage.sealed(self.image):
            world.storage.seal_image(self.image, self.metadata)
        modes = firmware_modes(lambda offset, length: world.storage.read_image(self.image, offset, length))
        world.notes.write("firmware", list(modes))
        return None


class TidyStaging(Step):
    """Neither the upload nor what was unpacked of it is left."""

    kind: ClassVar[str] = "tidy-staging"

    def apply(self, world: World) -> Wait | None:
        """Delete what is named by this operation."""
        for path in world.staging.glob(f"{world.notes.operation}*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return None


class RemoveImage(Step):
    """The image is in the trash."""

    kind: ClassVar[str] = "remove-image"
    image: str

    def apply(self, world: World) -> Wait | None:
        """Nothing hangs on it: the rows said so, and the storage says so again."""
        world.storage.remove_image(self.image)
        return None
