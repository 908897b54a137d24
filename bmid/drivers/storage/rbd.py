"""Golden images and disks as RBD images: the driver `rbd`.

Names: `image-ID` with the snapshot `golden` once it may be cloned, `disk-ID` for a clone, `frozen-ID` for a snapshot
of it. The connection, the meaning of Ceph's exceptions, the metadata, the fence, copies and the pools of others have
modules of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import rados
import rbd

from bmid.drivers.base import Backing, Errand, Foreign, Storage, StorageCapabilities, Stored, TrashEntry, Usage
from bmid.drivers.base.advice import IN_USE, UNCLEAR
from bmid.drivers.storage import rbd_copy
from bmid.drivers.storage.ceph_connection import CephConnection, CephSession
from bmid.drivers.storage.rbd_fence import cut_off, fence, owners
from bmid.drivers.storage.rbd_foreign import ForeignPools
from bmid.drivers.storage.rbd_image import (
    DISK_KEY,
    FEATURES,
    GOLDEN,
    IMAGE_KEY,
    Access,
    clone,
    describe,
    disk_name,
    drop,
    image_name,
    is_sealed,
    make_way,
    sweep,
)
from bmid.drivers.storage.rbd_metadata import identity, read_metadata, read_size, write_metadata
from bmid.drivers.storage.rbd_trash import Trash
from bmid.errors import PermanentError, TransientError

__all__ = ["RbdStorage"]


class RbdStorage(Storage):
    """Storage in one pool of Ceph.

    conf and user are ours; tgt_conf is the configuration that tgtd opens disks with (without timeouts, with
    rbd_cache = false: a write that the initiator was told is safe must be). timeout: seconds for each operation.
    """

    capabilities = StorageCapabilities(cow=True, shared=True, live_snapshot=True, owners=True)

    def __init__(self, conf: Path, user: str, pool: str, tgt_conf: Path, timeout: float = 30) -> None:
        self._access = Access(conf, user, timeout)
        self._user = user
        self._pool = pool
        self._tgt_conf = tgt_conf
        self._timeout = timeout
        self._ceph = CephConnection(conf, user, pool, timeout)
        self._foreign = ForeignPools(self._ceph, self._access)
        self._rbd = rbd.RBD()
        self._trash = Trash()

    def check(self) -> str:
        with self._ceph.session() as ceph:
            version = ceph.command(prefix="version")["version"]
            with suppress(rados.ObjectNotFound):  # a pool without images; that an OSD answered is what counts
                ceph.pool.stat("rbd_directory")
            return f"{version}, pool {self._pool}, cluster {ceph.cluster.get_fsid()}"

    def usage(self) -> Usage | None:
        with self._ceph.session() as ceph:
            pools = ceph.command(prefix="df", detail="detail")["pools"]
            stats = next((pool["stats"] for pool in pools if pool["name"] == self._pool), None)
            if stats is None or not stats["max_avail"] + stats["stored"]:
                return None  # a cluster without a manager, or one that has just begun to count
            total, free = stats["stored"] + stats["max_avail"], stats["max_avail"]
            if quota := stats["quota_bytes"]:
                total, free = min(total, quota), max(0, min(free, quota - stats["stored"]))
            return Usage(total=total, free=free)

    def create_image(self, image: str, size: int) -> str:
        name = image_name(image)
        with self._ceph.session() as ceph:
            create = partial(self._rbd.create, ceph.pool, name, size, old_format=False, features=FEATURES)
            try:
                create()
            except rbd.ImageExists:
                make_way(ceph, name, self._timeout)
                create()
        return self._access.address(self._pool, name)

    def read_image(self, image: str, offset: int, length: int) -> bytes:
        with self._ceph.session() as ceph, rbd.Image(ceph.pool, image_name(image), read_only=True) as handle:
            length = min(length, handle.size() - offset)
            return bytes(handle.read(offset, length)) if length > 0 else b""

    def seal_image(self, image: str, metadata: Mapping[str, object]) -> None:
        with self._ceph.session() as ceph:
            rbd_copy.seal(ceph, image, metadata)

    def sealed(self, image: str) -> bool:
        with self._ceph.session() as ceph:
            return is_sealed(ceph, image_name(image))

    def remove_image(self, image: str) -> None:
        name = image_name(image)
        with self._ceph.session() as ceph:
            try:
                with rbd.Image(ceph.pool, name, read_only=True) as handle:
                    clones = [c["image"] for c in handle.list_children2() if not c["trash"]]
                if clones:
                    raise _in_use(image, clones)
                fence(ceph, name, (), self._timeout)
                self._rbd.trash_move(ceph.pool, name, 0)
            except rbd.ImageNotFound:
                sweep(ceph, name)

    def address(self, image: str) -> str:
        return self._access.address(self._pool, image_name(image), GOLDEN)

    def clone_image(self, image: str, copy: str) -> None:
        with self._ceph.session() as ceph:
            rbd_copy.clone_image(ceph, image, copy, self._timeout)

    def freeze(self, disk: str, snapshot: str) -> None:
        with self._ceph.session() as ceph:
            rbd_copy.freeze(ceph, disk, snapshot)

    def thaw(self, disk: str, snapshot: str) -> None:
        with self._ceph.session() as ceph:
            rbd_copy.thaw(ceph, disk, snapshot)

    def duplicate(self, disk: str, snapshot: str, image: str) -> Errand:
        with self._ceph.session() as ceph:
            return rbd_copy.duplicate(ceph, disk, snapshot, image, self._access, self._pool)

    def foreign_source(self, pool: str, image: str, snapshot: str | None) -> Foreign:
        return self._foreign.source(pool, image, snapshot)

    def create_foreign(self, pool: str, image: str, size: int, mark: str) -> Foreign:
        return self._foreign.create(pool, image, size, mark)

    def release_foreign(self, pool: str, image: str, mark: str) -> None:
        self._foreign.release(pool, image, mark)

    def remove_foreign(self, pool: str, image: str, mark: str) -> bool:
        return self._foreign.remove(pool, image, mark)

    def clone(self, image: str, disk: str, metadata: Mapping[str, object]) -> None:
        name = disk_name(disk)
        with self._ceph.session() as ceph:
            try:
                clone(ceph, image_name(image), name)
            except rbd.ImageExists:
                if not self._finished(ceph, name):
                    drop(ceph, name, self._timeout)
                    clone(ceph, image_name(image), name)
            describe(ceph, name, DISK_KEY, metadata)

    def describe(self, disk: str, metadata: Mapping[str, object]) -> None:
        with self._ceph.session() as ceph:
            describe(ceph, disk_name(disk), DISK_KEY, metadata)

    def discard(self, disk: str, metadata: Mapping[str, object]) -> None:
        name = disk_name(disk)
        with self._ceph.session() as ceph:
            image = identity(ceph.pool, name)
            if image is not None and write_metadata(ceph.pool, image, DISK_KEY, metadata):
                with suppress(rbd.ImageNotFound):
                    self._rbd.trash_move(ceph.pool, name, 0)
            sweep(ceph, name)

    def backing(self, disk: str) -> Backing:
        return Backing("rbd", f"{self._pool}/{disk_name(disk)}", f"conf={self._tgt_conf};id={self._user}")

    def owner(self, disk: str) -> str | None:
        with self._ceph.session() as ceph:
            found = owners(ceph, disk_name(disk))
        if len(found) != 1:
            detail = f"disk {disk} is open at {len(found)} clients: {sorted(found)}"
            raise TransientError("owner-unclear", detail, clients=sorted(found), todo=UNCLEAR)
        return found[0]

    def fence(self, disk: str, recorded: Collection[str]) -> None:
        with self._ceph.session() as ceph:
            fence(ceph, disk_name(disk), recorded, self._timeout)

    def client(self) -> str | None:
        with self._ceph.session() as ceph:
            return ceph.address

    def cut_off(self, owners: Collection[str]) -> None:
        with self._ceph.session() as ceph:
            cut_off(ceph, owners)

    def inventory(self, metadata: bool = True) -> Iterator[Stored]:
        with self._ceph.session() as ceph:
            names = [(name, "", None) for name in self._rbd.list(ceph.pool)]
            names += [(entry["name"], "trash", entry["id"]) for entry in self._rbd.trash_list(ceph.pool)]
        for name, kind, entry in names:
            prefix, _, identity = name.partition("-")
            if identity and prefix in ("image", "disk"):
                snapshots = self._snapshots(name) if metadata and not kind and prefix == "disk" else ()
                told, size = self._metadata(name, entry) if metadata else ({}, 0)
                yield Stored(kind or prefix, identity, told, snapshots, size)
            elif not kind:
                yield Stored("stranger", name)

    def trash(self) -> Sequence[TrashEntry]:
        with self._ceph.session() as ceph:
            return self._trash.entries(ceph.pool)

    def restore(self, kind: str, identity: str) -> None:
        with self._ceph.session() as ceph:
            self._trash.restore(ceph.pool, kind, identity)

    def purge(self, entry: TrashEntry) -> bool:
        with self._ceph.session() as ceph:
            return self._trash.remove(ceph, entry, self._timeout)

    def close(self) -> None:
        self._ceph.close()

    def _finished(self, ceph: CephSession, name: str) -> bool:
        image = identity(ceph.pool, name)
        keys = (DISK_KEY, IMAGE_KEY)
        return image is not None and any(read_metadata(ceph.pool, image, key) is not None for key in keys)

    def _snapshots(self, name: str) -> tuple[str, ...]:
        with self._ceph.session() as ceph:
            return rbd_copy.snapshots(ceph, name)

    def _metadata(self, name: str, image: str | None) -> tuple[Mapping[str, object], int]:
        """The metadata and the size of one entry of an inventory; empty where it is gone by now or unreadable."""
        key = IMAGE_KEY if name.startswith("image-") else DISK_KEY
        with self._ceph.session() as ceph:
            image = image or identity(ceph.pool, name)
            if image is None:
                return {}, 0
            return read_metadata(ceph.pool, image, key) or {}, read_size(ceph.pool, image)


def _in_use(image: str, clones: list[str]) -> PermanentError:
    disks = [clone.removeprefix("disk-") for clone in clones if clone.startswith("disk-")]
    images = [clone.removeprefix("image-") for clone in clones if not clone.startswith("disk-")]
    detail = f"on image {image} hang {', '.join([*disks, *images][:5])}{' ...' if clones[5:] else ''}"
    return PermanentError("image-in-use", detail, todo=IN_USE, disks=disks, images=images)
