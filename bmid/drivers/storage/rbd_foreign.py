"""Images in pools that aren't ours: read and left as they were found, or made for somebody else under a mark.

The mark is a value of the image's metadata. An image is made under a name that holds the mark, marked, and only then
given its own name: so whatever has that name and no mark is somebody else's, also after a death at any moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import rados
import rbd

from bmid.drivers.base import Foreign
from bmid.drivers.storage.ceph_connection import CephSession
from bmid.drivers.storage.rbd_fence import fence
from bmid.drivers.storage.rbd_image import Access, describe
from bmid.drivers.storage.rbd_metadata import identity, read_metadata, remove_metadata
from bmid.errors import PermanentError

__all__ = ["create_foreign", "foreign_source", "release_foreign", "remove_foreign"]

_KEY = "bmi-export"
_FORBIDDEN = (rbd.PermissionError, rados.PermissionError, rados.PermissionDeniedError)


def foreign_source(ceph: CephSession, access: Access, pool: str, image: str, snapshot: str | None) -> Foreign:
    """As the port says; a handle that only reads is no watcher, takes no lock and writes nothing. Raises rbd.Error,
    rados.Error and the port's errors, as all here do."""
    shown = f"{pool}/{image}" + (f"@{snapshot}" if snapshot is not None else "")
    with _opened(ceph, access, pool) as there:
        try:
            with rbd.Image(there.pool, image, snapshot=snapshot, read_only=True) as handle:
                size = handle.size()
                users = [] if snapshot is not None else list(handle.watchers_list())
        except rbd.ImageNotFound:
            raise PermanentError("source-unknown", f"there is no {shown}", todo="Look for it with `rbd ls`.") from None
    if users:
        detail = f"{shown} is open at {', '.join(sorted(user['addr'] for user in users))}"
        raise PermanentError("source-in-use", detail, todo="Close it, or name a snapshot of it.")
    return Foreign(access.address(pool, image, snapshot), size)


def create_foreign(ceph: CephSession, access: Access, pool: str, image: str, size: int, mark: str) -> Foreign:
    """As the port says."""
    with _opened(ceph, access, pool) as there:
        if identity(there.pool, image) is not None and not _marked(there, image, mark):
            raise _taken(pool, image)
        for name in (image, _unnamed(mark)):
            _drop(there, name, mark, access.timeout)
        rbd.RBD().create(there.pool, _unnamed(mark), size, old_format=False)
        describe(there, _unnamed(mark), _KEY, {"mark": mark})
        try:
            rbd.RBD().rename(there.pool, _unnamed(mark), image)
        except rbd.ImageExists:
            _drop(there, _unnamed(mark), mark, access.timeout)
            raise _taken(pool, image) from None
    return Foreign(access.address(pool, image), size)


def release_foreign(ceph: CephSession, access: Access, pool: str, image: str, mark: str) -> None:
    """As the port says."""
    with _opened(ceph, access, pool) as there:
        identifier = identity(there.pool, image)
        if identifier is None:
            raise PermanentError("storage-missing", f"there is no {pool}/{image}")
        if _marked(there, image, mark):
            remove_metadata(there.pool, identifier, _KEY)


def remove_foreign(ceph: CephSession, access: Access, pool: str, image: str, mark: str) -> None:
    """As the port says. Without a pool, or rights in it, nothing can have been made there."""
    try:
        with _opened(ceph, access, pool) as there:
            for name in (image, _unnamed(mark)):
                _drop(there, name, mark, access.timeout)
    except PermanentError as error:
        if error.problem.slug not in ("pool-unknown", "pool-forbidden"):
            raise


def _unnamed(mark: str) -> str:
    return f"{_KEY}-{mark}"


def _marked(ceph: CephSession, image: str, mark: str) -> bool:
    identifier = identity(ceph.pool, image)
    return identifier is not None and read_metadata(ceph.pool, identifier, _KEY) == {"mark": mark}


def _drop(ceph: CephSession, name: str, mark: str, timeout: float) -> None:
    """Remove it if it is ours: not into the trash, which nobody would empty. Its writer may live, or have died now."""
    if name == _unnamed(mark) or _marked(ceph, name, mark):
        fence(ceph, name, (), timeout)
        with suppress(rbd.ImageNotFound):
            rbd.RBD().remove(ceph.pool, name)


def _taken(pool: str, image: str) -> PermanentError:
    return PermanentError("export-exists", f"there is a {pool}/{image} already", todo="Choose another name.")


@contextmanager
def _opened(ceph: CephSession, access: Access, pool: str) -> Iterator[CephSession]:
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
        todo = f"ceph auth caps client.{access.user} {rights} (with all other pools that it has rights in)"
        detail = f"Ceph refuses client.{access.user} in pool {pool}"
        raise PermanentError("pool-forbidden", detail, todo=todo) from error
    finally:
        opened.close()
