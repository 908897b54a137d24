"""The fence of an RBD image: whoever has it open, or was recorded as having it open, can write no more.

A client that is frozen, not dead, loses its watch after 30 s and would still write when it wakes: so the recorded
addresses count as much as the watchers. The other way round, an OSD (Ceph 16.2) keeps the watch of a client for ever
that was killed while it registered it: who is in the blocklist counts no more. Only fencing lives here; when to fence
is the engine's matter.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import monotonic

import rados
import rbd
import structlog

from bmid.drivers.storage.ceph_connection import CephSession
from bmid.errors import TransientError

__all__ = ["cut_off", "fence", "forget", "owners"]

log = structlog.get_logger(__name__)
# Longer than the longest freeze that a machine comes back from with its memory.
_BLOCKLIST_SECONDS = 30 * 86400.0
_AT_ONCE = 32  # commands to the monitors at a time
_PAUSE = 0.02  # seconds between two looks at the watchers
_FORGOTTEN = 2.0  # seconds after which an OSD has dropped the watches of who is cut off; it takes milliseconds
_KEYS = 1000  # of a header, at most: an image that is removed has a few dozen


def owners(ceph: CephSession, name: str) -> list[str]:
    """The addresses of the clients, other than this process, that have the image open for writing, one a watch; among
    several, none that is cut off.

    Raises rbd.Error; ImageNotFound where it isn't there.
    """
    found = _watchers(ceph, name=name)
    return found if len(found) < 2 else [address for address in found if address not in _listed(ceph)]


def fence(ceph: CephSession, name: str, recorded: Collection[str], timeout: float, entry: str | None = None) -> None:
    """Blocklist the recorded addresses and the present watchers, and verify it. One open where there is nobody, or
    nobody any more: a takeover cuts off all owners at once before. `entry`: the id of one that has no name any more.

    Raises rbd.Error, rados.Error, and TransientError `fence-unverified`: then nothing may be exported.
    """
    cut = set(recorded) <= _listed(ceph) if recorded else True
    if recorded and cut:
        ceph.cluster.wait_for_latest_osdmap()  # what is asked of an OSD from here on makes it take that map first
    which = {"name": name} if entry is None else {"image_id": entry}
    present = _present(ceph, which)
    if cut and not present:
        return
    addresses = {*recorded, *present}
    # One that is there already needs no map of its own: adding it again doesn't change when it expires.
    for address in sorted(addresses - _listed(ceph)):
        _add(ceph, address)
    # With the new map, whatever we ask of an OSD makes it take that map first.
    ceph.cluster.wait_for_latest_osdmap()
    if missing := addresses - _listed(ceph):
        raise TransientError(
            "fence-unverified",
            f"not in Ceph's blocklist: {', '.join(sorted(missing))}",
            todo="Nothing is exported until it is. Look at Ceph's monitors: `ceph osd blocklist ls`.",
        )
    _await_silence(ceph, name, which, addresses, timeout)


def cut_off(ceph: CephSession, addresses: Collection[str]) -> None:
    """Blocklist many addresses: side by side, since the monitors take what comes together in one round.

    Raises rados.Error.
    """
    missing = sorted(set(addresses) - _listed(ceph))
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="fence") as pool:
        list(pool.map(lambda address: _add(ceph, address), missing))
    ceph.cluster.wait_for_latest_osdmap()


def _add(ceph: CephSession, address: str) -> None:
    ceph.command(prefix="osd blocklist", blocklistop="add", addr=address, expire=_BLOCKLIST_SECONDS)


def _listed(ceph: CephSession) -> set[str]:
    return set(ceph.command(prefix="osd dump")["blocklist"])


def forget(ceph: CephSession, entry: str) -> bool:
    """Make the header of an image that is to go anew, without its watches: librbd removes nothing that is watched.

    False where somebody watches it who isn't cut off. Raises rbd.Error and rados.Error.
    """
    if set(_watchers(ceph, image_id=entry)) - _listed(ceph):
        return False
    header = f"rbd_header.{entry}"
    with rados.ReadOpCtx() as operation:
        values, _ = ceph.pool.get_omap_vals(operation, "", "", _KEYS)
        ceph.pool.operate_read_op(operation, header)
        kept = dict(values)
    if not kept or len(kept) == _KEYS:
        return False
    with rados.WriteOpCtx() as operation:  # in one step
        operation.remove()
        operation.new(rados.LIBRADOS_CREATE_IDEMPOTENT)
        ceph.pool.set_omap(operation, tuple(kept), tuple(kept.values()))
        ceph.pool.operate_write_op(operation, header)
    return True


def _watchers(ceph: CephSession, **which: str) -> list[str]:
    with rbd.Image(ceph.pool, read_only=True, **which) as handle:
        return [w["addr"] for w in handle.watchers_list() if w["id"] != ceph.instance]


def _present(ceph: CephSession, which: dict[str, str]) -> list[str]:
    try:
        return _watchers(ceph, **which)
    except rbd.ImageNotFound:
        return []


def _await_silence(ceph: CephSession, name: str, which: dict[str, str], cut: Collection[str], timeout: float) -> None:
    """Until nobody watches it, or nobody but those whose watch the OSD doesn't forget."""
    forgotten, deadline = monotonic() + _FORGOTTEN, monotonic() + timeout
    while left := set(_present(ceph, which)):
        if left <= set(cut) and monotonic() > forgotten:
            log.warning("watch.stays", image=name, clients=sorted(left))
            return
        if monotonic() > deadline:
            raise TransientError(
                "fence-unverified",
                f"{name} is still open at {', '.join(sorted(left))}",
                todo="Nothing is exported until it is. Look at Ceph's monitors: `ceph osd blocklist ls`.",
            )
        Event().wait(_PAUSE)
