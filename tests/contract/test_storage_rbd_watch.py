"""A client was killed while it opened images, and Ceph shows it as one of those that have them open, for ever."""

from __future__ import annotations

import time
from collections.abc import Iterator
from uuid import uuid4

import pytest
import rados
import rbd

from bmid.drivers.base import TrashEntry
from bmid.drivers.storage.rbd import RbdStorage
from bmid.drivers.storage.rbd_fence import forget
from bmid.drivers.storage.rbd_trash import Trash
from lab.ceph import Ceph
from tests.support.stale_watch import leave_behind


@pytest.fixture
def disk(ceph: Ceph, storage: RbdStorage, image: str, pool: rados.Ioctx) -> Iterator[str]:
    """A disk with such a watch."""
    made = uuid4().hex
    storage.clone(image, made, {"a": 1})
    leave_behind(ceph, storage, pool, f"disk-{made}")
    yield made
    storage.discard(made, {})


def test_a_disk_is_fenced_and_has_one_owner_all_the_same(storage: RbdStorage, pool: rados.Ioctx, disk: str) -> None:
    began = time.monotonic()
    storage.fence(disk, [])
    assert time.monotonic() - began < 10
    with rbd.Image(pool, f"disk-{disk}"):
        owner = storage.owner(disk)
        assert owner is not None
        storage.fence(disk, [owner])
        with pytest.raises(rbd.Error), rbd.Image(pool, f"disk-{disk}") as again:
            again.write(b"late", 0)


def test_a_disk_in_the_trash_goes_in_the_end(storage: RbdStorage, pool: rados.Ioctx, disk: str) -> None:
    """Not at once: as a rule Ceph forgets who is dead after 30 s."""
    storage.discard(disk, {"a": 2})
    [entry] = [one["id"] for one in rbd.RBD().trash_list(pool) if one["name"] == f"disk-{disk}"]
    one = TrashEntry("disk", disk, entry)
    storage._trash = Trash(abandoned=60)
    assert [storage.purge(one) for _ in range(2)] == [False, False]
    storage._trash = Trash(abandoned=0)
    assert [storage.purge(one) for _ in range(2)] == [False, True]
    assert all(left["id"] != entry for left in rbd.RBD().trash_list(pool))


def test_who_has_it_open_is_not_forgotten(storage: RbdStorage, pool: rados.Ioctx, disk: str) -> None:
    """The header of an image is made anew only for those that are cut off; a living one is cut off first."""
    storage.discard(disk, {"a": 2})
    [entry] = [one["id"] for one in rbd.RBD().trash_list(pool) if one["name"] == f"disk-{disk}"]
    with rbd.Image(pool, image_id=entry), storage._ceph.session() as ceph:
        assert not forget(ceph, entry)
