"""`script/bench provision --heads 2`: the rate of maps at 48 at once with several heads against that with one of them,
beside what Ceph alone allows, all in the same run and in turns."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.bench import PROJECT, Bench, Bus, median
from benchmarks.floor import Floor
from bmid.handlers.map_node import MapNode
from bmid.handlers.unmap_node import UnmapNode
from lab.bmid import Bmid, Parts, Shard
from lab.postgresql import PostgreSQL

__all__ = ["Heads", "measure"]

BATCH = 48


class Heads(Bench):
    """Several heads as processes of this machine, each with a tgtd, on one Ceph, one PostgreSQL and one broker."""

    def __init__(self, folder: Path, nodes: int, heads: int) -> None:
        super().__init__(folder, nodes, shards=heads)
        self.postgresql = PostgreSQL(self.folder / "postgresql")
        self.bmids = [Bmid(self.folder / name) for name in self._names]

    @property
    def _names(self) -> list[str]:
        return [f"head-{letter}" for letter in "abcdefgh"[: len(self.tgtds)]]

    def _start(self) -> None:
        services: tuple[Any, ...] = (self.rabbitmq, self.ceph, self.postgresql, *self.tgtds)
        for service in services:
            service.start()
        self.bmids = [Bmid(self.folder / name, self._parts_of(number), name) for number, name in enumerate(self._names)]
        for bmid in self.bmids:
            bmid.start()
        self.bmid = self.bmids[0]

    def _stop(self) -> None:
        for bmid in self.bmids:
            bmid.stop()
        super()._stop()
        self.postgresql.stop()

    def _parts_of(self, number: int) -> Parts:
        folder, tgtd = self.folder / self._names[number], self.tgtds[number]
        return replace(
            self._parts(),
            shards=(Shard("s0", tgtd.socket, tgtd.portal),),
            tftp=folder / "tftp",
            hosts=folder / "hosts",
            database=self.postgresql.url,
            site_key=self.folder / "site.key",
            imports=self.folder / "imports",
        )

    def targets(self) -> list[int]:
        """How many targets each head has."""
        rows = json.loads(self.bmid.run("heads", "-o", "json"))
        return [sum(shard["disks"] for shard in row["shards"].values()) for row in rows]


def measure(folder: Path, heads: int, rounds: int) -> dict[str, Any]:
    """Rates per second, at 48 at once; the median of the rounds, and each."""
    with Heads(folder, BATCH, heads).running() as bench:
        floor = Floor(bench.ceph.conf, bench.ceph.tgt_conf, bench.image_id(), bench.tgtds[0].socket)
        bus = Bus(bench.rabbitmq.url("alice"))
        begun = os.getloadavg()[0]
        rates: dict[str, list[float]] = {"ceph": [], "floor": []}
        try:
            _round(bench, bus, {})
            for _ in range(rounds):
                rates["ceph"].append(BATCH / floor.clones(BATCH))
                rates["floor"].append(BATCH / floor.together(BATCH)[0])
                spread = _round(bench, bus, rates, "all")
                for bmid in bench.bmids[1:]:
                    bmid.stop()
                _round(bench, bus, rates, "one")
                for bmid in bench.bmids[1:]:
                    bmid.start()
        finally:
            bus.close()
            floor.close()
    return {
        "heads": heads,
        "at_once": BATCH,
        "rounds": rounds,
        "disks_of_each_head": spread,
        **{f"{what}_rate": round(median(values), 1) for what, values in rates.items()},
        "map_ratio": round(median(rates["map_all"]) / median(rates["map_one"]), 3),
        "unmap_ratio": round(median(rates["unmap_all"]) / median(rates["unmap_one"]), 3),
        "map_all_of_ceph": round(median(rates["map_all"]) / median(rates["ceph"]), 3),
        "map_all_of_floor": round(median(rates["map_all"]) / median(rates["floor"]), 3),
        "each": {what: [round(value, 1) for value in values] for what, values in rates.items()},
        "load": [round(begun, 1), round(os.getloadavg()[0], 1)],
    }


def _round(bench: Heads, bus: Bus, rates: dict[str, list[float]], who: str = "warm") -> list[int]:
    """48 maps and 48 unmaps; how many disks each head had in between."""
    maps = [MapNode(project=PROJECT, node=node, image="golden", power="none") for node in bench.nodes]
    rates.setdefault(f"map_{who}", []).append(BATCH / bus.run(maps))
    spread = bench.targets()
    unmaps = [UnmapNode(project=PROJECT, node=node) for node in bench.nodes]
    rates.setdefault(f"unmap_{who}", []).append(BATCH / bus.run(unmaps))
    return spread
