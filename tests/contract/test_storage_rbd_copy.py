"""What only copies in Ceph promise: they cost what differs, ask the target's server, survive deaths, know rights."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
import rados
import rbd

from bmid.drivers.base import JobState
from bmid.drivers.imaging.qemu import QemuImaging
from bmid.drivers.storage import rbd_foreign
from bmid.drivers.storage.rbd import RbdStorage
from bmid.errors import PermanentError
from lab.ceph import Ceph
from lab.tgtd import Tgtd
from tests.support.foreign_bed import removed
from tests.support.storage_bed import MIB, OPEN, pool_of, seconds, settled
from tests.support.trash import emptied

OBJECT = 4 * MIB


@pytest.fixture
def foreign(ceph: Ceph) -> Iterator[rados.Ioctx]:
    with pool_of(ceph, ceph.extra_pool("theirs")) as ioctx:
        yield ioctx


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


def test_reading_what_is_not_ours_leaves_even_its_time_of_access(storage: RbdStorage, foreign: rados.Ioctx) -> None:
    name, imaging = f"theirs-{uuid4().hex[:8]}", QemuImaging()
    rbd.RBD().create(foreign, name, MIB, old_format=False)
    with rbd.Image(foreign, name) as handle:
        handle.write(b"theirs", 0)
        header = f"rbd_header.{handle.id()}"
    long_ago = struct.pack("<II", 1_000_000_000, 0)
    with rados.WriteOpCtx() as operation:
        foreign.set_omap(operation, ("access_timestamp",), (long_ago,))
        foreign.operate_write_op(operation, header)
    source = storage.foreign_source("theirs", name, None)
    imaging.copy("copy", source.address, source.size, storage.create_image(uuid4().hex, MIB))
    assert settled(imaging, "copy").state is JobState.DONE
    assert foreign.execute(header, "rbd", "get_access_timestamp", b"")[1] == long_ago


def leave_unmarked(pool: rados.Ioctx, _name: str, mark: str) -> None:
    """As after kill -9 before the mark was written."""
    rbd.RBD().create(pool, f"bmi-export-{mark}", MIB, old_format=False)


def leave_unnamed(pool: rados.Ioctx, name: str, mark: str) -> None:
    """As after kill -9 before it was given its name."""
    leave_unmarked(pool, name, mark)
    with rbd.Image(pool, f"bmi-export-{mark}") as handle:
        handle.metadata_set("bmi-export", f'{{"mark": "{mark}"}}')


def leave_two_names(pool: rados.Ioctx, name: str, mark: str) -> None:
    """As after kill -9 while it was given its name."""
    leave_unnamed(pool, name, mark)
    pool.write_full(f"rbd_id.{name}", pool.read(f"rbd_id.bmi-export-{mark}"))


def leave_one_of_two_names(pool: rados.Ioctx, name: str, mark: str) -> None:
    """As after kill -9 a moment later."""
    leave_unnamed(pool, name, mark)
    kept = pool.read(f"rbd_id.bmi-export-{mark}")
    rbd.RBD().rename(pool, f"bmi-export-{mark}", name)
    pool.write_full(f"rbd_id.bmi-export-{mark}", kept)


@pytest.mark.parametrize("leave", [leave_unmarked, leave_unnamed, leave_two_names, leave_one_of_two_names])
def test_an_export_whose_maker_was_killed_is_made_anew_or_removed(
    storage: RbdStorage, foreign: rados.Ioctx, leave: Callable[[rados.Ioctx, str, str], None]
) -> None:
    for again in (True, False):
        name, mark = f"export-{uuid4().hex[:8]}", uuid4().hex
        leave(foreign, name, mark)
        if again:
            removed(storage, "theirs", name, mark)
            storage.create_foreign("theirs", name, 2 * MIB, mark)
            with rbd.Image(foreign, name) as handle:
                assert handle.size() == 2 * MIB
                assert handle.metadata_get("bmi-export") == f'{{"mark": "{mark}"}}'
        removed(storage, "theirs", name, mark)
        assert not {name, f"bmi-export-{mark}"} & set(rbd.RBD().list(foreign))
        for left in (name, f"bmi-export-{mark}"):
            with pytest.raises(rados.ObjectNotFound):
                foreign.stat(f"rbd_id.{left}")


def test_an_export_whose_writer_was_killed_goes_at_once(ceph: Ceph, storage: RbdStorage, foreign: rados.Ioctx) -> None:
    name = f"export-{uuid4().hex[:8]}"
    storage.create_foreign("theirs", name, MIB, "mark")
    command = [sys.executable, "-c", OPEN, str(ceph.conf), ceph.user, "theirs", name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline()
        writer.kill()
    assert seconds(lambda: removed(storage, "theirs", name, "mark")) < 15
    assert name not in rbd.RBD().list(foreign)


def test_much_that_was_begun_goes_a_part_at_a_time_and_keeps_its_mark(
    storage: RbdStorage, foreign: rados.Ioctx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rbd_foreign, "_PATIENCE", 0.0)
    name, slices = f"export-{uuid4().hex[:8]}", 3
    storage.create_foreign("theirs", name, slices * rbd_foreign._SLICE, "mark")
    with rbd.Image(foreign, name) as handle:
        for number in range(slices):
            handle.write(b"much", number * rbd_foreign._SLICE)
    for left in range(slices - 1, 0, -1):
        assert not storage.remove_foreign("theirs", name, "mark")
        with rbd.Image(foreign, name, read_only=True) as handle:
            assert handle.size() == left * rbd_foreign._SLICE
            assert handle.metadata_get("bmi-export") == '{"mark": "mark"}'
    assert storage.remove_foreign("theirs", name, "mark")
    assert name not in rbd.RBD().list(foreign)


def test_a_pool_that_is_not_there_or_not_allowed_is_told_with_what_to_do(ceph: Ceph, storage: RbdStorage) -> None:
    forbidden = f"forbidden-{uuid4().hex[:8]}"
    with ceph.admin() as administrator:
        administrator.make_pool(forbidden, 8)
    for pool, slug in ((forbidden, "pool-forbidden"), ("no-such-pool", "pool-unknown")):
        for call in (
            lambda pool=pool: storage.foreign_source(pool, "image", None),
            lambda pool=pool: storage.create_foreign(pool, "image", MIB, "mark"),
        ):
            with pytest.raises(PermanentError) as caught:
                call()
            assert caught.value.problem.slug == slug
            assert caught.value.problem.todo
        assert pool != forbidden or f"ceph auth caps client.{ceph.user} " in caught.value.problem.todo
        assert storage.remove_foreign(pool, "image", "mark")
    with ceph.admin() as administrator:
        administrator.allow_all_pools(ceph.user)
    assert storage.create_foreign(forbidden, "image", MIB, "mark").size == MIB


def test_a_pool_that_may_only_be_read_is_told_and_not_tried_again(ceph: Ceph, storage: RbdStorage) -> None:
    """QEMU opens what it reads as a writer would."""
    pool, name, imaging = ceph.extra_pool("theirs"), uuid4().hex, QemuImaging()
    with pool_of(ceph, pool) as ioctx:
        rbd.RBD().create(ioctx, name, MIB, old_format=False)
    with ceph.admin() as administrator:
        rights = f"profile rbd pool={ceph.pool}, profile rbd-read-only pool={pool}"
        administrator.command("auth caps", entity=f"client.{ceph.user}", caps=["mon", "profile rbd", "osd", rights])
        try:
            source = storage.foreign_source(pool, name, None)
            imaging.copy("job", source.address, source.size, storage.create_image(name, MIB))
            job = settled(imaging, "job")
            with pytest.raises(PermanentError) as caught:
                storage.create_foreign(pool, f"{name}-export", MIB, "mark")
        finally:
            administrator.allow_all_pools(ceph.user)
    assert job.problem is not None
    assert (job.problem[0], job.problem[2]) == ("pool-forbidden", False), job
    assert "profile rbd" in job.problem[1]
    assert caught.value.problem.slug == "pool-forbidden"
