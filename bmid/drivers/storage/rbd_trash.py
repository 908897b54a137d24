"""What can't leave the trash yet, and must not hold up the rest of it. Nothing is put there here."""

from __future__ import annotations

import errno
from typing import Any

import rados
import rbd

__all__ = ["trash_remove"]

_NOT_YET: tuple[Any, ...] = (rbd.ImageBusy, rbd.ImageHasSnapshots, rbd.ImageNotFound, rbd.PermissionError)


def trash_remove(pool: rados.Ioctx, entry: str) -> bool:
    """Remove one entry; False if it can't go yet, or somebody else removes it. Raises rbd.Error for all else."""
    try:
        rbd.RBD().trash_remove(pool, entry)
    except _NOT_YET:
        return False
    except rbd.OSError as error:
        # Two remove it at once, or one was killed while doing so.
        if error.errno != errno.EUCLEAN:
            raise
        return False
    return True
