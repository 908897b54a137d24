"""The storage port: golden images and their clones, named by ids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["Backing", "Errand", "Foreign", "Storage", "StorageCapabilities", "Stored", "TrashEntry", "Usage"]


@dataclass(frozen=True)
class Backing:
    """How tgtd opens a disk: backing-store type, path and options (no commas in any of them)."""

    bstype: str
    path: str
    bsopts: str = ""


@dataclass(frozen=True)
class StorageCapabilities:
    """cow: a clone takes no space and no time. shared: reachable from several heads. live_snapshot: a snapshot
    of a disk in use is consistent as after a crash. owners: knows and can fence the client that has a disk open."""

    cow: bool
    shared: bool
    live_snapshot: bool
    owners: bool


@dataclass(frozen=True)
class Errand:
    """Long work for a child process: a command line of the storage's own tools, which prints its progress in percent;
    `size` in bytes is what 100 % are. It holds ids and names of files, never text of a user or a secret."""

    command: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Foreign:
    """Something in a pool that isn't ours: where qemu-img finds it, and its size in bytes."""

    address: str
    size: int


@dataclass(frozen=True)
class Usage:
    """Bytes of the pool or file system: all, and what is free for us."""

    total: int
    free: int


@dataclass(frozen=True)
class Stored:
    """One thing found in the storage: kind is image, disk, trash, or stranger for what has no name of ours (then that
    is its id). `snapshots` are those of a disk that `freeze` made, `size` is in bytes; both are known where the
    metadata are."""

    kind: str
    id: str
    metadata: Mapping[str, object] = field(default_factory=dict)
    snapshots: tuple[str, ...] = ()
    size: int = field(default=0, compare=False)


@dataclass(frozen=True)
class TrashEntry:
    """Something in the trash. kind: image or disk. `key` is what the storage itself calls it. `spoiled`: an unfinished
    try, in whose place the thing of this id was made that is in use. `removed_at`: aware, where the storage knows."""

    kind: str
    id: str
    key: str
    spoiled: bool = False
    removed_at: datetime | None = field(default=None, compare=False)


class Storage(ABC):
    """Golden images and their clones, named by ids. Absent things are fine for whatever removes."""

    capabilities: StorageCapabilities

    @abstractmethod
    def check(self) -> str:
        """A round trip to the storage; says what it is and its version. TransientError where it is out of reach."""

    @abstractmethod
    def usage(self) -> Usage | None:
        """Space of the pool, in bytes; None where the storage keeps no such figures (a Ceph without a manager)."""

    @abstractmethod
    def create_image(self, image: str, size: int) -> str:
        """Make an empty image of `size` bytes, dropping an unfinished one of that id; a sealed one is an error.

        Returns the destination as qemu-img understands it (`rbd:pool/id:...` or a path), format raw.
        """

    @abstractmethod
    def read_image(self, image: str, offset: int, length: int) -> bytes:
        """Bytes of an image, sealed or not; shorter at its end."""

    @abstractmethod
    def seal_image(self, image: str, metadata: Mapping[str, object]) -> None:
        """Make the image golden: flush, snapshot, metadata. From now on it can be cloned, and only then."""

    @abstractmethod
    def sealed(self, image: str) -> bool:
        """Whether the image is there and golden."""

    @abstractmethod
    def remove_image(self, image: str) -> None:
        """Ensure that the image is absent (moved to trash). PermanentError `image-in-use` while disks hang on it, or
        images that share its bytes; its problem names them as `disks` and `images`."""

    @abstractmethod
    def address(self, image: str) -> str:
        """Where qemu-img reads a sealed image, format raw. No I/O."""

    @abstractmethod
    def clone_image(self, image: str, copy: str) -> None:
        """Ensure that an unsealed image `copy` is there which shares its bytes with the sealed `image`, dropping an
        unfinished one. Needs `capabilities.cow` (else PermanentError `clone-unsupported`); a sealed one is an error."""

    @abstractmethod
    def freeze(self, disk: str, snapshot: str) -> None:
        """Ensure a snapshot of the disk, as it is when it is asked for first. Where one of a disk in use would not be
        consistent (`capabilities.live_snapshot`), the caller has made sure that nobody uses it."""

    @abstractmethod
    def thaw(self, disk: str, snapshot: str) -> None:
        """Ensure that the snapshot is absent, also where the disk is."""

    @abstractmethod
    def duplicate(self, disk: str, snapshot: str, image: str) -> Errand | None:
        """Begin an unsealed image that holds a disk's snapshot and needs neither of them later; an unfinished one of
        that id is dropped. None: it is whole already. It may go on sharing bytes with the image the disk was cloned
        from."""

    @abstractmethod
    def foreign_source(self, pool: str, image: str, snapshot: str | None) -> Foreign:
        """An image that somebody else keeps, or a snapshot of it, opened for reading only and left as it was found.

        PermanentError `source-unknown` where it isn't there, `source-in-use` for one without snapshot that somebody has
        open; and, as from the other calls for foreign things, `pools-unsupported` where the storage has no pools,
        `pool-unknown` where it hasn't this one, `pool-forbidden` where it may not use it.
        """

    @abstractmethod
    def create_foreign(self, pool: str, image: str, size: int, mark: str) -> Foreign:
        """Make an empty image in a pool for somebody else, marked as ours until it is whole. PermanentError
        `export-exists` where something has the name: nothing is overwritten, and what was begun under this mark is
        removed first."""

    @abstractmethod
    def release_foreign(self, pool: str, image: str, mark: str) -> None:
        """It is whole: take the mark off. From now on it is nobody's that we know. One without this mark is left."""

    @abstractmethod
    def remove_foreign(self, pool: str, image: str, mark: str) -> bool:
        """Ensure that nothing with this mark is there; what has no mark, or another, is left alone. False: it is much,
        and only a part of it has gone by now; ask again. Fine where there are no pools, and where we may not use this
        one: nothing of ours can be there."""

    @abstractmethod
    def clone(self, image: str, disk: str, metadata: Mapping[str, object]) -> None:
        """Ensure that a clone of a sealed image is there, with its one value of metadata written."""

    @abstractmethod
    def describe(self, disk: str, metadata: Mapping[str, object]) -> None:
        """Replace the one value of metadata of a disk."""

    @abstractmethod
    def discard(self, disk: str, metadata: Mapping[str, object]) -> None:
        """Ensure that the disk is absent, its snapshots with it: last metadata written, then moved to trash. Works at
        once with a live or a fenced client."""

    @abstractmethod
    def backing(self, disk: str) -> Backing:
        """How a target opens this disk. No I/O."""

    @abstractmethod
    def owner(self, disk: str) -> str | None:
        """The address of the one client that has the disk open; None where the storage knows no owners.

        TransientError `owner-unclear` where there is none, or more than one; its problem names them as `clients`.
        """

    @abstractmethod
    def fence(self, disk: str, recorded: Collection[str]) -> None:
        """Cut off the recorded owners and whoever has the disk open now, and verify it. Cheap when there is nobody."""

    def client(self) -> str | None:
        """The address by which others can cut this process off from the storage; None where nobody has to be, since one
        head alone has it. Connects, if need be."""
        return None

    def cut_off(self, owners: Collection[str]) -> None:  # noqa: B027 - it only makes later fences quicker
        """Cut off these owners at once, before each of their disks is fenced: one wait in place of many. Whether it
        worked, each fence makes sure of by itself."""

    @abstractmethod
    def inventory(self, metadata: bool = True) -> Iterable[Stored]:
        """All that is in the storage, trash and strangers too. With `metadata` each entry costs a look of its own;
        without, a list is all that is asked for, and `metadata`, `snapshots` and `size` are empty."""

    @abstractmethod
    def trash(self) -> Sequence[TrashEntry]:
        """All that is in the trash, what came into it first at the beginning."""

    @abstractmethod
    def restore(self, kind: str, identity: str) -> None:
        """Ensure that an image or a disk that was removed is out of the trash, as it went into it: golden, or with its
        last metadata. What it was made from must be there, or in the trash.

        PermanentError `trash-missing` where it is neither there nor whole in the trash. TransientError `storage-busy`
        while its move into the trash has not ended.
        """

    @abstractmethod
    def purge(self, entry: TrashEntry) -> bool:
        """Remove an entry of the trash for good. True: it is verifiably gone, maybe since earlier. False: it can't go
        yet, because of what was made from it, or because somebody else is busy with it."""

    @abstractmethod
    def close(self) -> None:
        """Let go of connections."""
