"""What inventories tell of snapshots and strangers."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import rados
import rbd

from bmid.drivers.storage.directory import DirectoryStorage
from bmid.drivers.storage.rbd import RbdStorage
from tests.support.storage_bed import Bed


def test_an_inventory_tells_the_snapshots_of_disks(bed: Bed) -> None:
    """With the metadata, and not of images."""
    image, disk, snapshot = bed.golden(), uuid4().hex, uuid4().hex
    bed.storage.clone(image, disk, {})
    bed.storage.freeze(disk, snapshot)
    told = {one.id: one.snapshots for one in bed.storage.inventory()}
    assert (told[disk], told[image]) == ((snapshot,), ())
    assert all(not one.snapshots for one in bed.storage.inventory(metadata=False))
    bed.storage.thaw(disk, snapshot)
    assert next(one.snapshots for one in bed.storage.inventory() if one.id == disk) == ()


def test_what_has_no_name_of_ours_is_a_stranger_in_a_pool(storage: RbdStorage, pool: rados.Ioctx) -> None:
    """Somebody else's snapshots are nobody's business."""
    name = f"somebodys-{uuid4().hex}"
    rbd.RBD().create(pool, name, 1 << 20)
    with rbd.Image(pool, name) as handle:
        handle.create_snap("theirs")
    assert [one.kind for one in storage.inventory() if one.id == name] == ["stranger"]


def test_what_has_no_name_of_ours_is_a_stranger_in_a_folder(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path)
    storage.check()
    (tmp_path / "lost+found").mkdir()
    (tmp_path / "backup.tar").write_bytes(b"x")
    assert [(one.kind, one.id) for one in storage.inventory()] == [("stranger", "backup.tar")]
