"""The fence of an RBD image: whoever has it open, or was recorded as having it open, can write no more.

A client that is frozen, not dead, loses its watch after 30 s and would still write when it wakes: so the recorded
addresses count as much as the watchers. Only fencing lives here; when to fence is the engine's matter.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from time import monotonic

import rbd

from bmid.drivers.storage.ceph_connection import CephSession
from bmid.errors import TransientError

__all__ = ["cut_off", "fence", "watchers"]

# Longer than the longest freeze that a machine comes back from with its memory.
_BLOCKLIST_SECONDS = 30 * 86400.0
_AT_ONCE = 32  # commands to the monitors at a time
_PAUSE = 0.02  # seconds between two looks at the watchers


def watchers(ceph: CephSession, name: str) -> list[str]:
    """The addresses of the clients, other than this process, that have the image open for writing, one a watch.

    Raises rbd.Error; ImageNotFound where it isn't there.
    """
    with rbd.Image(ceph.pool, name, read_only=True) as handle:
        return [w["addr"] for w in handle.watchers_list() if w["id"] != ceph.instance]


def fence(ceph: CephSession, name: str, recorded: Collection[str], timeout: float) -> None:
    """Blocklist the recorded addresses and the present watchers, and verify it. One open where there is nobody, or
    nobody any more: a takeover cuts off all owners at once before.

    Raises rbd.Error, rados.Error, and TransientError `fence-unverified`: then nothing may be exported.
    """
    cut = set(recorded) <= _listed(ceph) if recorded else True
    if recorded and cut:
        ceph.cluster.wait_for_latest_osdmap()  # what is asked of an OSD from here on makes it take that map first
    present = _present(ceph, name)
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
    _await_silence(ceph, name, timeout)


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


def _present(ceph: CephSession, name: str) -> list[str]:
    try:
        return watchers(ceph, name)
    except rbd.ImageNotFound:
        return []


def _await_silence(ceph: CephSession, name: str, timeout: float) -> None:
    deadline = monotonic() + timeout
    while left := _present(ceph, name):
        if monotonic() > deadline:
            raise TransientError(
                "fence-unverified",
                f"{name} is still open at {', '.join(sorted(left))}",
                todo="Nothing is exported until it is. Look at Ceph's monitors: `ceph osd blocklist ls`.",
            )
        Event().wait(_PAUSE)
