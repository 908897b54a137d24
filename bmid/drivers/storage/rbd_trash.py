"""The trash of a pool: what is in it, the way back, and the end. Nothing is put there here.

Nobody has any business with an entry but who removes it: whoever has it open for long is cut off.

An entry is made in the state MOVING, then the image's name goes (its id object, then its place in the list of names),
then the entry becomes NORMAL. Whoever is killed in between leaves an entry that librbd refuses to touch for ever; the
OSD's class `rbd` has the methods to finish the move. On the way back it is RESTORING until the entry goes, last of all,
and librbd goes on with that.

A clone in the trash still hangs on the snapshot that it was made of, so an image there keeps its golden one until
nothing hangs on it. Entries of one name are an unfinished thing and what was made in its place.
"""

from __future__ import annotations

import errno
import struct
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC
from typing import Any

import rados
import rbd

from bmid.drivers.base import TrashEntry
from bmid.drivers.base.advice import BUSY, UNTRASHED
from bmid.drivers.storage.ceph_connection import CephSession
from bmid.drivers.storage.rbd_fence import fence, forget
from bmid.drivers.storage.rbd_image import DISK_KEY, GOLDEN, IMAGE_KEY
from bmid.drivers.storage.rbd_metadata import encoded, identity, read_metadata, read_snapshots
from bmid.errors import PermanentError, TransientError

__all__ = ["Trash"]

_NOT_YET: tuple[Any, ...] = (rbd.ImageHasSnapshots, rbd.ImageNotFound, rbd.PermissionError)
_NORMAL, _MOVING = 0, 1  # cls::rbd::TrashImageState
_ABANDONED = 30.0  # seconds after which nobody is still busy with a move, which takes milliseconds


class Trash:
    """The trash of one pool. Remembers since when it has seen moves that somebody has not finished, and entries that
    somebody has open; after `abandoned` seconds it finishes them, or cuts him off."""

    def __init__(self, abandoned: float = _ABANDONED) -> None:
        self._abandoned = abandoned
        self._seen: dict[str, float] = {}
        self._lock = threading.Lock()

    def entries(self, pool: rados.Ioctx) -> Sequence[TrashEntry]:
        """All that is ours, the oldest first. Raises rbd.Error, as all here do."""
        in_use = set(rbd.RBD().list(pool))
        found = []
        for entry in sorted(rbd.RBD().trash_list(pool), key=lambda entry: entry["deletion_time"]):
            kind, _, identifier = entry["name"].partition("-")
            if identifier and kind in ("image", "disk"):
                spoiled = entry["name"] in in_use and not _whole(pool, kind, entry["id"])
                removed = entry["deletion_time"].replace(tzinfo=UTC)
                found.append(TrashEntry(kind, identifier, entry["id"], spoiled, removed))
        return found

    def restore(self, pool: rados.Ioctx, kind: str, identifier: str) -> None:
        """As the port says."""
        name = f"{kind}-{identifier}"
        entries = [one["id"] for one in rbd.RBD().trash_list(pool) if one["name"] == name]
        whole = [entry for entry in entries if _whole(pool, kind, entry)]
        if whole:
            self._fetch(pool, name, whole[-1])
        elif identity(pool, name) is None:
            raise PermanentError("trash-missing", f"{name} is not whole in the trash of the pool", todo=UNTRASHED)
        if kind == "disk":
            _thaw(pool, name)

    def _fetch(self, pool: rados.Ioctx, name: str, entry: str) -> None:
        try:
            rbd.RBD().trash_restore(pool, entry, name)
        except (rbd.InvalidArgument, rbd.OSError) as error:
            if not self._finish(pool, name, entry):
                detail = f"the move of {name} into the trash has not ended ({error})"
                raise TransientError(
                    "storage-busy",
                    detail,
                    delay=5,
                    todo=BUSY,
                ) from error
            rbd.RBD().trash_restore(pool, entry, name)

    def remove(self, ceph: CephSession, entry: TrashEntry, timeout: float) -> bool:
        """Remove one entry, and see that it is gone; False if it can't go yet, or somebody else removes it. timeout:
        seconds for a fence."""
        name, pool = f"{entry.kind}-{entry.id}", ceph.pool
        try:
            try:
                rbd.RBD().trash_remove(pool, entry.key)
            except rbd.ImageHasSnapshots:
                if not _strip(pool, entry.key):
                    return False
                rbd.RBD().trash_remove(pool, entry.key)
        except rbd.ImageBusy:
            if self._lasts(entry.key):
                fence(ceph, name, (), timeout, entry.key)
                forget(ceph, entry.key)
            return _gone(pool, entry.key)
        except _NOT_YET:
            return _gone(pool, entry.key)
        except rbd.OSError as error:
            # Two remove it at once, or a move was not finished.
            if error.errno != errno.EUCLEAN:
                raise
            self._finish(pool, name, entry.key)
            return False
        self._forget(entry.key)
        return _gone(pool, entry.key)

    def _finish(self, pool: rados.Ioctx, name: str, entry: str) -> bool:
        """End an abandoned move, so that the entry can be touched next time. False: somebody may still be busy."""
        if not self._lasts(entry) or identity(pool, name) == entry:
            return False
        with suppress(rados.Error):  # the list of names doesn't have it (any more)
            pool.execute("rbd_directory", "rbd", "dir_remove_image", encoded(name) + encoded(entry))
        with suppress(rados.Error):  # it isn't in that state (any more)
            pool.execute("rbd_trash", "rbd", "trash_state_set", encoded(entry) + struct.pack("<BB", _NORMAL, _MOVING))
        self._forget(entry)
        return True

    def _lasts(self, entry: str) -> bool:
        now = time.monotonic()
        with self._lock:
            return now - self._seen.setdefault(entry, now) >= self._abandoned

    def _forget(self, entry: str) -> None:
        with self._lock:
            self._seen.pop(entry, None)


def _whole(pool: rados.Ioctx, kind: str, entry: str) -> bool:
    """Whether it was finished before it was removed: golden, or with metadata of its own."""
    if kind == "disk":
        return any(read_metadata(pool, entry, key) is not None for key in (DISK_KEY, IMAGE_KEY))
    return GOLDEN in read_snapshots(pool, entry)


def _gone(pool: rados.Ioctx, entry: str) -> bool:
    try:
        rbd.RBD().trash_get(pool, entry)
    except rbd.ImageNotFound:
        return True
    return False


def _own(handle: rbd.Image) -> list[str]:
    """Snapshots with names; those that clones hold in the trash of snapshots have none."""
    return [snapshot["name"] for snapshot in handle.list_snaps() if snapshot["namespace"] == 0]


def _strip(pool: rados.Ioctx, entry: str) -> bool:
    """Remove the snapshots of an entry; False if there were none, or clones hang on them."""
    with rbd.Image(pool, image_id=entry) as handle:
        left = _own(handle)
        if not left or next(iter(handle.list_children2()), None) is not None:
            return False
        for name in left:
            handle.remove_snap(name)
    return True


def _thaw(pool: rados.Ioctx, name: str) -> None:
    """A disk that comes back is without snapshots of what was never finished."""
    with rbd.Image(pool, name, read_only=True) as handle:
        left = _own(handle)
    if left:
        with rbd.Image(pool, name) as handle:
            for snapshot in left:
                handle.remove_snap(snapshot)
