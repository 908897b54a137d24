"""Golden images and disks as raw sparse files in a folder: the driver `directory`, for one head.

Below the folder: images/ID.raw, golden once images/ID.json lies beside it; disks/ID.raw with disks/ID.json;
trash/KIND-ID.*. A name appears by rename, when what it names is complete and on the disk. Copying lives in sparse.py.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path

from bmid.drivers.base import Backing, Storage, StorageCapabilities, Stored, Usage
from bmid.drivers.storage.sparse import clone_file, reflinks, sync_folder
from bmid.errors import BmiError, PermanentError, TransientError

__all__ = ["DirectoryStorage"]

_FREE_SPACE = "Free space on this file system; remove disks and images that nobody needs."
_REACH = "See whether the folder that the settings name is there, and whether bmid may write to it."


class DirectoryStorage(Storage):
    """Storage in a folder of this head. It doesn't know who has a file open: owner() is None, fence() does nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._images = folder / "images"
        self._disks = folder / "disks"
        self._trash = folder / "trash"

    @cached_property
    def capabilities(self) -> StorageCapabilities:  # type: ignore[override]
        """Found by trying: whether the file system shares blocks between files."""
        with _translated():
            self._prepare()
            cow = reflinks(self._trash)
        return StorageCapabilities(cow=cow, shared=False, live_snapshot=cow, owners=False)

    def check(self) -> str:
        with _translated():
            self._prepare()
            probe = self._trash / f"probe.{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        return f"folder {self._folder}, {'reflinks' if self.capabilities.cow else 'sparse copies'}"

    def usage(self) -> Usage:
        with _translated():
            self._prepare()
            figures = os.statvfs(self._folder)
        return Usage(total=figures.f_blocks * figures.f_frsize, free=figures.f_bavail * figures.f_frsize)

    def create_image(self, image: str, size: int) -> str:
        with _translated():
            self._prepare()
            if self.sealed(image):
                raise PermanentError("image-sealed", f"image {image} is golden already")
            path = self._images / f"{image}.raw"
            path.unlink(missing_ok=True)  # its unfinished writer, if it lives, writes into nothing
            with path.open("xb") as file:
                file.truncate(size)
            path.chmod(0o640)
        return str(path)

    def read_image(self, image: str, offset: int, length: int) -> bytes:
        with _translated(), (self._images / f"{image}.raw").open("rb") as file:
            return os.pread(file.fileno(), length, offset)

    def seal_image(self, image: str, metadata: Mapping[str, object]) -> None:
        with _translated():
            with (self._images / f"{image}.raw").open("rb") as file:
                os.fsync(file.fileno())
            _write(self._images / f"{image}.json", {"metadata": dict(metadata)})

    def sealed(self, image: str) -> bool:
        with _translated():
            return (self._images / f"{image}.json").exists() and (self._images / f"{image}.raw").exists()

    def remove_image(self, image: str) -> None:
        # A copy doesn't need its original, but elsewhere a clone does: one promise for all storages.
        with _translated():
            self._prepare()
            disks = [path.stem for path in self._disks.glob("*.raw") if self._origin(path) == image]
            if disks:
                detail = f"{len(disks)} disks hang on image {image}: {', '.join(disks[:5])}"
                todo = "Remove the disks made from it first."
                raise PermanentError("image-in-use", detail, todo=todo, disks=disks)
            self._discard(self._images, image)

    def clone(self, image: str, disk: str, metadata: Mapping[str, object]) -> None:
        if not self.sealed(image):
            raise PermanentError("image-missing", f"there is no golden image {image}", todo="Import it again.")
        with _translated():
            self._prepare()
            path = self._disks / f"{disk}.raw"
            _write(path.with_suffix(".json"), {"image": image, "metadata": dict(metadata)})
            if not path.exists():
                clone_file(self._images / f"{image}.raw", path)

    def describe(self, disk: str, metadata: Mapping[str, object]) -> None:
        path = self._disks / f"{disk}.raw"
        with _translated():
            if not path.exists():
                raise PermanentError("storage-missing", f"there is no disk {disk} in {self._folder}")
            _write(path.with_suffix(".json"), {"image": self._origin(path), "metadata": dict(metadata)})

    def discard(self, disk: str, metadata: Mapping[str, object]) -> None:
        with _translated():
            self._prepare()
            with suppress(PermanentError):
                self.describe(disk, metadata)
            self._discard(self._disks, disk)

    def backing(self, disk: str) -> Backing:
        return Backing("rdwr", str(self._disks / f"{disk}.raw"))

    def owner(self, disk: str) -> str | None:
        return None

    def fence(self, disk: str, recorded: Collection[str]) -> None:
        return

    def inventory(self, metadata: bool = True) -> Iterator[Stored]:
        with _translated():
            self._prepare()
            found = [("image", path.stem, path) for path in self._images.glob("*.raw")]
            found += [("disk", path.stem, path) for path in self._disks.glob("*.raw")]
            found += [("trash", path.stem.partition("-")[2], path) for path in self._trash.glob("*-*.raw")]
        for kind, identity, path in found:
            value = _read(path.with_suffix(".json")).get("metadata") if metadata else None
            yield Stored(kind, identity, value if isinstance(value, dict) else {})

    def purge(self, limit: int) -> int:
        removed = 0
        with _translated():
            # A rename sets the time of change, so the trash is ordered by when things came into it.
            for path in sorted(self._trash.glob("*-*.raw"), key=lambda path: path.stat().st_ctime_ns)[:limit]:
                path.with_suffix(".json").unlink(missing_ok=True)
                path.unlink(missing_ok=True)
                removed += 1
        return removed

    def close(self) -> None:
        return

    def _prepare(self) -> None:
        for folder in (self._images, self._disks, self._trash):
            folder.mkdir(mode=0o750, exist_ok=True)  # the folder above is the site's: it may be a mount that is missing

    def _origin(self, path: Path) -> object:
        return _read(path.with_suffix(".json")).get("image")

    def _discard(self, folder: Path, identity: str) -> None:
        """Into the trash: the file last, because by it all the rest is found."""
        path = folder / f"{identity}.raw"
        gone = self._trash / f"{folder.name.removesuffix('s')}-{identity}.raw"
        path.with_suffix(".raw.new").unlink(missing_ok=True)
        if path.exists():
            with suppress(FileNotFoundError):
                shutil.copyfile(path.with_suffix(".json"), gone.with_suffix(".json"))
            path.rename(gone)
        path.with_suffix(".json").unlink(missing_ok=True)
        sync_folder(folder)


def _write(path: Path, value: Mapping[str, object]) -> None:
    """A file that is there with all of its text or, after whatever crash, as it was before."""
    new = path.with_name(path.name + ".new")
    with new.open("w") as file:
        json.dump(value, file)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    sync_folder(path.parent)


def _read(path: Path) -> Mapping[str, object]:
    """The JSON object in a file; empty where there is none."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


@contextmanager
def _translated() -> Iterator[None]:
    """The meaning of the operating system's errors for the engine."""
    try:
        yield
    except OSError as error:
        raise _meaning(error) from error


def _meaning(error: OSError) -> BmiError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TransientError("pool-full", f"the storage folder is full ({error})", todo=_FREE_SPACE)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return TransientError("storage-denied", f"the storage folder can't be written ({error})", todo=_REACH)
    if error.errno == errno.ENOENT:
        return TransientError("storage-down", f"something is missing in the storage folder ({error})", todo=_REACH)
    return TransientError("storage-error", f"the storage folder failed ({error})", todo=_REACH)
