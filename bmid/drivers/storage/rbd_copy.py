"""Snapshots of disks, and golden images made of other images' bytes: clones, and deep copies of a disk's snapshot.

A deep copy takes what the disk has of its own, and goes on sharing the rest with the golden image that the disk was
cloned from. It brings the snapshot along that it was copied from; sealing makes that the golden one by a new name,
which costs a third of what another snapshot would.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from contextlib import suppress

import rados
import rbd

from bmid.drivers.base import Errand
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
)
from bmid.drivers.storage.rbd_metadata import identity, remove_metadata

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
    """As the port says."""
    with suppress(rbd.ImageNotFound):
        with rbd.Image(ceph.pool, disk_name(disk), snapshot=_frozen(snapshot), read_only=True):
            pass  # without it there is nothing to be opened for writing, where others would see us as the owner
        with rbd.Image(ceph.pool, disk_name(disk)) as handle:
            handle.remove_snap(_frozen(snapshot))


def duplicate(ceph: CephSession, disk: str, snapshot: str, image: str, access: Access, pool: str) -> Errand:
    """As the port says: a command line that copies what the disk has of its own."""
    with rbd.Image(ceph.pool, disk_name(disk), snapshot=_frozen(snapshot), read_only=True) as handle:
        size = handle.size()
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
        for older in there:
            if older != GOLDEN:
                handle.remove_snap(older)


def snapshots(ceph: CephSession, name: str) -> tuple[str, ...]:
    """The snapshots of ours that a disk has. Only one that has any is opened. Raises rbd.Error, rados.Error."""
    image = identity(ceph.pool, name)
    try:
        if image is None or not _counted(ceph, image):
            return ()
        with rbd.Image(ceph.pool, name, read_only=True) as handle:
            names = [snapshot["name"] for snapshot in handle.list_snaps()]
    except (rbd.ImageNotFound, rados.ObjectNotFound):
        return ()
    return tuple(sorted(one.removeprefix(_FROZEN) for one in names if one.startswith(_FROZEN)))


def _counted(ceph: CephSession, image: str) -> int:
    """How many snapshots an image has, asked of the OSD: after its newest one's number, their count."""
    _, answer = ceph.pool.execute(f"rbd_header.{image}", "rbd", "get_snapcontext", b"")
    return int(struct.unpack_from("<QI", answer)[1])


def _frozen(snapshot: str) -> str:
    return f"{_FROZEN}{snapshot}"
