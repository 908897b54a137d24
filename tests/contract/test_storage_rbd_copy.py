"""What only copies in Ceph promise: they cost what differs, ask the target's server, and survive deaths."""

from __future__ import annotations

import os
import time
from uuid import uuid4

import rados
import rbd

from bmid.drivers.base import JobState
from bmid.drivers.imaging.qemu import QemuImaging
from bmid.drivers.storage.rbd import RbdStorage
from lab.tgtd import Tgtd
from tests.support.storage_bed import MIB, seconds, settled
from tests.support.trash import emptied

OBJECT = 4 * MIB


def filled_disk(storage: RbdStorage, pool: rados.Ioctx, size: int, changed: int) -> str:
    """A disk of a golden image full of data, with so many objects of its own."""
    image, disk = uuid4().hex, uuid4().hex
    storage.create_image(image, size)
    with rbd.Image(pool, f"image-{image}") as handle:
        for offset in range(0, size, OBJECT):
            handle.write(os.urandom(OBJECT), offset)
    storage.seal_image(image, {"image": image})
    storage.clone(image, disk, {"disk": disk})
    with rbd.Image(pool, f"disk-{disk}") as handle:
        for number in range(changed):
            handle.write(os.urandom(4096), number * OBJECT + 8192)
    return disk


def read_all(pool: rados.Ioctx, name: str, snapshot: str | None = None) -> bytes:
    with rbd.Image(pool, name, snapshot=snapshot, read_only=True) as handle:
        return bytes(handle.read(0, handle.size()))


def test_an_image_made_of_a_disk_costs_what_the_disk_has_of_its_own(storage: RbdStorage, pool: rados.Ioctx) -> None:
    disk = filled_disk(storage, pool, 6 * OBJECT, 2)
    leftover, snapshot, image, imaging = uuid4().hex, uuid4().hex, uuid4().hex, QemuImaging()
    storage.freeze(disk, leftover)
    storage.freeze(disk, snapshot)
    with rbd.Image(pool, f"disk-{disk}") as handle:
        handle.write(b"later", 0)
    errand = storage.duplicate(disk, snapshot, image)
    imaging.run("copy", errand)
    assert settled(imaging, "copy").state is JobState.DONE
    assert not storage.sealed(image)
    storage.seal_image(image, {"image": image})
    assert read_all(pool, f"image-{image}", "golden") == read_all(pool, f"disk-{disk}", f"frozen-{snapshot}")
    own: list[int] = []
    with rbd.Image(pool, f"image-{image}", read_only=True) as handle:
        handle.diff_iterate(0, handle.size(), None, lambda _at, length, _there: own.append(length), False)
        assert [one["name"] for one in handle.list_snaps()] == ["golden"]
        assert [key for key, _ in handle.metadata_list()] == ["bmi-image"]
        assert handle.features() & ~rbd.RBD_FEATURE_OPERATIONS == 1 | 4 | 8 | 16 | 32
        assert list(handle.watchers_list()) == []
    assert sum(own) == 2 * OBJECT


def begun(storage: RbdStorage, imaging: QemuImaging, disk: str, snapshot: str) -> str:
    """The image of a copy that has done some, and is not at its end: as often as it was too quick, it is another."""
    for _ in range(20):
        image = uuid4().hex
        imaging.run("copy", storage.duplicate(disk, snapshot, image))
        while (job := imaging.poll("copy")) and job.state is JobState.RUNNING:
            if job.done:
                return image
            time.sleep(0.005)
        imaging.cancel("copy")
    raise AssertionError("copies are over before they are seen")


def test_a_copy_that_was_killed_half_way_is_not_golden_and_is_made_anew(storage: RbdStorage, pool: rados.Ioctx) -> None:
    disk = filled_disk(storage, pool, 16 * OBJECT, 16)
    snapshot, imaging = uuid4().hex, QemuImaging()
    storage.freeze(disk, snapshot)
    image = begun(storage, imaging, disk, snapshot)
    imaging.cancel("copy")
    assert not storage.sealed(image)
    assert seconds(lambda: storage.duplicate(disk, snapshot, image)) < 10
    storage.remove_image(image)
    imaging.run("copy", storage.duplicate(disk, snapshot, image))
    assert settled(imaging, "copy").state is JobState.DONE
    storage.seal_image(image, {})
    assert read_all(pool, f"image-{image}", "golden") == read_all(pool, f"disk-{disk}")
    storage.discard(disk, {})
    emptied(storage)
    assert f"image-{image}" in rbd.RBD().list(pool)


def test_a_disk_that_a_real_target_has_open_is_snapshot_at_once(
    storage: RbdStorage, image: str, tgtd: Tgtd, pool: rados.Ioctx
) -> None:
    disk, snapshot = uuid4().hex, uuid4().hex
    storage.clone(image, disk, {})
    backing = storage.backing(disk)
    tgtd.tgtadm("--mode", "target", "--op", "new", "--tid", "1", "-T", f"iqn.2026-01.test:{disk}")
    lun = ("--mode", "logicalunit", "--op", "new", "--tid", "1", "--lun", "1")
    tgtd.tgtadm(*lun, "--bstype", backing.bstype, "--backing-store", backing.path, "--bsopts", backing.bsopts)
    owner = storage.owner(disk)
    assert seconds(lambda: storage.freeze(disk, snapshot)) < 10
    assert storage.owner(disk) == owner
    assert read_all(pool, f"disk-{disk}", f"frozen-{snapshot}")[:6] == b"golden"
    assert seconds(lambda: storage.thaw(disk, snapshot)) < 10
    assert storage.owner(disk) == owner
