"""What Ceph says isn't there, and is: librbd says so of a snapshot whose object map it can't read, in time or at all.

To have it say so at will, object maps are spoiled here, which ends as the timeout of an OSD at that very read does.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
import rados
import rbd

from bmid.drivers.storage import rbd_copy
from bmid.drivers.storage.rbd import RbdStorage
from bmid.errors import PermanentError, TransientError
from lab.ceph import Ceph
from tests.support.storage_bed import MIB, pool_of


def spoil(pool: rados.Ioctx, name: str) -> None:
    """Make its snapshots unreadable, and see that librbd says that there are none."""
    with rbd.Image(pool, name, read_only=True) as handle:
        identity, snapshots = handle.id(), list(handle.list_snaps())
    assert snapshots
    for one in snapshots:
        pool.write_full(f"rbd_object_map.{identity}.{one['id']:016x}", b"spoiled")
        with pytest.raises(rbd.ImageNotFound):
            rbd.Image(pool, name, snapshot=one["name"], read_only=True)


def snapshots(pool: rados.Ioctx, name: str) -> list[str]:
    with rbd.Image(pool, name, read_only=True) as handle:
        return [one["name"] for one in handle.list_snaps()]


def liar(error: type[Exception] | None) -> Any:
    """Images that change no snapshot, and say that it was done, or that it is not there."""

    class Liar:
        def __init__(self, *arguments: Any) -> None:
            self._image = rbd.Image(*arguments)

        def __enter__(self) -> Liar:
            return self

        def __exit__(self, *_: object) -> None:
            self._image.close()

        def list_snaps(self) -> Any:
            return self._image.list_snaps()

        def remove_snap(self, *names: str) -> None:
            if error is not None:
                raise error(f"no {names}")

        rename_snap = remove_snap

    return Liar


@pytest.fixture
def disk(storage: RbdStorage, image: str) -> str:
    """A disk with a snapshot."""
    made = uuid4().hex
    storage.clone(image, made, {})
    storage.freeze(made, "before")
    return made


def test_a_snapshot_that_librbd_says_is_not_there_is_removed(storage: RbdStorage, pool: rados.Ioctx, disk: str) -> None:
    spoil(pool, f"disk-{disk}")
    storage.thaw(disk, "before")
    assert snapshots(pool, f"disk-{disk}") == []


@pytest.mark.parametrize("error", [rbd.ImageNotFound, None])
def test_a_snapshot_that_stays_is_not_told_to_be_gone(
    storage: RbdStorage, pool: rados.Ioctx, disk: str, error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever librbd says of its removal."""

    monkeypatch.setattr(rbd_copy, "rbd", SimpleNamespace(Image=liar(error), ImageNotFound=rbd.ImageNotFound))
    with pytest.raises(TransientError) as caught:
        storage.thaw(disk, "before")
    assert caught.value.problem.slug == "storage-timeout"
    assert snapshots(pool, f"disk-{disk}") == ["frozen-before"]


def test_what_librbd_did_not_make_golden_is_not_told_to_be(
    storage: RbdStorage, pool: rados.Ioctx, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = uuid4().hex
    storage.create_image(image, MIB)
    with rbd.Image(pool, f"image-{image}") as handle:
        handle.create_snap("frozen-before")
    monkeypatch.setattr(rbd_copy, "rbd", SimpleNamespace(Image=liar(None), ImageNotFound=rbd.ImageNotFound))
    with pytest.raises(TransientError) as caught:
        storage.seal_image(image, {})
    assert caught.value.problem.slug == "storage-timeout"
    monkeypatch.undo()
    storage.seal_image(image, {})
    assert snapshots(pool, f"image-{image}") == ["golden"]


def test_what_has_gone_with_its_disk_is_gone(storage: RbdStorage, image: str, disk: str) -> None:
    storage.thaw(disk, "never")
    storage.discard(disk, {})
    storage.thaw(disk, "before")
    with pytest.raises(PermanentError) as caught:
        storage.duplicate(disk, "before", uuid4().hex)
    assert caught.value.problem.slug == "storage-missing"


def test_a_golden_image_stays_golden_and_nothing_takes_its_place(
    storage: RbdStorage, pool: rados.Ioctx, image: str
) -> None:
    spoil(pool, f"image-{image}")
    assert storage.sealed(image)
    with pytest.raises(PermanentError) as caught:
        storage.create_image(image, MIB)
    assert caught.value.problem.slug == "image-sealed"
    assert image not in {one.id for one in storage.trash()}


def test_a_clone_is_tried_again_where_its_image_is_there(storage: RbdStorage, pool: rados.Ioctx, image: str) -> None:
    spoil(pool, f"image-{image}")
    with pytest.raises(TransientError) as caught:
        storage.clone(image, uuid4().hex, {})
    assert caught.value.problem.slug == "storage-timeout"
    with pytest.raises(PermanentError) as missing:
        storage.clone(uuid4().hex, uuid4().hex, {})
    assert missing.value.problem.slug == "image-missing"


def test_a_copy_of_a_snapshot_is_as_long_as_the_snapshot(storage: RbdStorage, pool: rados.Ioctx, disk: str) -> None:
    with rbd.Image(pool, f"disk-{disk}") as handle:
        handle.resize(16 * MIB)
    spoil(pool, f"disk-{disk}")
    assert storage.duplicate(disk, "before", uuid4().hex).size == 8 * MIB


def test_an_image_comes_back_from_the_trash(storage: RbdStorage, pool: rados.Ioctx, image: str) -> None:
    spoil(pool, f"image-{image}")
    storage.remove_image(image)
    storage.restore("image", image)
    assert storage.sealed(image)


def test_somebody_elses_snapshot_is_tried_again(ceph: Ceph, storage: RbdStorage) -> None:
    theirs, name = ceph.extra_pool("theirs"), f"source-{uuid4().hex}"
    with pool_of(ceph, theirs) as pool:
        rbd.RBD().create(pool, name, MIB, old_format=False, features=1 | 4 | 8)
        with rbd.Image(pool, name) as handle:
            handle.create_snap("now")
        spoil(pool, name)
    with pytest.raises(TransientError) as caught:
        storage.foreign_source(theirs, name, "now")
    assert caught.value.problem.slug == "storage-timeout"
    with pytest.raises(PermanentError) as missing:
        storage.foreign_source(theirs, name, "later")
    assert missing.value.problem.slug == "source-unknown"
