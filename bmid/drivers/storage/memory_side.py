"""What others do to the in-memory twin: targets open disks, children read and write, somebody keeps other pools.

What the twin promises to its callers is in memory.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from threading import RLock

from bmid.drivers.base import Errand
from bmid.drivers.base.advice import MISSING
from bmid.drivers.storage.memory_content import SCHEME, Content, ForeignPools
from bmid.errors import PermanentError, TransientError

__all__ = ["Disk", "Gone", "Image", "Memory"]


@dataclass
class Image:
    """A golden image once it has metadata. `parent`: the image that it goes on sharing bytes with."""

    content: Content
    metadata: Mapping[str, object] | None = None
    parent: str | None = None


@dataclass(frozen=True)
class Disk:
    """A clone of an image. `owners`: addresses of the clients that have it open."""

    image: str
    metadata: Mapping[str, object]
    content: Content
    owners: tuple[str, ...] = ()
    snapshots: Mapping[str, Content] = field(default_factory=dict)


@dataclass(frozen=True)
class Gone:
    """Something in the trash, as it was."""

    kind: str
    id: str
    thing: Image | Disk

    @property
    def whole(self) -> bool:
        """Whether it was finished before it was removed."""
        return self.thing.metadata is not None

    @property
    def parent(self) -> str | None:
        """The image that it was made from."""
        return self.thing.image if isinstance(self.thing, Disk) else self.thing.parent


class Memory:
    """All that the twin remembers, `size` bytes of it at most."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = RLock()
        self._images: dict[str, Image] = {}
        self._disks: dict[str, Disk] = {}
        self._foreign = ForeignPools()
        self._trash: list[Gone] = []
        self._fenced: set[str] = set()

    def open(self, disk: str, address: str) -> None:
        """What a target does: the client at this address has the disk open from now on. A fenced one can't."""
        with self._lock:
            if address in self._fenced:
                raise PermanentError(
                    "storage-fenced",
                    f"{address} is in the blocklist",
                    todo="It is tried again, by a client of its own.",
                )
            stored = self._disks[disk]
            self._disks[disk] = replace(stored, owners=(*stored.owners, address))

    def refuses(self, address: str) -> bool:
        """Whether a client was cut off."""
        with self._lock:
            return address in self._fenced

    def has_open(self, disk: str, address: str) -> bool:
        """Whether a write of this client would get through."""
        with self._lock:
            return disk in self._disks and address in self._disks[disk].owners and address not in self._fenced

    def release(self, disk: str, address: str) -> None:
        """What a target does when it lets go of a disk."""
        with self._lock:
            if stored := self._disks.get(disk):
                owners = tuple(owner for owner in stored.owners if owner != address)
                self._disks[disk] = replace(stored, owners=owners)

    def read(self, source: str, offset: int, length: int) -> bytes:
        """What a child does: bytes of an image, a disk or something foreign, as an address names it."""
        with self._lock:
            return self._content(source).read(offset, length)

    def write(self, destination: str, offset: int, content: bytes) -> None:
        """What a child or a target does: bytes into an image or a disk. TransientError `pool-full`."""
        with self._lock:
            place = self._content(destination)
            if self._used() + len(content) > self._size:
                raise TransientError("pool-full", "the memory is full", todo="Remove images that nobody needs.")
            place.write(offset, content)

    def run(self, errand: Errand) -> None:
        """What a child does with an errand of this storage."""
        _, disk, snapshot, image = errand.command
        with self._lock:
            found = self._snapshot(disk, snapshot)
            if image not in self._images:
                raise PermanentError("storage-missing", f"there is no image {image}", todo=MISSING)
            self._images[image].content = found.copy()

    def put_foreign(
        self, pool: str, image: str, size: int, content: bytes = b"", snapshots: Mapping[str, bytes] | None = None
    ) -> None:
        """What somebody else does: an image in a pool that isn't ours, with what its snapshots hold."""

        def filled(text: bytes) -> Content:
            made = Content(size)
            made.write(0, text)
            return made

        with self._lock:
            kept = {name: filled(text) for name, text in (snapshots or {}).items()}
            self._foreign.put(pool, image, filled(content), kept)

    def hold_foreign(self, pool: str, image: str, held: bool = True) -> None:
        """What somebody else does: opens it, or closes it."""
        with self._lock:
            self._foreign.hold(pool, image, held)

    def foreign_names(self) -> Mapping[tuple[str, str], str | None]:
        """Pool and name of all that is in pools that aren't ours, each with the mark of an unfinished export."""
        with self._lock:
            return self._foreign.names()

    def _disk(self, disk: str) -> Disk:
        if disk not in self._disks:
            raise PermanentError("storage-missing", f"there is no disk {disk}", todo=MISSING)
        return self._disks[disk]

    def _snapshot(self, disk: str, snapshot: str) -> Content:
        if snapshot not in self._disk(disk).snapshots:
            raise PermanentError("storage-missing", f"there is no snapshot {snapshot} of disk {disk}", todo=MISSING)
        return self._disks[disk].snapshots[snapshot]

    def _content(self, place: str) -> Content:
        name = place.removeprefix(SCHEME)
        if stored := self._images.get(name) or self._disks.get(name):
            return stored.content
        if (content := self._foreign.content(place)) is None:
            raise PermanentError("storage-missing", f"there is nothing at {place}", todo=MISSING)
        return content

    def _used(self) -> int:
        return sum(image.content.used for image in self._images.values())
