"""RBD images as the driver names, makes and drops them, and how tools of Ceph and QEMU are told of them.

What an image or a disk is to BMI is the driver's matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import rbd

from bmid.drivers.base.advice import BUSY, MISSING, SEALED
from bmid.drivers.storage.ceph_connection import CephSession
from bmid.drivers.storage.rbd_fence import fence, forget
from bmid.drivers.storage.rbd_metadata import identity, read_snapshots, unlist, write_metadata
from bmid.errors import PermanentError, TransientError

__all__ = [
    "DISK_KEY",
    "FEATURES",
    "GOLDEN",
    "IMAGE_KEY",
    "Access",
    "clone",
    "describe",
    "disk_name",
    "drop",
    "image_name",
    "is_sealed",
    "make_way",
    "snapshots_of",
    "sweep",
    "unreadable",
]

GOLDEN = "golden"
DISK_KEY = "bmi"
# A clone inherits the metadata of its image, last of all that librbd does to make it. With a key of its own it
# can't be taken for the disk's, and it tells a finished clone from one whose maker was killed half-way.
IMAGE_KEY = "bmi-image"
# With layering alone, removing an untouched 10 GiB clone takes ten times as long.
FEATURES = (
    rbd.RBD_FEATURE_LAYERING
    | rbd.RBD_FEATURE_EXCLUSIVE_LOCK
    | rbd.RBD_FEATURE_OBJECT_MAP
    | rbd.RBD_FEATURE_FAST_DIFF
    | rbd.RBD_FEATURE_DEEP_FLATTEN
)


@dataclass(frozen=True)
class Access:
    """How a child process gets at the cluster. timeout: seconds of each operation; a full pool would hold a child for
    ever without."""

    conf: Path
    user: str
    timeout: float

    def address(self, pool: str, name: str, snapshot: str | None = None) -> str:
        """An image as qemu-img understands it. It is read without its time of access being written."""
        options = {"conf": str(self.conf), "id": self.user, "rados_osd_op_timeout": str(self.timeout)}
        options |= {"client_mount_timeout": str(self.timeout), "rbd_atime_update_interval": "0"}
        place = f"rbd:{_escaped(pool)}/{_escaped(name)}" + (f"@{_escaped(snapshot)}" if snapshot is not None else "")
        return place + "".join(f":{key}={_escaped(value)}" for key, value in options.items())

    def tool(self, *words: str) -> tuple[str, ...]:
        """A command line of Ceph's own tool. The last option lets it make clones of snapshots as ours are."""
        seconds = str(self.timeout)
        limits = ("--rados-osd-op-timeout", seconds, "--rados-mon-op-timeout", seconds)
        clones = ("--client-mount-timeout", seconds, "--rbd-default-clone-format", "2")
        return ("rbd", "--conf", str(self.conf), "--id", self.user, *limits, *clones, *words)


def image_name(image: str) -> str:
    """What a golden image is called in the pool."""
    return f"image-{image}"


def disk_name(disk: str) -> str:
    """What a disk is called in the pool."""
    return f"disk-{disk}"


def is_sealed(ceph: CephSession, name: str) -> bool:
    """Whether there is an image of this name, and it is golden. Raises rados.Error."""
    return GOLDEN in snapshots_of(ceph, name)


def snapshots_of(ceph: CephSession, name: str) -> Mapping[str, int]:
    """The names and numbers of an image's snapshots; none where there is no image. Raises rados.Error.

    librbd's word that there is no such snapshot proves nothing (see `read_snapshots`): it is to be asked here.
    """
    image = identity(ceph.pool, name)
    return {} if image is None else read_snapshots(ceph.pool, image)


def unreadable(name: str) -> TransientError:
    """What to raise where librbd says that something isn't there, and it is."""
    detail = f"Ceph did not read {name} in time, or can't read its object map"
    return TransientError("storage-timeout", detail, todo="If it stays so, run `rbd object-map rebuild` on it.")


def clone(ceph: CephSession, parent: str, name: str) -> None:
    """Clone a golden image. Raises rbd.Error, ImageExists among them, PermanentError `image-missing`, and
    TransientError `storage-timeout`."""
    try:
        rbd.RBD().clone(ceph.pool, parent, GOLDEN, ceph.pool, name, features=FEATURES)
    except rbd.ImageNotFound:
        if is_sealed(ceph, parent):
            raise unreadable(f"{parent}@{GOLDEN}") from None
        raise PermanentError("image-missing", f"there is no golden {parent}", todo="Import it again.") from None


def describe(ceph: CephSession, name: str, key: str, metadata: Mapping[str, object]) -> None:
    """Set one value of metadata. PermanentError `storage-missing`."""
    image = identity(ceph.pool, name)
    if image is None or not write_metadata(ceph.pool, image, key, metadata):
        raise PermanentError("storage-missing", f"there is no {name} in the pool", todo=MISSING)


def make_way(ceph: CephSession, name: str, timeout: float) -> None:
    """Drop an unfinished image, so that its name is free. Raises rbd.Error and PermanentError `image-sealed`."""
    if identity(ceph.pool, name) is None:
        unlist(ceph.pool, name)
        return
    if is_sealed(ceph, name):
        raise PermanentError("image-sealed", f"{name} is golden already", todo=SEALED)
    drop(ceph, name, timeout)


def drop(ceph: CephSession, name: str, timeout: float) -> None:
    """Into the trash with something unfinished, whose maker may have died just now with the image open."""
    try:
        fence(ceph, name, (), timeout)
        rbd.RBD().trash_move(ceph.pool, name, 0)
    except rbd.ImageNotFound:
        sweep(ceph, name)


def sweep(ceph: CephSession, name: str) -> None:
    """Remove what is left of a name whose image can't be opened: its maker, or remover, was killed half-way.

    TransientError `storage-busy` if it stays.
    """
    image = identity(ceph.pool, name)
    if image is not None:
        with suppress(rbd.ImageNotFound):
            try:
                rbd.RBD().remove(ceph.pool, name)
            except rbd.ImageBusy:
                if not forget(ceph, image):
                    raise
                rbd.RBD().remove(ceph.pool, name)
        if identity(ceph.pool, name) is not None:
            raise TransientError(
                "storage-busy",
                f"{name} can be neither opened nor removed",
                todo=BUSY,
            )
    unlist(ceph.pool, name)


def _escaped(value: str) -> str:
    """A value inside QEMU's rbd: address, where these characters mean something."""
    return "".join(f"\\{character}" if character in "\\:@/=" else character for character in value)
