"""Emptying the trash: what can't leave it yet must not hold up the rest of it. Nothing is put there here.

An entry is made in the state MOVING, then the image's name goes (its id object, then its place in the list of names),
then the entry becomes NORMAL. Whoever is killed in between leaves an entry that librbd refuses to remove for ever; the
OSD's class `rbd` has the methods to finish the move.
"""

from __future__ import annotations

import errno
import struct
import threading
import time
from contextlib import suppress
from typing import Any

import rados
import rbd

from bmid.drivers.storage.rbd_metadata import encoded, identity

__all__ = ["Trash"]

_NOT_YET: tuple[Any, ...] = (rbd.ImageBusy, rbd.ImageHasSnapshots, rbd.ImageNotFound, rbd.PermissionError)
_NORMAL, _MOVING = 0, 1  # cls::rbd::TrashImageState
_ABANDONED = 30.0  # seconds after which nobody is still busy with a move, which takes milliseconds


class Trash:
    """The trash of one pool. Remembers since when it has seen moves that somebody has not finished; after `abandoned`
    seconds it finishes them."""

    def __init__(self, abandoned: float = _ABANDONED) -> None:
        self._abandoned = abandoned
        self._half_moved: dict[str, float] = {}
        self._lock = threading.Lock()

    def remove(self, pool: rados.Ioctx, name: str, entry: str) -> bool:
        """Remove one entry; False if it can't go yet, or somebody else removes it. Raises rbd.Error for all else."""
        try:
            try:
                rbd.RBD().trash_remove(pool, entry)
            except rbd.ImageHasSnapshots:
                if not _strip(pool, entry):
                    return False
                rbd.RBD().trash_remove(pool, entry)
        except _NOT_YET:
            return False
        except rbd.OSError as error:
            # Two remove it at once, or a move was not finished.
            if error.errno != errno.EUCLEAN:
                raise
            self._finish(pool, name, entry)
            return False
        self._forget(entry)
        return True

    def _finish(self, pool: rados.Ioctx, name: str, entry: str) -> None:
        """End an abandoned move, so that the entry can be removed next time."""
        now = time.monotonic()
        with self._lock:
            since = self._half_moved.setdefault(entry, now)
        if now - since < self._abandoned or identity(pool, name) == entry:
            return
        with suppress(rados.Error):  # the list of names doesn't have it (any more)
            pool.execute("rbd_directory", "rbd", "dir_remove_image", encoded(name) + encoded(entry))
        with suppress(rados.Error):  # it isn't in that state (any more)
            pool.execute("rbd_trash", "rbd", "trash_state_set", encoded(entry) + struct.pack("<BB", _NORMAL, _MOVING))
        self._forget(entry)

    def _forget(self, entry: str) -> None:
        with self._lock:
            self._half_moved.pop(entry, None)


def _strip(pool: rados.Ioctx, entry: str) -> bool:
    """Remove the snapshots of an entry; False if there were none, and it is clones that hold it."""
    with rbd.Image(pool, image_id=entry) as handle:
        left = [snapshot["name"] for snapshot in handle.list_snaps() if snapshot["namespace"] == 0]
        for name in left:
            handle.remove_snap(name)
    return bool(left)
