"""What a LUN costs tgtd in descriptors, threads and memory, and the law that it follows.

Each RBD LUN is a RADOS client of its own: it holds connections to the monitor and to every OSD that it has met, and
the threads of a client. So the cost is a fixed part and a part for each OSD.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import rados
import rbd

from benchmarks.load import Usage, export, touch, usage
from lab.ceph import Ceph
from lab.process import free_port
from lab.tgtd import Tgtd

__all__ = ["KINDS", "NODE_FEATURES", "costs", "law", "make_images"]

KINDS = ("descriptors", "threads", "rss_kib")
OBJECT = 4 << 20
DISK = 96 * OBJECT  # with 12 OSDs, one without any of 96 objects is rarer than 1 in 250
POOL = "wide"
NODE_FEATURES = (
    rbd.RBD_FEATURE_LAYERING
    | rbd.RBD_FEATURE_EXCLUSIVE_LOCK
    | rbd.RBD_FEATURE_OBJECT_MAP
    | rbd.RBD_FEATURE_FAST_DIFF
    | rbd.RBD_FEATURE_DEEP_FLATTEN
)
GROUPS = 256  # with the few of the lab's own pool, an OSD may well have none


def make_images(ceph: Ceph, pool: str, names: Sequence[str], size: int, *, fill: bool = False) -> None:
    """Empty images with the features that a node's disk has; with `fill`, every block written."""
    cluster = rados.Rados(conffile=str(ceph.conf), name="client.bmi", conf={"rados_osd_op_timeout": "60"})
    cluster.connect()

    def make(name: str) -> None:
        rbd.RBD().create(ioctx, name, size, features=NODE_FEATURES, old_format=False)
        if fill:
            with rbd.Image(ioctx, name) as image:
                for offset in range(0, size, OBJECT):
                    image.write(bytes([1 + offset % 251]) * OBJECT, offset)

    # Shut down before anything else is started: a process with RADOS threads must not fork.
    try:
        with cluster.open_ioctx(pool) as ioctx, ThreadPoolExecutor(4) as workers:
            list(workers.map(make, names))
    finally:
        cluster.shutdown()


def costs(folder: Path, osds: int, steps: Sequence[int], threads: int) -> dict[str, Any]:
    """Descriptors, threads and memory of a tgtd at each number of LUNs in `steps`, and of one LUN by least squares."""
    ceph = Ceph(folder / f"ceph{osds}", osds=osds, store="memstore", size=2 << 30)
    tgtd = Tgtd(folder / f"tgtd-lun{osds}", portal_port=free_port(), threads=threads)
    try:
        ceph.start()
        with ceph.admin() as administrator:
            administrator.make_pool(POOL, GROUPS)
            administrator.allow_all_pools(ceph.user)
        ceph.wait_usable(POOL)
        tgtd.start()
        names = [f"l{number}" for number in range(1, steps[-1] + 1)]
        make_images(ceph, POOL, names, DISK)
        seen = _seen(ceph, tgtd, names, steps)
    finally:
        tgtd.stop()
        ceph.stop()
    points = [{"luns": luns, **asdict(at)} for luns, at in seen.items()]
    return {"osds": osds, "points": points, "per_lun": {kind: round(slope(points, "luns", kind), 2) for kind in KINDS}}


def _seen(ceph: Ceph, tgtd: Tgtd, names: Sequence[str], steps: Sequence[int]) -> dict[int, Usage]:
    seen: dict[int, Usage] = {}
    pid = tgtd.process.pid or 0
    for luns in range(steps[-1] + 1):
        if luns:
            touch(export(tgtd, luns, f"{POOL}/{names[luns - 1]}", ceph.tgt_conf), DISK)
        if luns in steps:
            seen[luns] = usage(pid)
    return seen


def law(measured: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """For each kind: `fixed` + `per_osd` × OSDs a LUN, by least squares over the clusters, and the worst miss."""
    found = {}
    for kind in KINDS:
        points = [{"osds": one["osds"], kind: one["per_lun"][kind]} for one in measured]
        rise = slope(points, "osds", kind)
        fixed = sum(point[kind] - rise * point["osds"] for point in points) / len(points)
        miss = max(abs(fixed + rise * point["osds"] - point[kind]) for point in points)
        found[kind] = {"fixed": round(fixed, 2), "per_osd": round(rise, 2), "worst_miss": round(miss, 2)}
    return found


def slope(points: Sequence[dict[str, Any]], x: str, y: str) -> float:
    """How much y rises for one x, by least squares."""
    mean_x = sum(point[x] for point in points) / len(points)
    mean_y = sum(point[y] for point in points) / len(points)
    above = sum((point[x] - mean_x) * (point[y] - mean_y) for point in points)
    below = sum((point[x] - mean_x) ** 2 for point in points)
    return float(above / below) if below else 0.0
