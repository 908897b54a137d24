"""The floor of a map and of an unmap: the bare librbd and tgt calls that the work can't do without, and nothing else.

map: clone, metadata (open, set), target, LUN, block size, who has it open (open read-only), account, bind, ACL.
unmap: offline, connections, target, account; metadata (open, set), trash.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import rados
import rbd

from bmid.drivers.target.tgt_socket import Mode, Op, TgtSocket

__all__ = ["Floor"]

METADATA = json.dumps({"project": "bench", "image": "x" * 32, "node": "n" * 12, "macs": ["52:54:00:00:00:00"]})


class Floor:
    """Maps and unmaps by hand, on the same Ceph, tgtd and image as bmid."""

    def __init__(self, conf: Path, tgt_conf: Path, image: str, socket: Path) -> None:
        options = {"rbd_default_clone_format": "2", "rados_osd_op_timeout": "30"}
        self._cluster = rados.Rados(conffile=str(conf), name="client.bmi", conf=options)
        self._cluster.connect()
        self._pool = self._cluster.open_ioctx("bmi")
        self._rbd = rbd.RBD()
        self._features = sum(
            (
                rbd.RBD_FEATURE_LAYERING,
                rbd.RBD_FEATURE_EXCLUSIVE_LOCK,
                rbd.RBD_FEATURE_OBJECT_MAP,
                rbd.RBD_FEATURE_FAST_DIFF,
                rbd.RBD_FEATURE_DEEP_FLATTEN,
            )
        )
        self._tgt_conf = tgt_conf
        self._image = f"image-{image}"
        self._socket = TgtSocket(socket, 30)
        self._number = 500_000
        self._lock = threading.Lock()

    def close(self) -> None:
        """Let go."""
        self._pool.close()
        self._cluster.shutdown()

    def map(self) -> int:
        """One map; the number of its target."""
        with self._lock:
            self._number += 1
            number = self._number
        name = f"floor-{number}"
        self._rbd.clone(self._pool, self._image, "golden", self._pool, name, features=self._features)
        with rbd.Image(self._pool, name) as handle:
            handle.metadata_set("bmi", METADATA)
        self._export(number, name)
        return number

    def _export(self, number: int, name: str) -> None:
        ask = self._socket.ask
        ask(Mode.TARGET, Op.NEW, number, f"targetname=iqn.2026-11.org.example:{name}")
        path = f"path=bmi/{name},bstype=rbd,bsopts=conf={self._tgt_conf};id=bmi"
        ask(Mode.DEVICE, Op.NEW, number, path, lun=1)
        ask(Mode.DEVICE, Op.UPDATE, number, "targetOps lbppbe=3,", lun=1)
        with rbd.Image(self._pool, name, read_only=True) as handle:
            list(handle.watchers_list())
        ask(Mode.ACCOUNT, Op.NEW, parameters=f"user={name},password=abcdefghijklmnop")
        ask(Mode.ACCOUNT, Op.BIND, number, f"user={name}")
        ask(Mode.TARGET, Op.BIND, number, "initiator-address=127.1.0.9")

    def _clone(self, name: str) -> None:
        self._rbd.clone(self._pool, self._image, "golden", self._pool, name, features=self._features)
        with rbd.Image(self._pool, name) as handle:
            handle.metadata_set("bmi", METADATA)

    def clones(self, count: int, threads: int = 16) -> float:
        """Seconds of `count` clones with their metadata, without targets; they are in the trash afterwards."""
        first = self._number + 1
        self._number += count
        names = [f"clone-{number}" for number in range(first, first + count)]
        with ThreadPoolExecutor(threads) as pool:
            seconds = _timed(lambda: list(pool.map(self._clone, names)))
            list(pool.map(lambda name: self._rbd.trash_move(self._pool, name, 0), names))
        return seconds

    def unmap(self, number: int) -> None:
        """One unmap."""
        name, ask = f"floor-{number}", self._socket.ask
        ask(Mode.TARGET, Op.UPDATE, number, "state=offline")
        ask(Mode.CONNECTION, Op.SHOW, number)
        ask(Mode.TARGET, Op.DELETE, number)
        ask(Mode.ACCOUNT, Op.DELETE, parameters=f"user={name}")
        with rbd.Image(self._pool, name) as handle:
            handle.metadata_set("bmi", METADATA)
        self._rbd.trash_move(self._pool, name, 0)

    def single(self, count: int) -> tuple[list[float], list[float]]:
        """Seconds of `count` maps and unmaps, one after the other."""
        numbers: list[int] = []
        maps = [_timed(lambda: numbers.append(self.map())) for _ in range(count)]
        unmaps = [_timed(lambda number=number: self.unmap(number)) for number in numbers]  # type: ignore[misc]
        return maps, unmaps

    def together(self, count: int) -> tuple[float, float]:
        """Seconds of `count` maps, and of `count` unmaps, all at once."""
        with ThreadPoolExecutor(count) as pool:
            numbers: list[int] = []
            first = _timed(lambda: numbers.extend(pool.map(lambda _: self.map(), range(count))))
            second = _timed(lambda: list(pool.map(self.unmap, numbers)))
        return first, second


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
