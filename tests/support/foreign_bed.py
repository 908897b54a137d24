"""Pools that aren't ours, and somebody who keeps images in them: beside a twin, beside a pool of Ceph."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from uuid import uuid4

import rbd

from bmid.drivers.base import Foreign, Storage
from bmid.drivers.storage.memory import MemoryStorage
from lab.ceph import Ceph
from tests.support.storage_bed import MIB, Bed, memory_bed, pool_of, rbd_bed

__all__ = ["ForeignBed", "foreign_memory", "foreign_rbd", "removed"]

_SIZE = 4 * MIB


@dataclass
class ForeignBed:
    """A storage, a pool that isn't its own, and what its owner does there.

    `put` makes an image of 4 MiB; `hold` keeps one open for writing; `state` is all that can be seen of an image
    without reading it, None if there is none; `mark` is the mark of an unfinished export.
    """

    bed: Bed
    pool: str
    put: Callable[[str, bytes, Mapping[str, bytes]], None]
    hold: Callable[[str], AbstractContextManager[None]]
    state: Callable[[str], object]
    mark: Callable[[str], str | None]

    def owned(self, content: bytes = b"theirs", snapshots: Mapping[str, bytes] | None = None) -> str:
        """An image of somebody's."""
        image = f"theirs-{uuid4().hex[:8]}"
        self.put(image, content, snapshots or {})
        return image

    def read(self, source: Foreign) -> bytes:
        """All its bytes, as an import takes them."""
        image = uuid4().hex
        self.bed.copy(source.address, source.size, self.bed.storage.create_image(image, source.size))
        return self.bed.storage.read_image(image, 0, source.size)

    def content(self, image: str) -> bytes:
        """Its first bytes."""
        return self.read(self.bed.storage.foreign_source(self.pool, image, None))[:6]


def foreign_memory() -> ForeignBed:
    """In the twin."""
    bed = memory_bed()
    storage = bed.storage
    assert isinstance(storage, MemoryStorage)

    @contextmanager
    def hold(image: str) -> Iterator[None]:
        storage.hold_foreign("theirs", image)
        yield
        storage.hold_foreign("theirs", image, held=False)

    def put(image: str, content: bytes, snapshots: Mapping[str, bytes]) -> None:
        storage.put_foreign("theirs", image, _SIZE, content, snapshots)

    def state(image: str) -> object:
        return "there" if ("theirs", image) in storage.foreign_names() else None

    def mark(image: str) -> str | None:
        return storage.foreign_names()["theirs", image]

    return ForeignBed(bed, "theirs", put, hold, state, mark)


def foreign_rbd(ceph: Ceph) -> ForeignBed:
    """In Ceph."""
    bed, pool = rbd_bed(ceph), ceph.extra_pool("theirs")

    def put(image: str, content: bytes, snapshots: Mapping[str, bytes]) -> None:
        with pool_of(ceph, pool) as ioctx:
            rbd.RBD().create(ioctx, image, _SIZE, old_format=False)
            with rbd.Image(ioctx, image) as handle:
                for name, text in snapshots.items():
                    handle.write(text, 0)
                    handle.create_snap(name)
                handle.write(content, 0)
                handle.metadata_set("owner", "somebody")

    @contextmanager
    def hold(image: str) -> Iterator[None]:
        with pool_of(ceph, pool) as ioctx, rbd.Image(ioctx, image) as handle:
            handle.write(b"h", MIB)
            yield

    def state(image: str) -> object:
        with pool_of(ceph, pool) as ioctx:
            try:
                with rbd.Image(ioctx, image, read_only=True) as handle:
                    snapshots = [(one["name"], one["size"]) for one in handle.list_snaps()]
                    seen = (sorted(handle.metadata_list()), list(handle.watchers_list()), handle.list_lockers())
                    return snapshots, seen, handle.flags(), handle.size(), handle.modify_timestamp()
            except rbd.ImageNotFound:
                return None

    def mark(image: str) -> str | None:
        with pool_of(ceph, pool) as ioctx, rbd.Image(ioctx, image, read_only=True) as handle:
            kept = dict(handle.metadata_list()).get("bmi-export")
            return json.loads(kept)["mark"] if kept else None

    return ForeignBed(bed, pool, put, hold, state, mark)


def removed(storage: Storage, pool: str, image: str, mark: str) -> None:
    """What was begun in a pool under this mark is gone, however often that has to be asked for."""
    while not storage.remove_foreign(pool, image, mark):
        pass
