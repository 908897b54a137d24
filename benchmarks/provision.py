"""`script/bench provision`: map and unmap by bmid, against the floor and against the classic sequence."""

from __future__ import annotations

import argparse
import signal
import sqlite3
import sys
from pathlib import Path
from typing import Any

from benchmarks import heads
from benchmarks.bench import PROJECT, Bench, Bus, keep, median
from benchmarks.classic import Classic
from benchmarks.floor import Floor
from bmid.handlers.map_node import MapNode
from bmid.handlers.unmap_node import UnmapNode
from bmid.messages.base import Command

__all__ = ["main"]

BATCH = 24


def main() -> None:
    """Measure, print, write .lab/bench-provision.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".lab/bench"))
    parser.add_argument("--single", type=int, default=40, help="maps one after the other")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of 24 at once")
    parser.add_argument("--many", type=int, default=300, help="nodes for the memory figure; 0 leaves it out")
    parser.add_argument("--heads", type=int, default=1, help="several: only their rate at 48 at once, against one's")
    parser.add_argument("--out", type=Path, help="default: .lab/bench-provision.json, or bench-heads.json for several")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    if options.heads > 1:
        keep(heads.measure(options.folder, options.heads, options.rounds), options.out or Path(".lab/bench-heads.json"))
        return
    with Bench(options.folder, max(options.many, 200 + options.single)).running() as bench:
        figures = measure(bench, options)
    keep({"rbd": figures}, options.out or Path(".lab/bench-provision.json"))


def measure(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """All figures; times in milliseconds, rates per second."""
    floor = Floor(bench.ceph.conf, bench.ceph.tgt_conf, bench.image_id(), bench.tgtds[0].socket)
    bus = Bus(bench.rabbitmq.url("alice"))
    try:
        idle = bench.usage()["rss_mib"]
        floor.single(5)
        _pairs(bus, bench.nodes[:5], {})
        # In turns, so that whatever else the machine does hits both alike.
        floors: dict[str, list[float]] = {"map": [], "unmap": []}
        ours: dict[str, list[float]] = {"map": [], "unmap": []}
        for start in range(0, options.single, 10):
            maps, unmaps = floor.single(10)
            floors["map"] += maps
            floors["unmap"] += unmaps
            _pairs(bus, bench.nodes[start : start + 10], ours)
        together = _together(bench, bus, floor, options.rounds)
        classic = Classic(bench).rates(BATCH)
        many = _many(bench, bus, options)
        broker = bus.round_trip()
    finally:
        bus.close()
        floor.close()
    figures: dict[str, Any] = {}
    for what in ("map", "unmap"):
        figures[what] = {
            "p50_ratio_floor": round(median(ours[what]) / median(floors[what]), 3),
            "rate_ratio_floor_24": round(together[what]["ours"] / together[what]["floor"], 3),
            "rate_ratio_classic_24": round(together[what]["ours"] / classic[what], 2),
            "ratio_with_200_targets": round(many[what] / median(ours[what]), 3),
            "p50_ms": round(median(ours[what]) * 1000, 1),
            "floor_p50_ms": round(median(floors[what]) * 1000, 1),
            "rate_24": round(together[what]["ours"], 1),
            "floor_rate_24": round(together[what]["floor"], 1),
            "classic_rate_24": round(classic[what], 2),
        }
    figures["cpu_ms_per_map"] = round(together["cpu"] * 1000, 1)
    figures["rss_idle_mib"] = round(idle, 1)
    figures["rss_300_nodes_mib"] = round(many["rss_mib"], 1)
    figures["broker_round_trip_ms"] = round(broker * 1000, 2)
    figures["inside_ms"] = _inside(bench)
    return figures


def _map(node: str) -> Command:
    return MapNode(project=PROJECT, node=node, image="golden", power="none")


def _unmap(node: str) -> Command:
    return UnmapNode(project=PROJECT, node=node)


def _pairs(bus: Bus, nodes: list[str], times: dict[str, list[float]]) -> None:
    for what, command in (("map", _map), ("unmap", _unmap)):
        times.setdefault(what, []).extend(bus.run([command(node)]) for node in nodes)


def _together(bench: Bench, bus: Bus, floor: Floor, rounds: int) -> dict[str, Any]:
    nodes = bench.nodes[:BATCH]
    rates: dict[str, dict[str, list[float]]] = {what: {"ours": [], "floor": []} for what in ("map", "unmap")}
    cpu = 0.0
    for _ in range(rounds):
        first, second = floor.together(BATCH)
        rates["map"]["floor"].append(BATCH / first)
        rates["unmap"]["floor"].append(BATCH / second)
        before = bench.usage()["cpu"]
        rates["map"]["ours"].append(BATCH / bus.run([_map(node) for node in nodes]))
        cpu += bench.usage()["cpu"] - before
        rates["unmap"]["ours"].append(BATCH / bus.run([_unmap(node) for node in nodes]))
    medians: dict[str, Any] = {
        what: {who: median(values) for who, values in one.items()} for what, one in rates.items()
    }
    return medians | {"cpu": cpu / (rounds * BATCH)}


def _many(bench: Bench, bus: Bus, options: argparse.Namespace) -> dict[str, float]:
    """With 200 targets standing: single maps and unmaps; then memory with as many nodes as asked for."""
    standing, others = bench.nodes[:200], bench.nodes[200 : 200 + options.single]
    for start in range(0, len(standing), BATCH):
        bus.run([_map(node) for node in standing[start : start + BATCH]])
    times: dict[str, list[float]] = {}
    _pairs(bus, others, times)
    rest = bench.nodes[200 : options.many]
    for start in range(0, len(rest), BATCH):
        bus.run([_map(node) for node in rest[start : start + BATCH]])
    rss = bench.usage()["rss_mib"]
    return {"map": median(times["map"]), "unmap": median(times["unmap"]), "rss_mib": rss}


def _inside(bench: Bench) -> dict[str, float]:
    """Milliseconds from acceptance to the outcome's row, without the broker, from bmid's own database."""
    query = """
        SELECT o.type, (julianday(e.created_at) - julianday(o.accepted_at)) * 86400000.0
        FROM operation o JOIN outbox e ON e.operation = o.id
        WHERE e.type IN ('bmi.node.mapped.v1', 'bmi.node.unmapped.v1') AND o.seq > 100 ORDER BY o.seq
    """
    with sqlite3.connect(bench.bmid.folder / "bmid.db") as database:
        rows = database.execute(query).fetchall()
    return {
        name: round(median([ms for kind, ms in rows if kind == f"bmi.node.{name}.v1"]), 1) for name in ("map", "unmap")
    }


if __name__ == "__main__":
    main()
