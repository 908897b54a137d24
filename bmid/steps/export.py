"""Steps that bring a golden image to others: to a file in the export folder, or to an RBD image in a pool of theirs.

Nothing is ever overwritten, and what isn't whole has no name that anybody would take for the real thing.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Literal

from bmid.errors import Misconfigured, PermanentError, Refused, TransientError
from bmid.steps.base import Step, Wait, World
from bmid.steps.job import COPIED, LOOK, copied, copy_job, follow
from bmid.steps.sighting import partial_name

__all__ = [
    "PLACED",
    "WRITTEN",
    "PlaceFile",
    "ReleaseForeign",
    "WriteFile",
    "WriteForeign",
    "check_folder",
    "identity",
]

WRITTEN = "written"  # what was written: size and digest of the file
PLACED = "placed"  # by which the file is known as ours, under whatever name
ELSEWHERE = "Choose another name, or have what is there taken away."


def identity(stat: os.stat_result) -> list[int]:
    """What tells a file from any other that might come to have its name."""
    return [stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns]


def check_folder(folder: Path) -> str:
    """Whether exports can be put there: written, named by a link, taken away. Raises Misconfigured."""
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".check-") as file:
            link = Path(f"{file.name}.link")
            os.link(file.name, link)
            link.unlink()
    except OSError as error:
        todo = "It must be there, writable for bmid, and on a file system that knows hard links."
        raise Misconfigured(f"export folder {folder}: {error.strerror or error}", todo=todo) from error
    return f"export folder {folder}"


def _folder(world: World) -> Path:
    if world.exports is None:
        raise PermanentError("exports-disabled", "this site has no export folder", todo="Set [images] export_folder.")
    return world.exports


def _partial(world: World) -> Path:
    """The file while it isn't whole."""
    return _folder(world) / partial_name(world.notes.operation)


def _ours(world: World, path: Path) -> bool:
    """Whether the file at `path` is the one that this operation put there."""
    try:
        return bool(identity(path.lstat()) == world.notes.mark(PLACED))
    except FileNotFoundError:
        return False


@contextmanager
def _folder_errors() -> Iterator[None]:
    """The folder may be a mount that is away, or full: it may come back."""
    try:
        yield
    except OSError as error:
        detail = f"the export folder failed: {error.strerror or error}"
        raise TransientError("exports-failed", detail, todo="Look at the export folder.") from error


class WriteFile(Step):
    """The image is in a hidden file of the export folder, whole and on the disk, and its digest is known."""

    kind: ClassVar[str] = "write-file"
    image: str
    size: int
    file: str
    format: Literal["raw", "qcow2"]

    def apply(self, world: World) -> Wait | None:
        """In a child, which tells how far it is. Refused before it begins where the name is taken."""
        partial, final = _partial(world), _folder(world) / self.file
        with _folder_errors():
            if _ours(world, final) or (world.notes.mark(WRITTEN) and partial.exists()):
                return None
            if os.path.lexists(final):
                raise Refused("export-exists", f"there is a {self.file} in the export folder", todo=ELSEWHERE)
            if not partial.parent.is_dir():
                raise FileNotFoundError(None, "it is not there")
        job = f"{world.notes.operation}-write"

        def start() -> None:
            world.imaging.write(job, world.storage.address(self.image), self.size, partial, self.format)

        done = follow(world, job, start, f"writes {self.file}", told=self.kind)
        if isinstance(done, Wait):
            return done
        found = done.result
        assert found is not None  # noqa: S101 - what has written a file knows it
        world.notes.write(WRITTEN, {"size": found.size, "sha256": found.sha256})
        return None

    def revert(self, world: World) -> Wait | None:
        """No child, no hidden file."""
        world.imaging.cancel(f"{world.notes.operation}-write")
        if world.exports is not None:
            with _folder_errors():
                _partial(world).unlink(missing_ok=True)
        return None


class PlaceFile(Step):
    """The file has its name, which nothing had before."""

    kind: ClassVar[str] = "place-file"
    file: str

    def apply(self, world: World) -> Wait | None:
        """By a link, which never replaces anything; then the hidden name goes."""
        partial, final = _partial(world), _folder(world) / self.file
        with _folder_errors():
            if not _ours(world, final):
                known = identity(partial.lstat())
                if known != world.notes.mark(PLACED):
                    world.notes.write(PLACED, known)
                self._link(partial, final)
            partial.unlink(missing_ok=True)
            _sync(final.parent)
        return None

    def _link(self, partial: Path, final: Path) -> None:
        try:
            os.link(partial, final, follow_symlinks=False)
        except FileExistsError:
            detail = f"somebody else has put a {self.file} into the export folder meanwhile"
            raise PermanentError("export-exists", detail, todo=ELSEWHERE) from None

    def revert(self, world: World) -> Wait | None:
        """Taken away again, if it is ours."""
        if world.exports is not None:
            final = world.exports / self.file
            with _folder_errors():
                if _ours(world, final):
                    final.unlink(missing_ok=True)
        return None


def _sync(folder: Path) -> None:
    """A name that is safe against a loss of power."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class WriteForeign(Step):
    """The image is in a pool of somebody else, marked as ours until it is whole. The mark is the operation's id."""

    kind: ClassVar[str] = "write-foreign"
    image: str
    size: int
    pool: str
    name: str

    def apply(self, world: World) -> Wait | None:
        """In a child, which tells how far it is, after what an earlier one left is gone. Refused before it begins where
        the name is taken."""

        def start() -> None:
            made = world.storage.create_foreign(self.pool, self.name, self.size, world.notes.operation)
            world.imaging.copy(copy_job(world), world.storage.address(self.image), self.size, made.address)

        begun = world.notes.mark(COPIED) or world.imaging.poll(copy_job(world))
        if not begun and (wait := self._removed(world)):
            return wait
        try:
            return copied(world, start, f"writes {self.pool}/{self.name}", self.kind)
        except PermanentError as error:
            if error.problem.slug != "export-exists":
                raise
            raise Refused("export-exists", str(error), todo=ELSEWHERE) from error

    def revert(self, world: World) -> Wait | None:
        """No child, and nothing with our mark."""
        world.imaging.cancel(copy_job(world))
        return self._removed(world)

    def _removed(self, world: World) -> Wait | None:
        """What is much goes a part at a time."""
        if world.storage.remove_foreign(self.pool, self.name, world.notes.operation):
            return None
        return Wait(world.notes.now() + LOOK, f"removes the unfinished {self.pool}/{self.name}", unproven=True)


class ReleaseForeign(Step):
    """The image in the pool is nobody's that we know: whoever keeps the pool has it now."""

    kind: ClassVar[str] = "release-foreign"
    pool: str
    name: str

    def apply(self, world: World) -> Wait | None:
        """There is no way back from here, so whatever goes wrong is tried again."""
        if world.notes.mark("released"):
            return None
        try:
            world.storage.release_foreign(self.pool, self.name, world.notes.operation)
        except PermanentError as error:
            raise TransientError(error.problem.slug, str(error), todo=error.problem.todo) from error
        world.notes.write("released", True)
        return None
