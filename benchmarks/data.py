"""`script/bench data`: reads and writes through tgtd against librbd in the same run, and what a LUN costs tgtd."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench import median
from benchmarks.load import burst, export, rbd_url, usage
from benchmarks.lun import costs, law, make_images
from lab.ceph import Ceph
from lab.process import free_port
from lab.tgtd import Tgtd

__all__ = ["main"]

MIB = 1 << 20
DISK = 32 * MIB
SIZES = {"4k": 4096, "128k": 128 * 1024}
SESSIONS = (1, 8, 24)
WAYS = ("librbd", "1 shard", "2 shards")


@dataclass(frozen=True)
class Paths:
    """24 disks for each way to them: no two ways share one, or they would take its lock from each other."""

    urls: dict[str, list[str]]
    tgtds: tuple[Tgtd, ...]

    def cpu(self) -> tuple[float, float]:
        """CPU seconds of all tgtd so far, and of their event threads alone."""
        seen = [usage(tgtd.process.pid or 0) for tgtd in self.tgtds]
        return sum(one.cpu for one in seen), sum(one.event_cpu for one in seen)


def main() -> None:
    """Measure, print, write .lab/bench-data.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".lab/bench-data"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.8, help="about how long librbd is busy in each burst")
    parser.add_argument("--depth", type=int, default=4, help="operations in flight in each session")
    parser.add_argument("--threads", type=int, default=2, help="tgtd's threads for each LUN (its -t)")
    parser.add_argument("--luns", type=int, default=60, help="LUNs for the cost of one, in steps of 20")
    parser.add_argument("--osds", type=int, nargs="+", default=[1, 4, 12], help="clusters for the cost of a LUN")
    parser.add_argument("--part", choices=["bursts", "lun", "all"], default="all")
    parser.add_argument("--out", type=Path, default=Path(".lab/bench-data.json"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    folder, out = options.folder.absolute(), options.out
    figures: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    out.parent.mkdir(parents=True, exist_ok=True)
    # Each part is kept as soon as it is there, beside what an earlier run found of the other.
    if options.part != "lun":
        before = _load()
        with running(folder, options.threads) as paths:
            figures["bursts"], figures["cpu_s_per_gb"], figures["event_cpu_s_per_gb"] = measure(paths, options)
        figures |= {"load_before": before, "load_after": _load(), "threads": options.threads, "depth": options.depth}
        out.write_text(json.dumps(figures, indent=1) + "\n")
    if options.part != "bursts":
        steps = range(0, options.luns + 1, 20)
        clusters = [costs(folder, osds, steps, options.threads) for osds in options.osds]
        figures["lun"] = {"clusters": clusters, "law": law(clusters), "load": _load()}
        out.write_text(json.dumps(figures, indent=1) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    show(figures)


@contextmanager
def running(folder: Path, threads: int) -> Iterator[Paths]:
    """A Ceph, two tgtd, and the disks; all gone at the end."""
    ceph = Ceph(folder / "ceph")
    tgtds = tuple(
        Tgtd(folder / "tgtd", portal_port=free_port(), control_port=number, threads=threads) for number in range(2)
    )
    try:
        _stop(ceph, tgtds)
        shutil.rmtree(folder, ignore_errors=True)
        ceph.start()
        names = {way: [f"{way.replace(' ', '-')}-{number}" for number in range(max(SESSIONS))] for way in WAYS}
        make_images(ceph, ceph.pool, [name for each in names.values() for name in each], DISK, fill=True)
        for tgtd in tgtds:
            tgtd.start()
        urls = {"librbd": [rbd_url(ceph.pool, name, ceph.tgt_conf) for name in names["librbd"]]}
        for first, (way, servers) in enumerate((("1 shard", tgtds[:1]), ("2 shards", tgtds))):
            urls[way] = [
                export(servers[n % len(servers)], 1 + first * 100 + n, f"{ceph.pool}/{name}", ceph.tgt_conf)
                for n, name in enumerate(names[way])
            ]
        yield Paths(urls, tgtds)
    finally:
        _stop(ceph, tgtds)


def _stop(ceph: Ceph, tgtds: Sequence[Tgtd]) -> None:
    for tgtd in tgtds:
        tgtd.stop()
    ceph.stop()


def measure(
    paths: Paths, options: argparse.Namespace
) -> tuple[list[dict[str, Any]], dict[str, float], dict[str, float]]:
    """Operations a second of each burst, with ratios to librbd; CPU seconds of tgtd for each GB (10⁹ bytes), and those
    of its event thread."""
    bursts, per_gb, event_per_gb = [], {}, {}
    for label, size in SIZES.items():
        for write in (False, True):
            kind = f"{label} {'write' if write else 'read'}"
            spent, event, moved = 0.0, 0.0, 0
            alone = burst(paths.urls["librbd"][:1], size, write=write, count=200, depth=options.depth, disk=DISK)
            for sessions in SESSIONS:
                count = max(options.depth * 2, int(alone * options.seconds * (1 if sessions == 1 else 1.5) / sessions))
                rates: dict[str, list[float]] = {way: [] for way in WAYS}
                for _ in range(options.rounds):
                    # In turns, so that whatever else the machine does hits all alike.
                    for way in WAYS:
                        before = paths.cpu()
                        urls = paths.urls[way][:sessions]
                        rates[way].append(burst(urls, size, write=write, count=count, depth=options.depth, disk=DISK))
                        if way != "librbd":
                            after = paths.cpu()
                            spent += after[0] - before[0]
                            event += after[1] - before[1]
                            moved += count * sessions * size
                bursts.append(_row(kind, size, sessions, rates))
                print(_line(bursts[-1]), flush=True)
            per_gb[kind] = round(spent / (moved / 1e9), 2)
            event_per_gb[kind] = round(event / (moved / 1e9), 2)
    return bursts, per_gb, event_per_gb


def _row(kind: str, size: int, sessions: int, rates: dict[str, list[float]]) -> dict[str, Any]:
    medians = {way: median(values) for way, values in rates.items()}
    spread = max((max(values) - min(values)) / median(values) for values in rates.values())
    return {
        "kind": kind,
        "sessions": sessions,
        "ops": {way: round(rate) for way, rate in medians.items()},
        "mb_per_s": {way: round(rate * size / 1e6, 1) for way, rate in medians.items()},
        "ratio": {way: round(medians[way] / medians["librbd"], 3) for way in WAYS[1:]},
        "spread": round(spread, 2),
    }


def _line(row: dict[str, Any]) -> str:
    ops, ratio = row["ops"], row["ratio"]
    found = "  ".join(f"{way} {ops[way]}/s" + (f" ({ratio[way]:.2f})" if way in ratio else "") for way in WAYS)
    return f"{row['kind']:>10}, {row['sessions']:2} sessions: {found}   spread {row['spread']:.0%}"


def _load() -> Sequence[float]:
    """How busy the machine is besides: processes that want to run, over 1, 5 and 15 minutes."""
    return [round(value, 1) for value in os.getloadavg()]


def show(figures: dict[str, Any]) -> None:
    """CPU and the law, for reading."""
    print(
        "tgtd's CPU seconds per GB:",
        ", ".join(f"{kind} {value}" for kind, value in figures.get("cpu_s_per_gb", {}).items()),
    )
    lun = figures.get("lun", {"clusters": [], "law": {}})
    for one in lun["clusters"]:
        print(
            f"a LUN with {one['osds']:2} OSDs:",
            ", ".join(f"{value:g} {kind}" for kind, value in one["per_lun"].items()),
        )
    for kind, law_of in lun["law"].items():
        text = f"{law_of['fixed']:g} + {law_of['per_osd']:g} x OSDs (off by {law_of['worst_miss']:g} at most)"
        print(f"{kind} a LUN = {text}")


if __name__ == "__main__":
    main()
