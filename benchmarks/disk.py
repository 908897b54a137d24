"""`script/bench disk`: snapshot, park and resume by bmid, against the bare calls that they can't do without.

Every disk that is snapshotted has some dirty objects, as after a boot: what a snapshot costs is what the disk changed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rbd

from benchmarks.bench import PROJECT, Bench, Bus, keep, median
from benchmarks.floor import METADATA, Floor
from bmi_publish import Client
from bmid.drivers.target.tgt_socket import Mode, Op
from bmid.handlers.create_disk import CreateDisk
from bmid.handlers.map_node import MapNode
from bmid.handlers.remove_disk import RemoveDisk
from bmid.handlers.show_disk import ShowDisk
from bmid.handlers.snapshot_disk import SnapshotDisk
from bmid.handlers.unmap_node import UnmapNode
from bmid.messages.base import Query

__all__ = ["main"]

DIRTY = 7  # objects of 4 MiB that a boot of Debian 12 leaves behind
OUTCOMES = (
    "bmi.node.mapped.v1",
    "bmi.node.unmapped.v1",
    "bmi.image.created.v1",
    "bmi.disk.created.v1",
    "bmi.disk.removed.v1",
)


def main() -> None:
    """Measure, print, write .lab/bench-disk.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".lab/bench-disk"))
    parser.add_argument("--count", type=int, default=20, help="of each")
    parser.add_argument("--out", type=Path, default=Path(".lab/bench-disk.json"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    with Bench(options.folder, 4).running() as bench:
        figures = measure(bench, options.count)
    keep(figures, options.out)


def measure(bench: Bench, count: int) -> dict[str, Any]:
    """Medians in milliseconds, and their ratios."""
    floor = DiskFloor(bench.ceph.conf, bench.ceph.tgt_conf, bench.image_id(), bench.tgtds[0].socket)
    bus = Bus(bench.rabbitmq.url("alice"), OUTCOMES)
    before = os.getloadavg()[0]
    times: dict[str, dict[str, list[float]]] = {
        what: {"ours": [], "floor": []} for what in ("snapshot", "park", "resume")
    }
    try:
        with Client(url=bench.rabbitmq.url("alice"), source="/bench") as client:
            ours = Ours(bus, client, floor)
            for turn in range(count):
                for who in (floor, ours) if turn % 2 else (ours, floor):
                    for what, seconds in who.round(turn).items():
                        times[what]["floor" if who is floor else "ours"].append(seconds)
    finally:
        bus.close()
        floor.close()
    figures: dict[str, Any] = {"count": count}
    for what, found in times.items():
        p50 = {who: median(values) for who, values in found.items()}
        figures[what] = {
            "ratio": round(p50["ours"] / p50["floor"], 3),
            "p50_ms": round(p50["ours"] * 1000, 1),
            "floor_p50_ms": round(p50["floor"] * 1000, 1),
        }
    figures["load"] = [round(before, 1), round(os.getloadavg()[0], 1)]
    return figures


class DiskFloor(Floor):
    """The bare calls. A disk of each round is snapshotted, parked and resumed."""

    def round(self, turn: int) -> dict[str, float]:
        """Seconds of each."""
        number = self.map()
        name = f"floor-{number}"
        self.dirty(name)
        times = {
            "snapshot": _seconds(lambda: self._snapshot(name)),
            "park": _seconds(lambda: self._park(number, name)),
            "resume": _seconds(lambda: self._resume(number, name)),
        }
        self.unmap(number)
        self._drop(f"{name}-snapshot")
        return times

    def dirty(self, name: str) -> None:
        """One small write to each of some objects."""
        with rbd.Image(self._pool, name) as handle:
            for number in range(DIRTY):
                handle.write(os.urandom(4096), number * (64 << 20))

    def _snapshot(self, name: str) -> None:
        with rbd.Image(self._pool, name) as handle:
            handle.create_snap("now")
        with rbd.Image(self._pool, name, snapshot="now", read_only=True) as handle:
            handle.deep_copy(self._pool, f"{name}-snapshot", features=self._features)
        with rbd.Image(self._pool, f"{name}-snapshot") as handle:
            handle.remove_snap("now")
            handle.create_snap("golden")
            handle.metadata_set("bmi-image", METADATA)
            handle.read(0, 4096)
        with rbd.Image(self._pool, name) as handle:
            handle.remove_snap("now")

    def _park(self, number: int, name: str) -> None:
        ask = self._socket.ask
        ask(Mode.TARGET, Op.UPDATE, number, "state=offline")
        ask(Mode.CONNECTION, Op.SHOW, number)
        ask(Mode.TARGET, Op.DELETE, number)
        ask(Mode.ACCOUNT, Op.DELETE, parameters=f"user={name}")
        self._describe(name)

    def _resume(self, number: int, name: str) -> None:
        self._describe(name)
        self._export(number, name)

    def _describe(self, name: str) -> None:
        with rbd.Image(self._pool, name) as handle:
            handle.metadata_set("bmi", METADATA)

    def _drop(self, name: str) -> None:
        with rbd.Image(self._pool, name) as handle:
            handle.remove_snap("golden")
        self._rbd.trash_move(self._pool, name, 0)


class Ours:
    """The same by messages."""

    def __init__(self, bus: Bus, client: Client, floor: DiskFloor) -> None:
        self._bus = bus
        self._client = client
        self._floor = floor

    def round(self, turn: int) -> dict[str, float]:
        """Seconds of each."""
        run, name = self._bus.run, f"d{turn}"
        run([CreateDisk(project=PROJECT, disk=name, image="golden")])
        self._floor.dirty(f"disk-{self._identity(name)}")
        node = f"b{turn % 4:04}"
        snapshot = run([SnapshotDisk(project=PROJECT, disk=name, image=f"s{turn}")])
        run([MapNode(project=PROJECT, node=node, disk=name, power="none")])
        park = run([UnmapNode(project=PROJECT, node=node, disk="park")])
        resume = run([MapNode(project=PROJECT, node=node, disk=name, power="none")])
        run([UnmapNode(project=PROJECT, node=node, disk="park")])
        run([RemoveDisk(project=PROJECT, disk=name)])
        return {"snapshot": snapshot, "park": park, "resume": resume}

    def _identity(self, name: str) -> str:
        query: Query = ShowDisk(project=PROJECT, disk=name)
        return str(self._client.query(query)["disk"]["id"])


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
