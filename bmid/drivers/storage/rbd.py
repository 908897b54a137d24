"""Golden images and disks as RBD images: the driver `rbd`.

Names: `image-ID` with the snapshot `golden` once it may be cloned, `disk-ID` for a clone. The connection, the
meaning of Ceph's exceptions, the metadata and the fence have modules of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import rados
import rbd

from bmid.drivers.base import Backing, Storage, StorageCapabilities, Stored, Usage
from bmid.drivers.storage.ceph_connection import CephConnection, CephSession
from bmid.drivers.storage.rbd_fence import fence, watchers
from bmid.drivers.storage.rbd_metadata import identity, read_metadata, write_metadata
from bmid.drivers.storage.rbd_trash import Trash
from bmid.errors import PermanentError, TransientError

__all__ = ["RbdStorage"]

_GOLDEN = "golden"
_DISK_KEY = "bmi"
# A clone inherits the metadata of its image, last of all that librbd does to make it. With a key of its own it
# can't be taken for the disk's, and it tells a finished clone from one whose maker was killed half-way.
_IMAGE_KEY = "bmi-image"
# With layering alone, removing an untouched 10 GiB clone takes ten times as long.
_FEATURES = (
    rbd.RBD_FEATURE_LAYERING
    | rbd.RBD_FEATURE_EXCLUSIVE_LOCK
    | rbd.RBD_FEATURE_OBJECT_MAP
    | rbd.RBD_FEATURE_FAST_DIFF
    | rbd.RBD_FEATURE_DEEP_FLATTEN
)


class RbdStorage(Storage):
    """Storage in one pool of Ceph.

    conf and user are ours; tgt_conf is the configuration that tgtd opens disks with (without timeouts, with
    rbd_cache = false: a write that the initiator was told is safe must be). timeout: seconds for each operation.
    """

    capabilities = StorageCapabilities(cow=True, shared=True, live_snapshot=True, owners=True)

    def __init__(self, conf: Path, user: str, pool: str, tgt_conf: Path, timeout: float = 30) -> None:
        self._conf = conf
        self._user = user
        self._pool = pool
        self._tgt_conf = tgt_conf
        self._timeout = timeout
        self._ceph = CephConnection(conf, user, pool, timeout)
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
        name = _image(image)
        with self._ceph.session() as ceph:
            create = partial(self._rbd.create, ceph.pool, name, size, old_format=False, features=_FEATURES)
            try:
                create()
            except rbd.ImageExists:
                if self._sealed(ceph, name):
                    raise PermanentError("image-sealed", f"image {image} is golden already") from None
                self._drop(ceph, name)
                create()
        # A full pool would hold qemu-img for ever.
        options = {"conf": str(self._conf), "id": self._user, "rados_osd_op_timeout": str(self._timeout)}
        return f"rbd:{self._pool}/{name}" + "".join(f":{key}={_escaped(value)}" for key, value in options.items())

    def read_image(self, image: str, offset: int, length: int) -> bytes:
        with self._ceph.session() as ceph, rbd.Image(ceph.pool, _image(image), read_only=True) as handle:
            length = min(length, handle.size() - offset)
            return bytes(handle.read(offset, length)) if length > 0 else b""

    def seal_image(self, image: str, metadata: Mapping[str, object]) -> None:
        name = _image(image)
        with self._ceph.session() as ceph:
            self._describe(ceph, name, _IMAGE_KEY, metadata)
            # The writer was another process and has gone: there is nothing to flush here.
            with rbd.Image(ceph.pool, name) as handle, suppress(rbd.ImageExists):
                handle.create_snap(_GOLDEN)

    def sealed(self, image: str) -> bool:
        with self._ceph.session() as ceph:
            return self._sealed(ceph, _image(image))

    def remove_image(self, image: str) -> None:
        name = _image(image)
        with self._ceph.session() as ceph:
            try:
                with rbd.Image(ceph.pool, name, read_only=True) as handle:
                    clones = [c["image"] for c in handle.list_children2() if not c["trash"]]
                if clones:
                    raise _in_use(image, clones)
                fence(ceph, name, (), self._timeout)
                with rbd.Image(ceph.pool, name) as handle, suppress(rbd.ImageNotFound):
                    handle.remove_snap(_GOLDEN)
                self._rbd.trash_move(ceph.pool, name, 0)
            except rbd.ImageNotFound:
                self._sweep(ceph, name)

    def clone(self, image: str, disk: str, metadata: Mapping[str, object]) -> None:
        name = _disk(disk)
        with self._ceph.session() as ceph:
            try:
                self._clone(ceph, _image(image), name)
            except rbd.ImageExists:
                if not self._finished(ceph, name):
                    self._drop(ceph, name)
                    self._clone(ceph, _image(image), name)
            self._describe(ceph, name, _DISK_KEY, metadata)

    def describe(self, disk: str, metadata: Mapping[str, object]) -> None:
        with self._ceph.session() as ceph:
            self._describe(ceph, _disk(disk), _DISK_KEY, metadata)

    def discard(self, disk: str, metadata: Mapping[str, object]) -> None:
        name = _disk(disk)
        with self._ceph.session() as ceph:
            image = identity(ceph.pool, name)
            if image is None:
                return
            if write_metadata(ceph.pool, image, _DISK_KEY, metadata):
                with suppress(rbd.ImageNotFound):
                    self._rbd.trash_move(ceph.pool, name, 0)
            self._sweep(ceph, name)

    def backing(self, disk: str) -> Backing:
        return Backing("rbd", f"{self._pool}/{_disk(disk)}", f"conf={self._tgt_conf};id={self._user}")

    def owner(self, disk: str) -> str | None:
        with self._ceph.session() as ceph:
            found = watchers(ceph, _disk(disk))
        if len(found) != 1:
            raise TransientError("owner-unclear", f"disk {disk} is open at {len(found)} clients: {sorted(found)}")
        return found[0]

    def fence(self, disk: str, recorded: Collection[str]) -> None:
        with self._ceph.session() as ceph:
            fence(ceph, _disk(disk), recorded, self._timeout)

    def inventory(self, metadata: bool = True) -> Iterator[Stored]:
        with self._ceph.session() as ceph:
            names = [(name, "", None) for name in self._rbd.list(ceph.pool)]
            names += [(entry["name"], "trash", entry["id"]) for entry in self._rbd.trash_list(ceph.pool)]
        for name, kind, entry in names:
            prefix, _, identity = name.partition("-")
            if identity and prefix in ("image", "disk"):
                yield Stored(kind or prefix, identity, self._metadata(name, entry) if metadata else {})

    def purge(self, limit: int) -> int:
        removed = 0
        with self._ceph.session() as ceph:
            for entry in sorted(self._rbd.trash_list(ceph.pool), key=lambda entry: entry["deletion_time"]):
                if removed >= limit:
                    break
                if entry["name"].startswith(("image-", "disk-")):
                    removed += self._trash.remove(ceph.pool, entry["name"], entry["id"])
        return removed

    def close(self) -> None:
        self._ceph.close()

    def _clone(self, ceph: CephSession, parent: str, name: str) -> None:
        try:
            self._rbd.clone(ceph.pool, parent, _GOLDEN, ceph.pool, name, features=_FEATURES)
        except rbd.ImageNotFound:
            raise PermanentError("image-missing", f"there is no golden {parent}", todo="Import it again.") from None

    def _sealed(self, ceph: CephSession, name: str) -> bool:
        try:
            with rbd.Image(ceph.pool, name, snapshot=_GOLDEN, read_only=True):
                return True
        except rbd.ImageNotFound:
            return False

    def _finished(self, ceph: CephSession, name: str) -> bool:
        image = identity(ceph.pool, name)
        keys = (_DISK_KEY, _IMAGE_KEY)
        return image is not None and any(read_metadata(ceph.pool, image, key) is not None for key in keys)

    def _describe(self, ceph: CephSession, name: str, key: str, metadata: Mapping[str, object]) -> None:
        image = identity(ceph.pool, name)
        if image is None or not write_metadata(ceph.pool, image, key, metadata):
            raise PermanentError("storage-missing", f"there is no {name} in pool {self._pool}")

    def _drop(self, ceph: CephSession, name: str) -> None:
        """Into the trash with something unfinished, whose maker may have died just now with the image open."""
        try:
            fence(ceph, name, (), self._timeout)
            self._rbd.trash_move(ceph.pool, name, 0)
        except rbd.ImageNotFound:
            self._sweep(ceph, name)

    def _sweep(self, ceph: CephSession, name: str) -> None:
        """Remove what is left of a name whose image can't be opened: its maker, or remover, was killed half-way."""
        if identity(ceph.pool, name) is not None:
            with suppress(rbd.ImageNotFound):
                self._rbd.remove(ceph.pool, name)

    def _metadata(self, name: str, image: str | None) -> Mapping[str, object]:
        """The metadata of one entry of an inventory; empty where it is gone by now or unreadable."""
        key = _IMAGE_KEY if name.startswith("image-") else _DISK_KEY
        with self._ceph.session() as ceph:
            image = image or identity(ceph.pool, name)
            return (read_metadata(ceph.pool, image, key) if image else None) or {}


def _image(image: str) -> str:
    return f"image-{image}"


def _disk(disk: str) -> str:
    return f"disk-{disk}"


def _in_use(image: str, clones: list[str]) -> PermanentError:
    disks = [clone.removeprefix("disk-") for clone in clones]
    detail = f"{len(disks)} disks hang on image {image}: {', '.join(disks[:5])}{' ...' if disks[5:] else ''}"
    return PermanentError("image-in-use", detail, todo="Remove the disks made from it first.", disks=disks)


def _escaped(value: str) -> str:
    """A value inside QEMU's rbd: address, where these characters mean something."""
    return "".join(f"\\{character}" if character in "\\:@/=" else character for character in value)
