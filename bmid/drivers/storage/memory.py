"""The in-memory twin of a storage: for tests and for trying things out. It keeps every promise, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bmid.drivers.base import Backing, Errand, Foreign, Storage, StorageCapabilities, Stored, TrashEntry, Usage
from bmid.drivers.base.advice import IN_USE, MISSING, SEALED, UNCLEAR, UNTRASHED
from bmid.drivers.storage.memory_content import SCHEME, Content
from bmid.drivers.storage.memory_side import Disk, Gone, Image, Memory
from bmid.errors import PermanentError, TransientError

__all__ = ["MemoryStorage"]

_ERRAND = "memory-duplicate"


class MemoryStorage(Memory, Storage):
    """Storage that forgets.

    `before` is called with each call's name and arguments, before it has an effect, and may raise: how a test makes
    the storage fail, or the process die, at a chosen moment. With `owners` it knows the clients that `open` a disk
    (somebody has to call that: the target); without, owner() is None as in a folder. With `errands` a duplicate is
    work for a child, which is to call `run`; without, it is there at once. `size`: bytes; what doesn't fit any more
    is refused by `write`.
    """

    def __init__(
        self,
        before: Callable[[str, tuple[object, ...]], None] | None = None,
        owners: bool = False,
        size: int = 1 << 50,
        cow: bool = True,
        errands: bool = True,
    ) -> None:
        super().__init__(size)
        self.capabilities = StorageCapabilities(cow=cow, shared=True, live_snapshot=cow, owners=owners)
        self._before = before or (lambda _name, _arguments: None)
        self._errands = errands

    def check(self) -> str:
        self._before("check", ())
        return "memory"

    def usage(self) -> Usage:
        self._before("usage", ())
        with self._lock:
            return Usage(total=self._size, free=max(0, self._size - self._used()))

    def create_image(self, image: str, size: int) -> str:
        self._before("create_image", (image, size))
        with self._lock:
            self._begin(image, Content(size), None)
        return f"{SCHEME}{image}"

    def read_image(self, image: str, offset: int, length: int) -> bytes:
        self._before("read_image", (image, offset, length))
        with self._lock:
            if (found := self._images.get(image)) is None:
                raise PermanentError("storage-missing", f"there is no image {image}", todo=MISSING)
            return found.content.read(offset, length)

    def seal_image(self, image: str, metadata: Mapping[str, object]) -> None:
        self._before("seal_image", (image, metadata))
        with self._lock:
            if image not in self._images:
                raise PermanentError("storage-missing", f"there is no image {image}", todo=MISSING)
            self._images[image].metadata = dict(metadata)

    def sealed(self, image: str) -> bool:
        self._before("sealed", (image,))
        with self._lock:
            return self._sealed(image)

    def remove_image(self, image: str) -> None:
        self._before("remove_image", (image,))
        with self._lock:
            disks = [name for name, disk in self._disks.items() if disk.image == image]
            images = [name for name, other in self._images.items() if other.parent == image]
            if disks or images:
                detail = f"on image {image} hang {', '.join([*disks, *images][:5])}"
                todo = IN_USE
                raise PermanentError("image-in-use", detail, todo=todo, disks=disks, images=images)
            if gone := self._images.pop(image, None):
                self._trash.append(Gone("image", image, gone))

    def address(self, image: str) -> str:
        return f"{SCHEME}{image}"

    def clone_image(self, image: str, copy: str) -> None:
        self._before("clone_image", (image, copy))
        with self._lock:
            if not self.capabilities.cow:
                raise PermanentError(
                    "clone-unsupported",
                    "this storage can't share bytes between images",
                    todo="Have it copied: this storage shares no bytes.",
                )
            self._begin(copy, self._golden(image).content.copy(), image)

    def freeze(self, disk: str, snapshot: str) -> None:
        self._before("freeze", (disk, snapshot))
        with self._lock:
            stored = self._disk(disk)
            kept = {snapshot: stored.content.copy(), **stored.snapshots}
            self._disks[disk] = replace(stored, snapshots=kept)

    def thaw(self, disk: str, snapshot: str) -> None:
        self._before("thaw", (disk, snapshot))
        with self._lock:
            if stored := self._disks.get(disk):
                kept = {name: content for name, content in stored.snapshots.items() if name != snapshot}
                self._disks[disk] = replace(stored, snapshots=kept)

    def duplicate(self, disk: str, snapshot: str, image: str) -> Errand | None:
        self._before("duplicate", (disk, snapshot, image))
        with self._lock:
            content = self._snapshot(disk, snapshot)
            parent = self._disk(disk).image if self.capabilities.cow else None
            self._begin(image, Content(content.size) if self._errands else content.copy(), parent)
            return Errand((_ERRAND, disk, snapshot, image), content.size) if self._errands else None

    def foreign_source(self, pool: str, image: str, snapshot: str | None) -> Foreign:
        self._before("foreign_source", (pool, image, snapshot))
        with self._lock:
            return self._foreign.source(pool, image, snapshot)

    def create_foreign(self, pool: str, image: str, size: int, mark: str) -> Foreign:
        self._before("create_foreign", (pool, image, size, mark))
        with self._lock:
            return self._foreign.create(pool, image, size, mark)

    def release_foreign(self, pool: str, image: str, mark: str) -> None:
        self._before("release_foreign", (pool, image, mark))
        with self._lock:
            self._foreign.release(pool, image, mark)

    def remove_foreign(self, pool: str, image: str, mark: str) -> bool:
        self._before("remove_foreign", (pool, image, mark))
        with self._lock:
            return self._foreign.remove(pool, image, mark)

    def clone(self, image: str, disk: str, metadata: Mapping[str, object]) -> None:
        self._before("clone", (image, disk, metadata))
        with self._lock:
            content = self._golden(image).content
            stored = self._disks.get(disk) or Disk(image, {}, content.copy())
            self._disks[disk] = replace(stored, metadata=dict(metadata))

    def describe(self, disk: str, metadata: Mapping[str, object]) -> None:
        self._before("describe", (disk, metadata))
        with self._lock:
            self._disks[disk] = replace(self._disk(disk), metadata=dict(metadata))

    def discard(self, disk: str, metadata: Mapping[str, object]) -> None:
        self._before("discard", (disk, metadata))
        with self._lock:
            if gone := self._disks.pop(disk, None):
                last = replace(gone, metadata=dict(metadata), snapshots={})
                self._trash.append(Gone("disk", disk, last))

    def backing(self, disk: str) -> Backing:
        return Backing("rdwr", f"{SCHEME}{disk}")

    def owner(self, disk: str) -> str | None:
        self._before("owner", (disk,))
        if not self.capabilities.owners:
            return None
        with self._lock:
            owners = self._disks[disk].owners if disk in self._disks else ()
        if len(owners) != 1:
            detail = f"disk {disk} is open at {len(owners)} clients: {sorted(owners)}"
            raise TransientError("owner-unclear", detail, clients=sorted(owners), todo=UNCLEAR)
        return owners[0]

    def fence(self, disk: str, recorded: Collection[str]) -> None:
        self._before("fence", (disk, tuple(recorded)))
        with self._lock:
            self._fenced.update(recorded)
            if stored := self._disks.get(disk):
                self._fenced.update(stored.owners)
                self._disks[disk] = replace(stored, owners=())

    def cut_off(self, owners: Collection[str]) -> None:
        self._before("cut_off", (tuple(owners),))
        with self._lock:
            self._fenced.update(owners)

    def inventory(self, metadata: bool = True) -> Iterator[Stored]:
        self._before("inventory", (metadata,))
        with self._lock:
            things: list[Any] = [("image", name, image, ()) for name, image in self._images.items()]
            things += [("disk", name, disk, tuple(disk.snapshots)) for name, disk in self._disks.items()]
            things += [("trash", one.id, one.thing, ()) for one in self._trash]
            found = [Stored(kind, name, one.metadata or {}, kept, one.content.size) for kind, name, one, kept in things]
        return iter(found if metadata else [Stored(one.kind, one.id) for one in found])

    def trash(self) -> Sequence[TrashEntry]:
        self._before("trash", ())
        with self._lock:
            return [TrashEntry(one.kind, one.id, one.id) for one in self._trash]

    def restore(self, kind: str, identity: str) -> None:
        self._before("restore", (kind, identity))
        things: dict[str, Any] = self._images if kind == "image" else self._disks
        with self._lock:
            found = [one for one in self._trash if (one.kind, one.id) == (kind, identity) and one.whole]
            if found:
                self._trash.remove(found[-1])
                things[identity] = found[-1].thing
            elif identity not in things:
                raise PermanentError("trash-missing", f"{kind} {identity} is not in the trash", todo=UNTRASHED)

    def purge(self, entry: TrashEntry) -> bool:
        self._before("purge", (entry,))
        with self._lock:
            left = {*[one.image for one in self._disks.values()], *[one.parent for one in self._images.values()]}
            if self.capabilities.cow and entry.id in left | {one.parent for one in self._trash}:
                return False
            self._trash = [one for one in self._trash if (one.kind, one.id) != (entry.kind, entry.id)]
        return True

    def close(self) -> None:
        return

    def _sealed(self, image: str) -> bool:
        return image in self._images and self._images[image].metadata is not None

    def _golden(self, image: str) -> Image:
        if not self._sealed(image):
            raise PermanentError("image-missing", f"there is no golden image {image}", todo="Import it again.")
        return self._images[image]

    def _begin(self, image: str, content: Content, parent: str | None) -> None:
        """An unsealed image, in the place of an unfinished one."""
        if self._sealed(image):
            raise PermanentError("image-sealed", f"image {image} is golden already", todo=SEALED)
        self._images[image] = Image(content, None, parent)
