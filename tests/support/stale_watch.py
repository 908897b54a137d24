"""A watch that an OSD never forgets: its client was killed while it registered it.

The connection is gone before what it has sent is committed, and no time-out begins for who isn't connected.
"""

from __future__ import annotations

import subprocess
import sys
import time

import rados
import rbd

from bmid.drivers.storage.ceph_connection import plain
from bmid.drivers.storage.rbd import RbdStorage
from bmid.drivers.storage.rbd_metadata import identity
from lab.ceph import Ceph

__all__ = ["leave_behind"]

TRIES = 40
_WATCHING = """
import sys, threading, rados
conf, user, pool, header = sys.argv[1:]
cluster = rados.Rados(conffile=conf, rados_id=user)
cluster.connect()
ioctx = cluster.open_ioctx(pool)
ioctx.stat(header)
print(cluster.get_addrs(), flush=True)
def watching():
    while True:
        ioctx.watch(header, print).close()
for _ in range(8):
    threading.Thread(target=watching).start()
"""


def leave_behind(ceph: Ceph, storage: RbdStorage, pool: rados.Ioctx, name: str) -> str:
    """Somebody dead watches the image from now on; his address, which is cut off: whom Ceph would forget after 30 s, it
    forgets at once then."""
    header = f"rbd_header.{identity(pool, name)}"
    words = [sys.executable, "-c", _WATCHING, str(ceph.conf), ceph.user, ceph.pool, header]
    for number in range(TRIES):
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            address = plain(child.stdout.readline())
            time.sleep(0.1 + 0.007 * number)
            child.kill()
        storage.cut_off([address])
        time.sleep(0.5)
        with rbd.Image(pool, name, read_only=True) as handle:
            if any(one["addr"] == address for one in handle.watchers_list()):
                return address
    raise AssertionError(f"{TRIES} clients were killed, and Ceph has forgotten all of them")
