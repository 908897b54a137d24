"""Images in pools that aren't ours: read and left as they were found, or made for somebody else under a mark.

The mark is a value of the image's metadata. An image is made under a name that holds the mark, marked, and only then
given its own name: so whatever has that name and no mark is somebody else's, also after a death at any moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import TypeVar

import rados
import rbd

from bmid.drivers.base import Foreign
from bmid.drivers.storage.ceph_connection import CephConnection, CephSession, prepare_trash
from bmid.drivers.storage.rbd_fence import fence
from bmid.drivers.storage.rbd_image import Access, describe, snapshots_of, sweep, unreadable
from bmid.drivers.storage.rbd_metadata import identity, read_metadata, remove_metadata
from bmid.errors import PermanentError

__all__ = ["ForeignPools"]

T = TypeVar("T")

_KEY = "bmi-export"
_SLICE = 16 << 30  # bytes that are taken off an image at once: 4096 objects at most
_PATIENCE = 2.0  # seconds after which no further slice is begun
_FORBIDDEN = (rbd.PermissionError, rados.PermissionError, rados.PermissionDeniedError)


class ForeignPools:
    """As the port says. Its calls raise what CephConnection translates, and the port's errors."""

    def __init__(self, ceph: CephConnection, access: Access) -> None:
        self._ceph = ceph
        self._access = access

    def source(self, pool: str, image: str, snapshot: str | None) -> Foreign:
        """A handle that only reads is no watcher, takes no lock and writes nothing."""
        return self._in(pool, partial(_source, access=self._access, pool=pool, image=image, snapshot=snapshot))

    def create(self, pool: str, image: str, size: int, mark: str) -> Foreign:
        """An image of somebody's is looked at, and no more."""
        self._in(pool, partial(_create, image=image, size=size, mark=mark))
        return Foreign(self._access.address(pool, image), size)

    def release(self, pool: str, image: str, mark: str) -> None:
        """One value of its metadata goes."""
        self._in(pool, partial(_release, image=image, mark=mark))

    def remove(self, pool: str, image: str, mark: str) -> bool:
        """Without a pool, or rights in it, nothing can have been made there."""
        try:
            return self._in(pool, partial(_remove, timeout=self._access.timeout, image=image, mark=mark))
        except PermanentError as error:
            if error.problem.slug not in ("pool-unknown", "pool-forbidden"):
                raise
            return True

    def _in(self, pool: str, act: Callable[[CephSession], T]) -> T:
        """Do it in that pool. What is refused is tried once more over a new connection, for one that is open doesn't
        hear of rights that were given since."""
        try:
            with self._ceph.session() as ceph, _opened(ceph, self._access.user, pool) as there:
                return act(there)
        except PermanentError as error:
            if error.problem.slug != "pool-forbidden":
                raise
        self._ceph.close()
        with self._ceph.session() as ceph, _opened(ceph, self._access.user, pool) as there:
            return act(there)


def _source(ceph: CephSession, access: Access, pool: str, image: str, snapshot: str | None) -> Foreign:
    shown = f"{pool}/{image}" + (f"@{snapshot}" if snapshot is not None else "")
    try:
        with rbd.Image(ceph.pool, image, snapshot=snapshot, read_only=True) as handle:
            size = handle.size()
            users = [] if snapshot is not None else list(handle.watchers_list())
    except rbd.ImageNotFound:
        if snapshot is not None and snapshot in snapshots_of(ceph, image):
            raise unreadable(shown) from None
        raise PermanentError("source-unknown", f"there is no {shown}", todo="Look for it with `rbd ls`.") from None
    if users:
        detail = f"{shown} is open at {', '.join(sorted(user['addr'] for user in users))}"
        raise PermanentError("source-in-use", detail, todo="Close it, or name a snapshot of it.")
    return Foreign(access.address(pool, image, snapshot), size)


def _create(ceph: CephSession, image: str, size: int, mark: str) -> None:
    taken = f"there is a {image} already in pool {ceph.pool.name}"
    if identity(ceph.pool, image) is not None:
        raise PermanentError("export-exists", taken, todo="Choose another name.")
    prepare_trash(ceph.pool)  # through which librbd removes: should the pool be full by then, it could not be made
    rbd.RBD().create(ceph.pool, _unnamed(mark), size, old_format=False)
    describe(ceph, _unnamed(mark), _KEY, {"mark": mark})
    try:
        rbd.RBD().rename(ceph.pool, _unnamed(mark), image)
    except rbd.ImageExists:
        raise PermanentError("export-exists", taken, todo="Choose another name.") from None


def _release(ceph: CephSession, image: str, mark: str) -> None:
    identifier = identity(ceph.pool, image)
    if identifier is None:
        raise PermanentError(
            "storage-missing",
            f"there is no {image} in pool {ceph.pool.name}",
            todo="Export it again; whoever keeps that pool removed it meanwhile.",
        )
    if _marked(ceph, image, mark):
        remove_metadata(ceph.pool, identifier, _KEY)


def _remove(ceph: CephSession, timeout: float, image: str, mark: str) -> bool:
    """What is ours doesn't go into the trash, which nobody would empty. Its writer may live, or have died just now."""
    for name in (image, _unnamed(mark)):
        if name == _unnamed(mark) or _marked(ceph, name, mark):
            fence(ceph, name, (), timeout)
            if not _emptied(ceph, name):
                return False
            sweep(ceph, name)
    return True


def _emptied(ceph: CephSession, name: str) -> bool:
    """Take bytes off an image until it has none, or time is up; whether it has none, or can't be opened. librbd's
    removal takes as long as it takes, and whoever is killed in it leaves the bytes in the trash, where nobody looks."""
    size, end = 0, monotonic() + _PATIENCE
    with suppress(rbd.ImageNotFound), rbd.Image(ceph.pool, name) as handle:
        size = int(handle.size())
        while size:
            size = max(0, size - _SLICE)
            handle.resize(size)
            if monotonic() > end:
                break
    return size == 0


def _unnamed(mark: str) -> str:
    return f"{_KEY}-{mark}"


def _marked(ceph: CephSession, image: str, mark: str) -> bool:
    identifier = identity(ceph.pool, image)
    return identifier is not None and read_metadata(ceph.pool, identifier, _KEY) == {"mark": mark}


@contextmanager
def _opened(ceph: CephSession, user: str, pool: str) -> Iterator[CephSession]:
    """The session with that pool in the place of ours."""
    try:
        opened = ceph.cluster.open_ioctx(pool)
    except rados.ObjectNotFound:
        todo = "See `ceph osd pool ls`, and the pools that the settings list."
        raise PermanentError("pool-unknown", f"there is no pool {pool}", todo=todo) from None
    try:
        opened.set_osdmap_full_try()
        yield replace(ceph, pool=opened)
    except _FORBIDDEN as error:
        rights = f"mon 'profile rbd' osd 'profile rbd pool={ceph.pool.name}, profile rbd pool={pool}'"
        todo = f"ceph auth caps client.{user} {rights} (with all other pools that it has rights in)"
        detail = f"Ceph refuses client.{user} in pool {pool}"
        raise PermanentError("pool-forbidden", detail, todo=todo) from error
    finally:
        opened.close()
