"""The trash of a pool, where somebody was killed: moves that were not finished, both ways, and tries of one name."""

from __future__ import annotations

import struct
from uuid import uuid4

import pytest
import rados
import rbd

from bmid.drivers.base import Stored, TrashEntry
from bmid.drivers.storage.rbd import RbdStorage
from bmid.drivers.storage.rbd_trash import Trash
from bmid.errors import TransientError

NORMAL, MOVING, RESTORING = 0, 1, 3  # cls::rbd::TrashImageState


def text(value: str) -> bytes:
    return struct.pack("<I", len(value)) + value.encode()


def entry_of(pool: rados.Ioctx, disk: str) -> str:
    [entry] = [one["id"] for one in rbd.RBD().trash_list(pool) if one["name"] == f"disk-{disk}"]
    return str(entry)


def set_state(pool: rados.Ioctx, entry: str, state: int) -> None:
    pool.execute("rbd_trash", "rbd", "trash_state_set", text(entry) + struct.pack("<BB", state, NORMAL))


def listed(pool: rados.Ioctx, disk: str, entry: str) -> None:
    pool.execute("rbd_directory", "rbd", "dir_add_image", text(f"disk-{disk}") + text(entry))


def discarded(storage: RbdStorage, image: str) -> str:
    disk = uuid4().hex
    storage.clone(image, disk, {"a": 1})
    storage.discard(disk, {"a": 2})
    return disk


def first_bytes(pool: rados.Ioctx, disk: str) -> bytes:
    with rbd.Image(pool, f"disk-{disk}", read_only=True) as handle:
        return bytes(handle.read(0, 6))


def test_a_move_into_the_trash_that_was_killed_half_way_is_ended_before_the_way_back(
    storage: RbdStorage, image: str, pool: rados.Ioctx
) -> None:
    """Not at once: whoever moves it may only be slow."""
    disk = discarded(storage, image)
    entry = entry_of(pool, disk)
    set_state(pool, entry, MOVING)
    listed(pool, disk, entry)
    with pytest.raises(TransientError) as caught:
        storage.restore("disk", disk)
    assert caught.value.problem.slug == "storage-busy"
    storage._trash = Trash(abandoned=0)
    storage.restore("disk", disk)
    assert first_bytes(pool, disk) == b"golden"
    assert Stored("disk", disk, {"a": 2}) in list(storage.inventory())
    assert not [one for one in storage.trash() if one.id == disk]


def test_a_move_into_the_trash_that_was_killed_half_way_is_ended_before_its_end(
    storage: RbdStorage, image: str, pool: rados.Ioctx
) -> None:
    """librbd refuses to remove such an entry for ever; one that somebody may still be busy with is left alone."""
    disk = discarded(storage, image)
    entry = entry_of(pool, disk)
    set_state(pool, entry, MOVING)
    listed(pool, disk, entry)
    one = TrashEntry("disk", disk, entry)
    patient, resolute = Trash(abandoned=60), Trash(abandoned=0)
    with storage._ceph.session() as ceph:
        assert [patient.remove(ceph, one, 20) for _ in range(2)] == [False, False]
        assert [resolute.remove(ceph, one, 20) for _ in range(3)] == [False, True, True]
    assert all(one.id != disk for one in storage.inventory())


def test_a_name_whose_image_went_without_it_is_free_again(storage: RbdStorage, image: str, pool: rados.Ioctx) -> None:
    """Killed between the image and its place in the list of names, after which librbd says that it exists."""
    names = [f"image-{uuid4().hex}", f"image-{uuid4().hex}", f"disk-{uuid4().hex}", f"disk-{uuid4().hex}"]
    for name in names:
        pool.execute("rbd_directory", "rbd", "dir_add_image", text(name) + text(uuid4().hex[:12]))
    made, copied, cloned, discarded = (name.partition("-")[2] for name in names)
    storage.create_image(made, 1 << 20)
    storage.clone_image(image, copied)
    storage.clone(image, cloned, {"a": 1})
    storage.discard(discarded, {})
    listed = set(rbd.RBD().list(pool))
    assert set(names[:3]) <= listed
    assert names[3] not in listed
    for name in names[:3]:
        with rbd.Image(pool, name, read_only=True) as handle:
            assert handle.size()


@pytest.mark.parametrize("far", [False, True])
def test_a_way_back_that_was_killed_half_way_is_gone_on_with(
    storage: RbdStorage, image: str, pool: rados.Ioctx, far: bool
) -> None:
    """Killed before the name is there, or after it, with the entry still in the trash."""
    disk = discarded(storage, image)
    entry = entry_of(pool, disk)
    set_state(pool, entry, RESTORING)
    if far:
        pool.write_full(f"rbd_id.disk-{disk}", text(entry))
        listed(pool, disk, entry)
    storage.restore("disk", disk)
    assert first_bytes(pool, disk) == b"golden"
    assert not [one for one in storage.trash() if one.id == disk]


def test_of_two_entries_of_one_name_the_finished_one_comes_back(
    storage: RbdStorage, image: str, pool: rados.Ioctx
) -> None:
    disk = uuid4().hex
    for _ in range(2):
        rbd.RBD().create(pool, f"disk-{disk}", 1 << 20, old_format=False)
        storage.clone(image, disk, {"a": 1})
        [entry] = [one for one in storage.trash() if one.id == disk]
        assert entry.spoiled, "what it was made in the place of"
        assert storage.purge(entry)
        storage.discard(disk, {"a": 2})
        assert not any(one.spoiled for one in storage.trash() if one.id == disk)
        storage.restore("disk", disk)
        assert first_bytes(pool, disk) == b"golden"
        with rbd.Image(pool, f"disk-{disk}", read_only=True) as handle:
            assert handle.size() == 8 << 20
        storage.discard(disk, {"a": 2})
        [one] = [one for one in storage.trash() if one.id == disk]
        assert storage.purge(one)


def test_a_restored_disk_has_no_snapshot_of_what_was_never_finished(
    storage: RbdStorage, image: str, pool: rados.Ioctx
) -> None:
    disk = uuid4().hex
    storage.clone(image, disk, {})
    storage.freeze(disk, uuid4().hex)
    storage.discard(disk, {})
    storage.restore("disk", disk)
    with rbd.Image(pool, f"disk-{disk}", read_only=True) as handle:
        assert list(handle.list_snaps()) == []
