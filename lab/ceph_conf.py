"""The texts that a private Ceph cluster and its clients read: configuration files and keyrings.

No file is written and no process started here.
"""

from __future__ import annotations

import base64
import os
import struct
import time
from pathlib import Path
from typing import Any

# Lab only: one copy of everything, on this machine, with the pauses of a real cluster's elections taken out.
# Without the two paxos values a snapshot takes up to a second.
_CLUSTER = """\
[global]
fsid = {fsid}
mon_host = {monitor}
public_addr = {address}
cluster_addr = {address}
auth_allow_insecure_global_id_reclaim = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
osd_crush_initial_weight = 1
mon_allow_pool_size_one = true
mon_allow_pool_delete = true
mon_max_pg_per_osd = 2000
mon_data_avail_crit = 1
mon_data_avail_warn = 2
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
crush_location = root=default host=lab
log_file =
log_to_stderr = true
mon_cluster_log_to_file = false
admin_socket =
crash_dir = {folder}
run_dir = {folder}
debug_mon = 0
debug_paxos = 0
debug_osd = 0
debug_bluestore = 0
debug_bluefs = 0
debug_bdev = 0
debug_rocksdb = 0
debug_ms = 0
debug_auth = 0

[mon]
mon_data = {folder}/mon.a
keyring = {folder}/mon.a/keyring

[osd]
osd_data = {folder}/osd.$id
keyring = {folder}/osd.$id/keyring
osd_objectstore = {store}
bluestore_block_create = true
bluestore_block_size = {size}
memstore_device_bytes = {size}

[client.admin]
keyring = {folder}/admin.keyring
"""

_CLIENT = """\
[global]
fsid = {fsid}
mon_host = {monitor}
keyring = {folder}/client.keyring
log_file =
admin_socket =
crash_dir = {folder}
"""

# A call that can't be served ends with an error instead of waiting for ever.
_TIMEOUTS = """\
client_mount_timeout = 10
rados_mon_op_timeout = 10
rados_osd_op_timeout = 15
"""

# A guest waits out a frozen OSD (a timeout would become its I/O error, and the write might still land), and
# what it was told is safe must not lie in tgtd's memory.
_TGT = """\
rbd_cache = false
"""


def texts(folder: Path, settings: dict[str, Any], store: str, size: int, user: str) -> dict[str, str]:
    """File name → text of the cluster's own configuration, its clients' and tgtd's."""
    values = {"fsid": settings["fsid"], "monitor": monitor(settings), "address": address(settings), "folder": folder}
    client = _CLIENT.format(**values)
    return {
        "ceph.conf": _CLUSTER.format(**values, store=store, size=size),
        "client.conf": client + _TIMEOUTS,
        "tgt.conf": client + _TGT,
    }


def monitor(settings: dict[str, Any]) -> str:
    """The monitor's addresses, as a monitor map and a client want them."""
    v2, v1 = settings["mon_ports"]
    where = address(settings)
    return f"[v2:{where}:{v2},v1:{where}:{v1}]"


def address(settings: dict[str, Any]) -> str:
    """Where all daemons listen."""
    return str(settings.get("address", "127.0.0.1"))


def keyring(entity: str, key: str, **caps: str) -> str:
    """One section of a keyring file."""
    lines = "".join(f'\tcaps {kind} = "{right}"\n' for kind, right in caps.items())
    return f"[{entity}]\n\tkey = {key}\n{lines}"


def new_key() -> str:
    """A fresh cephx secret: type 1 (AES), creation time in seconds and nanoseconds, length, 16 bytes."""
    secret = os.urandom(16)
    return base64.b64encode(struct.pack("<HIIH", 1, int(time.time()), 0, len(secret)) + secret).decode()
