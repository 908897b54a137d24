"""Golden images and disks as raw sparse files in a folder: the driver `directory`, for one head.

Below the folder: images/ID.raw, golden once images/ID.json lies beside it; disks/ID.raw with disks/ID.json;
snapshots/DISK@ID.raw; trash/KIND-ID.*. A name appears by rename, when what it names is complete and on the disk.
Copying lives in sparse.py, small values in directory_file.py, the trash in directory_trash.py.

Where the file system can't share blocks, a snapshot would be a copy of the disk, and then there would be another for
the image made of it. So there a snapshot is only a link to the disk: nobody uses the disk until it is thawed.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from bmid.drivers.base import Backing, Errand, Foreign, Storage, StorageCapabilities, Stored, TrashEntry, Usage
from bmid.drivers.base.advice import IN_USE, MISSING, SEALED
from bmid.drivers.storage.directory_file import read_json, translated, unsupported, write_json
from bmid.drivers.storage.directory_inventory import inventory
from bmid.drivers.storage.directory_trash import entries, fetch, purge, throw
from bmid.drivers.storage.sparse import clone_file, ensure_room, reflinks
from bmid.errors import PermanentError

__all__ = ["DirectoryStorage"]

# Into a file made just now, which is empty: so QEMU needn't clear it first.
_COPY = ("qemu-img", "convert", "-p", "-n", "-W", "--target-is-zero", "-f", "raw", "-O", "raw")


class DirectoryStorage(Storage):
    """Storage in a folder of this head. It doesn't know who has a file open: owner() is None, fence() does nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._images = folder / "images"
        self._disks = folder / "disks"
        self._snapshots = folder / "snapshots"
        self._trash = folder / "trash"

    @cached_property
    def capabilities(self) -> StorageCapabilities:  # type: ignore[override]
        """Found by trying: whether the file system shares blocks between files."""
        with translated():
            self._prepare()
            cow = reflinks(self._trash)
        return StorageCapabilities(cow=cow, shared=False, live_snapshot=cow, owners=False)

    def check(self) -> str:
        with translated():
            self._prepare()
            probe = self._trash / f"probe.{os.getpid()}"
            probe.write_bytes(b"")
            probe.unlink()
        return f"folder {self._folder}, {'reflinks' if self.capabilities.cow else 'sparse copies'}"

    def usage(self) -> Usage:
        with translated():
            self._prepare()
            figures = os.statvfs(self._folder)
        return Usage(total=figures.f_blocks * figures.f_frsize, free=figures.f_bavail * figures.f_frsize)

    def create_image(self, image: str, size: int) -> str:
        with translated():
            self._prepare()
            path = self._unsealed(image)
            path.unlink(missing_ok=True)  # its unfinished writer, if it lives, writes into nothing
            with path.open("xb") as file:
                file.truncate(size)
            path.chmod(0o640)
        return str(path)

    def read_image(self, image: str, offset: int, length: int) -> bytes:
        with translated(), (self._images / f"{image}.raw").open("rb") as file:
            return os.pread(file.fileno(), length, offset)

    def seal_image(self, image: str, metadata: Mapping[str, object]) -> None:
        with translated():
            with (self._images / f"{image}.raw").open("rb") as file:
                os.fsync(file.fileno())
            write_json(self._images / f"{image}.json", {"metadata": dict(metadata)})

    def sealed(self, image: str) -> bool:
        with translated():
            return (self._images / f"{image}.json").exists() and (self._images / f"{image}.raw").exists()

    def remove_image(self, image: str) -> None:
        # A copy doesn't need its original, but elsewhere a clone does: one promise for all storages.
        with translated():
            self._prepare()
            disks = [path.stem for path in self._disks.glob("*.raw") if self._origin(path) == image]
            if disks:
                detail = f"{len(disks)} disks hang on image {image}: {', '.join(disks[:5])}"
                todo = IN_USE
                raise PermanentError("image-in-use", detail, todo=todo, disks=disks)
            throw(self._trash, "image", self._images / f"{image}.raw")

    def address(self, image: str) -> str:
        return str(self._images / f"{image}.raw")

    def clone_image(self, image: str, copy: str) -> None:
        golden = self._golden(image)
        if not self.capabilities.cow:
            detail = "this file system can't share blocks between files"
            raise PermanentError("clone-unsupported", detail, todo="Ask for a copy of all bytes.")
        with translated():
            clone_file(golden, self._unsealed(copy))

    def freeze(self, disk: str, snapshot: str) -> None:
        path, frozen = self._disks / f"{disk}.raw", self._frozen(disk, snapshot)
        with translated():
            self._prepare()
            if not path.exists():
                raise PermanentError("storage-missing", f"there is no disk {disk} in {self._folder}", todo=MISSING)
            if not os.path.lexists(frozen):
                if self.capabilities.cow:
                    clone_file(path, frozen)
                else:
                    frozen.symlink_to(path)

    def thaw(self, disk: str, snapshot: str) -> None:
        with translated():
            self._frozen(disk, snapshot).unlink(missing_ok=True)

    def duplicate(self, disk: str, snapshot: str, image: str) -> Errand | None:
        frozen = self._frozen(disk, snapshot)
        with translated():
            if not frozen.exists():
                raise PermanentError("storage-missing", f"there is no snapshot {snapshot} of disk {disk}", todo=MISSING)
            if self.capabilities.cow:
                clone_file(frozen, self._unsealed(image))
                return None
            with frozen.open("rb") as source:
                ensure_room(source.fileno(), self._images)
                size = os.fstat(source.fileno()).st_size
        return Errand((*_COPY, str(frozen), self.create_image(image, size)), size)

    def foreign_source(self, pool: str, image: str, snapshot: str | None) -> Foreign:
        raise unsupported()

    def create_foreign(self, pool: str, image: str, size: int, mark: str) -> Foreign:
        raise unsupported()

    def release_foreign(self, pool: str, image: str, mark: str) -> None:
        raise unsupported()

    def remove_foreign(self, pool: str, image: str, mark: str) -> bool:
        return True

    def clone(self, image: str, disk: str, metadata: Mapping[str, object]) -> None:
        golden = self._golden(image)
        with translated():
            self._prepare()
            path = self._disks / f"{disk}.raw"
            write_json(path.with_suffix(".json"), {"image": image, "metadata": dict(metadata)})
            if not path.exists():
                clone_file(golden, path)

    def describe(self, disk: str, metadata: Mapping[str, object]) -> None:
        path = self._disks / f"{disk}.raw"
        with translated():
            if not path.exists():
                raise PermanentError("storage-missing", f"there is no disk {disk} in {self._folder}", todo=MISSING)
            write_json(path.with_suffix(".json"), {"image": self._origin(path), "metadata": dict(metadata)})

    def discard(self, disk: str, metadata: Mapping[str, object]) -> None:
        with translated():
            self._prepare()
            with suppress(PermanentError):
                self.describe(disk, metadata)
            for path in self._snapshots.glob(f"{disk}@*"):
                path.unlink(missing_ok=True)
            throw(self._trash, "disk", self._disks / f"{disk}.raw")

    def backing(self, disk: str) -> Backing:
        return Backing("rdwr", str(self._disks / f"{disk}.raw"))

    def owner(self, disk: str) -> str | None:
        return None

    def fence(self, disk: str, recorded: Collection[str]) -> None:
        return

    def inventory(self, metadata: bool = True) -> Iterator[Stored]:
        with translated():
            self._prepare()
        return inventory(self._folder, metadata)

    def trash(self) -> Sequence[TrashEntry]:
        with translated():
            return entries(self._trash)

    def restore(self, kind: str, identity: str) -> None:
        folder = self._images if kind == "image" else self._disks
        with translated():
            self._prepare()
            fetch(self._trash, kind, folder / f"{identity}.raw")

    def purge(self, entry: TrashEntry) -> bool:
        with translated():
            return purge(self._trash, entry.key)

    def close(self) -> None:
        return

    def _prepare(self) -> None:
        for folder in (self._images, self._disks, self._snapshots, self._trash):
            folder.mkdir(mode=0o750, exist_ok=True)  # the folder above is the site's: it may be a mount that is missing

    def _frozen(self, disk: str, snapshot: str) -> Path:
        return self._snapshots / f"{disk}@{snapshot}.raw"

    def _golden(self, image: str) -> Path:
        if not self.sealed(image):
            raise PermanentError("image-missing", f"there is no golden image {image}", todo="Import it again.")
        return self._images / f"{image}.raw"

    def _unsealed(self, image: str) -> Path:
        """Where an image is to be made, in the place of an unfinished one."""
        if self.sealed(image):
            raise PermanentError("image-sealed", f"image {image} is golden already", todo=SEALED)
        return self._images / f"{image}.raw"

    def _origin(self, path: Path) -> object:
        return read_json(path.with_suffix(".json")).get("image")
