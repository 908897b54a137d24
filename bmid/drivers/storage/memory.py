"""The in-memory twin of a storage: for tests and for trying things out. It keeps every promise, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from threading import RLock

from bmid.drivers.base import Backing, Storage, StorageCapabilities, Stored, Usage
from bmid.errors import PermanentError, TransientError

__all__ = ["MemoryStorage"]

_PAGE = 65536
_SCHEME = "memory:"


@dataclass
class _Image:
    """Content as pages, so that a large empty image costs nothing."""

    size: int
    metadata: Mapping[str, object] | None = None
    pages: dict[int, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class _Disk:
    image: str
    metadata: Mapping[str, object]
    owners: tuple[str, ...] = ()


class MemoryStorage(Storage):
    """Storage that forgets.

    `before` is called with each call's name and arguments, before it has an effect, and may raise: how a test makes
    the storage fail, or the process die, at a chosen moment. With `owners` it knows the clients that `open` a disk
    (somebody has to call that: the target); without, owner() is None as in a folder. `size`: bytes.
    """

    def __init__(
        self,
        before: Callable[[str, tuple[object, ...]], None] | None = None,
        owners: bool = False,
        size: int = 1 << 50,
    ) -> None:
        self.capabilities = StorageCapabilities(cow=True, shared=True, live_snapshot=True, owners=owners)
        self._before = before or (lambda _name, _arguments: None)
        self._size = size
        self._lock = RLock()
        self._images: dict[str, _Image] = {}
        self._disks: dict[str, _Disk] = {}
        self._trash: list[Stored] = []
        self._fenced: set[str] = set()

    def open(self, disk: str, address: str) -> None:
        """What a target does: the client at this address has the disk open from now on. A fenced one can't."""
        with self._lock:
            if address in self._fenced:
                raise PermanentError("storage-fenced", f"{address} is in the blocklist")
            stored = self._disks[disk]
            self._disks[disk] = replace(stored, owners=(*stored.owners, address))

    def has_open(self, disk: str, address: str) -> bool:
        """Whether a write of this client would get through."""
        with self._lock:
            return disk in self._disks and address in self._disks[disk].owners

    def release(self, disk: str, address: str) -> None:
        """What a target does when it lets go of a disk."""
        with self._lock:
            if stored := self._disks.get(disk):
                owners = tuple(owner for owner in stored.owners if owner != address)
                self._disks[disk] = replace(stored, owners=owners)

    def write(self, destination: str, offset: int, content: bytes) -> None:
        """What a conversion does: bytes into an image named as `create_image` named it."""
        with self._lock:
            image = self._images[destination.removeprefix(_SCHEME)]
            while content:
                page, begin = divmod(offset, _PAGE)
                part, content = content[: _PAGE - begin], content[_PAGE - begin :]
                old = image.pages.get(page, bytes(_PAGE))
                image.pages[page] = old[:begin] + part + old[begin + len(part) :]
                offset += len(part)

    def check(self) -> str:
        self._before("check", ())
        return "memory"

    def usage(self) -> Usage:
        self._before("usage", ())
        with self._lock:
            used = sum(len(image.pages) * _PAGE for image in self._images.values())
        return Usage(total=self._size, free=max(0, self._size - used))

    def create_image(self, image: str, size: int) -> str:
        self._before("create_image", (image, size))
        with self._lock:
            if self._sealed(image):
                raise PermanentError("image-sealed", f"image {image} is golden already")
            self._images[image] = _Image(size)
        return f"{_SCHEME}{image}"

    def read_image(self, image: str, offset: int, length: int) -> bytes:
        self._before("read_image", (image, offset, length))
        with self._lock:
            if (found := self._images.get(image)) is None:
                raise PermanentError("storage-missing", f"there is no image {image}")
            length = max(0, min(length, found.size - offset))
            first, last = offset // _PAGE, (offset + length) // _PAGE
            content = b"".join(found.pages.get(page, bytes(_PAGE)) for page in range(first, last + 1))
        return content[offset - first * _PAGE :][:length]

    def seal_image(self, image: str, metadata: Mapping[str, object]) -> None:
        self._before("seal_image", (image, metadata))
        with self._lock:
            if image not in self._images:
                raise PermanentError("storage-missing", f"there is no image {image}")
            self._images[image].metadata = dict(metadata)

    def sealed(self, image: str) -> bool:
        self._before("sealed", (image,))
        with self._lock:
            return self._sealed(image)

    def remove_image(self, image: str) -> None:
        self._before("remove_image", (image,))
        with self._lock:
            disks = [name for name, disk in self._disks.items() if disk.image == image]
            if disks:
                detail = f"{len(disks)} disks hang on image {image}: {', '.join(disks[:5])}"
                todo = "Remove the disks made from it first."
                raise PermanentError("image-in-use", detail, todo=todo, disks=disks)
            if gone := self._images.pop(image, None):
                self._trash.append(Stored("trash", image, gone.metadata or {}))

    def clone(self, image: str, disk: str, metadata: Mapping[str, object]) -> None:
        self._before("clone", (image, disk, metadata))
        with self._lock:
            if not self._sealed(image):
                raise PermanentError("image-missing", f"there is no golden image {image}", todo="Import it again.")
            stored = self._disks.get(disk) or _Disk(image, {})
            self._disks[disk] = replace(stored, metadata=dict(metadata))

    def describe(self, disk: str, metadata: Mapping[str, object]) -> None:
        self._before("describe", (disk, metadata))
        with self._lock:
            if disk not in self._disks:
                raise PermanentError("storage-missing", f"there is no disk {disk}")
            self._disks[disk] = replace(self._disks[disk], metadata=dict(metadata))

    def discard(self, disk: str, metadata: Mapping[str, object]) -> None:
        self._before("discard", (disk, metadata))
        with self._lock:
            if self._disks.pop(disk, None):
                self._trash.append(Stored("trash", disk, dict(metadata)))

    def backing(self, disk: str) -> Backing:
        return Backing("rdwr", f"{_SCHEME}{disk}")

    def owner(self, disk: str) -> str | None:
        self._before("owner", (disk,))
        if not self.capabilities.owners:
            return None
        with self._lock:
            owners = self._disks[disk].owners if disk in self._disks else ()
        if len(owners) != 1:
            raise TransientError("owner-unclear", f"disk {disk} is open at {len(owners)} clients: {sorted(owners)}")
        return owners[0]

    def fence(self, disk: str, recorded: Collection[str]) -> None:
        self._before("fence", (disk, tuple(recorded)))
        with self._lock:
            self._fenced.update(recorded)
            if stored := self._disks.get(disk):
                self._fenced.update(stored.owners)
                self._disks[disk] = replace(stored, owners=())

    def inventory(self, metadata: bool = True) -> Iterator[Stored]:
        self._before("inventory", (metadata,))
        with self._lock:
            found = [Stored("image", name, image.metadata or {}) for name, image in self._images.items()]
            found += [Stored("disk", name, disk.metadata) for name, disk in self._disks.items()]
            found += self._trash
        return iter(found if metadata else [replace(entry, metadata={}) for entry in found])

    def purge(self, limit: int) -> int:
        self._before("purge", (limit,))
        with self._lock:
            removed = min(limit, len(self._trash))
            del self._trash[:removed]
        return removed

    def close(self) -> None:
        return

    def _sealed(self, image: str) -> bool:
        return image in self._images and self._images[image].metadata is not None
