"""What each exception of librados and librbd means for the engine: one table, used wherever they are called.

Nothing is called or repeated here.
"""

from __future__ import annotations

from typing import Any

import rados
import rbd

from bmid.drivers.base.advice import IN_USE, MISSING
from bmid.errors import BmiError, PermanentError, TransientError

__all__ = ["CEPH_ERRORS", "CONNECTION_LOST", "translate"]

# The two trees are unrelated, and have nothing in common with OSError.
CEPH_ERRORS: tuple[Any, ...] = (rados.Error, rbd.Error)

# After these the handle never works again: librados is to be opened anew.
CONNECTION_LOST: tuple[Any, ...] = (
    rados.ConnectionShutdown,
    rbd.ConnectionShutdown,
    rados.RadosStateError,
    rados.IoctxStateError,
)

_FREE_SPACE = "Free space in the pool, or raise its quota; remove disks and images that nobody needs."
_REACH = "See whether monitors and OSDs are up (`ceph status`), and whether this head reaches them."
_BUSY = "It is tried again. If it stays so, `rbd status` and `rbd lock ls` show who has it."
_CAPS = "Give the user the capabilities mon 'profile rbd' and osd 'profile rbd pool=POOL'."

# First match wins, so special classes stand before their parents.
_TABLE: tuple[tuple[tuple[Any, ...], type[BmiError], str, str, str], ...] = (
    (
        CONNECTION_LOST,
        TransientError,
        "storage-fenced",
        "this head's connection to Ceph was shut down or blocklisted; a new one will be opened",
        "It is tried again. If nobody meant to cut this head off, see `ceph osd blocklist ls`.",
    ),
    (
        (rados.NoSpace, rbd.NoSpace, rbd.DiskQuotaExceeded),
        TransientError,
        "pool-full",
        "the Ceph pool is full",
        _FREE_SPACE,
    ),
    (
        (rbd.Timeout, rados.TimedOut, rados.InterruptedOrTimeoutError),
        TransientError,
        "storage-timeout",
        "Ceph did not answer in time",
        _REACH,
    ),
    ((rbd.ImageBusy,), TransientError, "storage-busy", "another client still has the image open", _BUSY),
    (
        (rbd.ReadOnlyImage,),
        TransientError,
        "storage-busy",
        "another client holds the lock of the image and does not hand it over",
        _BUSY,
    ),
    (
        (rbd.ImageHasSnapshots,),
        PermanentError,
        "image-in-use",
        "the image still has snapshots that clones hang on",
        IN_USE,
    ),
    (
        (rbd.PermissionError, rados.PermissionError, rados.PermissionDeniedError),
        TransientError,
        "storage-denied",
        "Ceph refuses the user that the settings name",
        _CAPS,
    ),
    (
        (rbd.ImageNotFound,),
        PermanentError,
        "storage-missing",
        "an image that should be in the pool is not there",
        MISSING,
    ),
    (
        (rados.ObjectNotFound,),
        TransientError,
        "storage-down",
        "the Ceph configuration, its keyring or the pool was not found",
        "Look at the settings storage.conf, storage.user and storage.pool.",
    ),
)


def translate(error: Exception) -> BmiError:
    """The error of ours that the engine knows how to handle. Its text names the original class and message."""
    errno = getattr(error, "errno", None)
    if errno == 122:  # EDQUOT: librados has no class of its own for a pool's quota
        return TransientError("pool-full", f"the Ceph pool has reached its quota ({error})", todo=_FREE_SPACE)
    for classes, kind, slug, detail, todo in _TABLE:
        if isinstance(error, classes):
            return kind(slug, f"{detail} ({type(error).__name__}: {error})", todo=todo)
    return TransientError("storage-error", f"Ceph says {type(error).__name__}: {error}", todo=_REACH)
