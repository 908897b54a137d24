"""A pool of somebody else's in the Ceph of a house, and what its owner does there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import rados
import rbd

from tests.support.storage_bed import pool_at

__all__ = ["STRANGE", "content", "foreign", "held", "look", "names"]

STRANGE = "theirs"  # a house on Ceph may copy from it and to it


def _pool(conf: Path) -> AbstractContextManager[rados.Ioctx]:
    return pool_at(conf, "bmi", STRANGE)


def names(conf: Path | None) -> list[str]:
    """What is there; nothing without Ceph."""
    if conf is None:
        return []
    with _pool(conf) as pool:
        return sorted(rbd.RBD().list(pool))


def foreign(conf: Path, name: str, bytes_: bytes, snapshot: str | None = None, later: bytes = b"") -> None:
    """An image of theirs; with a snapshot, before `later` is written over its beginning."""
    with _pool(conf) as pool:
        rbd.RBD().create(pool, name, len(bytes_), old_format=False)
        with rbd.Image(pool, name) as image:
            image.write(bytes_, 0)
            if snapshot:
                image.create_snap(snapshot)
                image.write(later, 0)


@contextmanager
def held(conf: Path, name: str) -> Iterator[None]:
    """One that they have open for writing."""
    with _pool(conf) as pool, rbd.Image(pool, name) as image:
        image.write(b"held", 1 << 19)
        yield


def look(conf: Path, name: str) -> object:
    """All that can be seen of an image but its bytes."""
    with _pool(conf) as pool, rbd.Image(pool, name, read_only=True) as image:
        snapshots = [(one["name"], one["size"]) for one in image.list_snaps()]
        seen = (sorted(image.metadata_list()), list(image.watchers_list()), image.list_lockers())
        return snapshots, seen, image.features(), image.size(), image.modify_timestamp()


def content(conf: Path, name: str) -> bytes:
    """All its bytes."""
    with _pool(conf) as pool, rbd.Image(pool, name, read_only=True) as image:
        return bytes(image.read(0, image.size()))
