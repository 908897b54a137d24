"""What only storage on Ceph promises: it is cut off and comes back, heals what was half made, and fences real tgtd."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
import rados
import rbd

from bmid.drivers.base import JobState
from bmid.drivers.imaging.qemu import QemuImaging
from bmid.drivers.storage.rbd import RbdStorage
from bmid.errors import PermanentError
from lab.tgtd import Tgtd
from tests.support.storage_bed import MIB, seconds


def first_bytes(pool: rados.Ioctx, disk: str) -> bytes:
    with rbd.Image(pool, f"disk-{disk}", read_only=True) as handle:
        return bytes(handle.read(0, 6))


def test_librbd_reads_the_metadata_that_we_wrote(storage: RbdStorage, pool: rados.Ioctx, image: str) -> None:
    disk = uuid4().hex
    value = {"project": "größer", "node": None, "macs": ["52:54:00:00:00:01"], "pad": "x" * 5000}
    storage.clone(image, disk, value)
    with rbd.Image(pool, f"disk-{disk}", read_only=True) as handle:
        assert json.loads(handle.metadata_get("bmi")) == value
        assert handle.get_parent_image_spec()["image_name"] == f"image-{image}"
        assert handle.features() & ~rbd.RBD_FEATURE_OPERATIONS == 1 | 4 | 8 | 16 | 32
    assert first_bytes(pool, disk) == b"golden"


def test_looking_after_a_disk_leaves_no_watcher(storage: RbdStorage, pool: rados.Ioctx, image: str) -> None:
    disk = uuid4().hex
    storage.clone(image, disk, {})
    storage.describe(disk, {"a": 1})
    storage.fence(disk, ())
    with rbd.Image(pool, f"disk-{disk}", read_only=True) as handle:
        assert list(handle.watchers_list()) == []


def leave_unattached(pool: rados.Ioctx, name: str, _image: str) -> None:
    """As after kill -9 before the parent was attached: an image of the right size, full of zeros."""
    rbd.RBD().create(pool, name, 8 * MIB, old_format=False)


def leave_headless(pool: rados.Ioctx, name: str, image: str) -> None:
    """As after kill -9 before the header was written."""
    rbd.RBD().clone(pool, f"image-{image}", "golden", pool, name)
    with rbd.Image(pool, name) as handle:
        identity = handle.id()
    pool.remove_object(f"rbd_header.{identity}")


def leave_name(pool: rados.Ioctx, name: str, _image: str) -> None:
    """As after kill -9 right at the beginning."""
    identity = os.urandom(6).hex().encode()
    pool.write_full(f"rbd_id.{name}", struct.pack("<I", len(identity)) + identity)


@pytest.mark.parametrize("leave", [leave_unattached, leave_headless, leave_name])
def test_what_a_killed_maker_left_is_made_anew_or_removed(
    storage: RbdStorage, pool: rados.Ioctx, image: str, leave: Callable[[rados.Ioctx, str, str], None]
) -> None:
    disk, other = uuid4().hex, uuid4().hex
    leave(pool, f"disk-{disk}", image)
    storage.clone(image, disk, {"generation": 1})
    assert first_bytes(pool, disk) == b"golden"
    leave(pool, f"disk-{other}", image)
    storage.discard(other, {})
    assert f"disk-{other}" not in rbd.RBD().list(pool)
    with pytest.raises(rados.ObjectNotFound):
        pool.stat(f"rbd_id.disk-{other}")


def test_metadata_of_an_image_without_a_header_makes_none(storage: RbdStorage, pool: rados.Ioctx, image: str) -> None:
    disk = uuid4().hex
    leave_name(pool, f"disk-{disk}", image)
    identity = pool.read(f"rbd_id.disk-{disk}")[4:].decode()
    with pytest.raises(PermanentError):
        storage.describe(disk, {"a": 1})
    with pytest.raises(rados.ObjectNotFound):
        pool.stat(f"rbd_header.{identity}")
    storage.discard(disk, {})


def test_an_image_is_converted_straight_into_the_pool(storage: RbdStorage, tmp_path: Path) -> None:
    content, file, image = os.urandom(5 * MIB) + bytes(3 * MIB), tmp_path / "disk", uuid4().hex
    (tmp_path / "raw").write_bytes(content)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", "-c", tmp_path / "raw", file], check=True)
    imaging = QemuImaging()
    imaging.inspect("look", file, tmp_path, None, "qcow2")
    while (job := imaging.poll("look")) and job.state is JobState.RUNNING:
        time.sleep(0.02)
    assert job is not None
    assert job.result is not None
    imaging.convert("copy", file, job.result, storage.create_image(image, job.result.virtual_size))
    while (job := imaging.poll("copy")) and job.state is JobState.RUNNING:
        time.sleep(0.02)
    assert job is not None
    assert (job.state, job.done) == (JobState.DONE, 8 * MIB), job
    storage.seal_image(image, {})
    assert storage.read_image(image, 0, 8 * MIB) == content


def export(tgtd: Tgtd, storage: RbdStorage, number: int, disk: str) -> None:
    backing = storage.backing(disk)
    target = ("--tid", str(number))
    tgtd.tgtadm("--mode", "target", "--op", "new", *target, "-T", f"iqn.2026-01.test:{disk}")
    lun = ("--mode", "logicalunit", "--op", "new", *target, "--lun", "1")
    tgtd.tgtadm(*lun, "--bstype", backing.bstype, "--backing-store", backing.path, "--bsopts", backing.bsopts)


def test_the_address_of_a_real_target_is_its_owner(storage: RbdStorage, image: str, tgtd: Tgtd) -> None:
    disks = [uuid4().hex, uuid4().hex]
    for number, disk in enumerate(disks, 1):
        storage.clone(image, disk, {})
        export(tgtd, storage, number, disk)
    owners = [storage.owner(disk) for disk in disks]
    assert None not in owners
    assert owners[0] != owners[1]


def test_after_the_fence_a_dead_target_delays_nothing(storage: RbdStorage, image: str, tgtd: Tgtd) -> None:
    disk = uuid4().hex
    storage.clone(image, disk, {})
    export(tgtd, storage, 1, disk)
    owner = storage.owner(disk)
    assert owner is not None
    tgtd.kill()
    # Nobody waits until Ceph holds it for dead, which takes half a minute.
    assert seconds(lambda: storage.fence(disk, (owner,))) < 10
    assert seconds(lambda: storage.discard(disk, {})) < 10
    assert all(entry.id != disk or entry.kind == "trash" for entry in storage.inventory())
