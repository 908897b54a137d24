"""Snapshots of disks, and golden images made of other images' bytes: clones, and deep copies of a disk's snapshot.

A deep copy takes what the disk has of its own, and goes on sharing the rest with the golden image that the disk was
cloned from. It brings the snapshot along that it was copied from; sealing makes that the golden one by a new name,
which costs a third of what another snapshot would.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from contextlib import suppress

import rbd

from bmid.drivers.base import Errand
from bmid.drivers.base.advice import MISSING
from bmid.drivers.storage.ceph_connection import CephSession
from bmid.drivers.storage.rbd_image import (
    DISK_KEY,
    GOLDEN,
    IMAGE_KEY,
    Access,
    clone,
    describe,
    disk_name,
    image_name,
    make_way,
    snapshots_of,
)
from bmid.drivers.storage.rbd_metadata import identity, read_size, read_snapshots, remove_metadata
from bmid.errors import PermanentError, TransientError

__all__ = ["clone_image", "duplicate", "freeze", "seal", "snapshots", "thaw"]

_FROZEN = "frozen-"


def clone_image(ceph: CephSession, image: str, copy: str, timeout: float) -> None:
    """As the port says. Raises rbd.Error, rados.Error and the port's errors, as all here do."""
    name = image_name(copy)
    make_way(ceph, name, timeout)
    clone(ceph, image_name(image), name)
    describe(ceph, name, IMAGE_KEY, {})  # what it inherited is its parent's


def freeze(ceph: CephSession, disk: str, snapshot: str) -> None:
    """As the port says. Where a target has the disk open, librbd asks it to make the snapshot between two writes."""
    with rbd.Image(ceph.pool, disk_name(disk)) as handle, suppress(rbd.ImageExists):
        handle.create_snap(_frozen(snapshot))


def thaw(ceph: CephSession, disk: str, snapshot: str) -> None:
    """As the port says. Without it nothing is opened for writing, where others would see us as the owner."""
    name, frozen = disk_name(disk), _frozen(snapshot)
    if frozen not in snapshots_of(ceph, name):
        return
    with suppress(rbd.ImageNotFound), rbd.Image(ceph.pool, name) as handle:
        handle.remove_snap(frozen)
    _require(ceph, name, set(), {frozen})


def duplicate(ceph: CephSession, disk: str, snapshot: str, image: str, access: Access, pool: str) -> Errand:
    """As the port says: a command line that copies what the disk has of its own."""
    source_id = identity(ceph.pool, disk_name(disk))
    number = None if source_id is None else read_snapshots(ceph.pool, source_id).get(_frozen(snapshot))
    if source_id is None or number is None:
        raise PermanentError(
            "storage-missing", f"there is no {disk_name(disk)}@{_frozen(snapshot)} in the pool", todo=MISSING
        )
    size = read_size(ceph.pool, source_id, number)
    make_way(ceph, image_name(image), access.timeout)
    source, destination = f"{pool}/{disk_name(disk)}@{_frozen(snapshot)}", f"{pool}/{image_name(image)}"
    return Errand(access.tool("deep", "cp", source, destination), size)


def seal(ceph: CephSession, image: str, metadata: Mapping[str, object]) -> None:
    """As the port says. The writer was another process and has gone: there is nothing to flush here."""
    name = image_name(image)
    describe(ceph, name, IMAGE_KEY, metadata)
    if identifier := identity(ceph.pool, name):
        remove_metadata(ceph.pool, identifier, DISK_KEY)  # a deep copy has its disk's, and clones would inherit it
    with rbd.Image(ceph.pool, name) as handle:
        snapshots = sorted(handle.list_snaps(), key=lambda snapshot: snapshot["id"])
        there = [snapshot["name"] for snapshot in snapshots if snapshot["namespace"] == 0]
        if GOLDEN not in there:
            if there:
                handle.rename_snap(there.pop(), GOLDEN)  # the youngest: what the copy ends with
            else:
                handle.create_snap(GOLDEN)
        older = set(there) - {GOLDEN}
        for one in older:
            handle.remove_snap(one)
    _require(ceph, name, {GOLDEN}, older)


def snapshots(ceph: CephSession, name: str) -> tuple[str, ...]:
    """The snapshots of ours that a disk has. Raises rados.Error."""
    return tuple(sorted(one.removeprefix(_FROZEN) for one in snapshots_of(ceph, name) if one.startswith(_FROZEN)))


def _require(ceph: CephSession, name: str, there: Set[str], gone: Set[str]) -> None:
    """That an image has those snapshots and not these, whatever librbd said. TransientError `storage-timeout`."""
    found = snapshots_of(ceph, name).keys()
    if wrong := sorted(there - found | gone & found):
        raise TransientError(
            "storage-timeout",
            f"{name}@{wrong[0]} is not as Ceph says that it made it",
            todo="It is tried again. If it stays so, look at Ceph: `ceph -s`.",
        )


def _frozen(snapshot: str) -> str:
    return f"{_FROZEN}{snapshot}"
