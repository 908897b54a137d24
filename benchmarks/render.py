"""Figures of each benchmark as the tables of docs/performance.md. Where they are put is in report.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["boot", "data", "disk", "heads", "importing", "lun", "provision", "query"]

OSDS = (1, 12, 48, 100, 500)
SESSIONS = 2  # connections of a node at its target: while it boots, two may stand side by side
SPARE = 100  # descriptors of a tgtd without LUNs, and room


def provision(figures: dict[str, Any]) -> str:
    """Maps and unmaps against the floor and the classic sequence."""
    rbd = figures["rbd"]
    limits = (
        ("p50_ratio_floor", "median time, single: ratio to the floor", "≤ 1.5"),
        ("rate_ratio_floor_24", "rate, 24 at once: ratio to the floor", "≥ 0.70"),
        ("rate_ratio_classic_24", "rate, 24 at once: ratio to the classic sequence", "≥ 4"),
        ("ratio_with_200_targets", "median time with 200 targets standing", "≤ 1.5"),
    )
    rows = [
        (text, limit, *(_judged(rbd[what][key], limit) for what in ("map", "unmap"))) for key, text, limit in limits
    ]
    absolute = (
        ("p50_ms", "bmid, median, ms"),
        ("floor_p50_ms", "floor, median, ms"),
        ("rate_24", "bmid, 24 at once, per second"),
        ("floor_rate_24", "floor, 24 at once, per second"),
        ("classic_rate_24", "classic, 24 at once, per second"),
    )
    rows += [(text, "", *(f"{rbd[what][key]:g}" for what in ("map", "unmap"))) for key, text in absolute]
    whole = (
        ("cpu_ms_per_map", "bmid's CPU a map, ms", "≤ 30"),
        ("rss_idle_mib", "bmid's memory, idle, MiB", "≤ 100"),
        ("rss_300_nodes_mib", "bmid's memory with 300 nodes, MiB", "≤ 150"),
    )
    rest = [(text, limit, _judged(rbd[key], limit)) for key, text, limit in whole]
    rest.append(("the broker's own round trip, ms", "", f"{rbd['broker_round_trip_ms']:g}"))
    return (
        _table(("", "to reach", "map", "unmap"), rows) + "\n" + _table(("", "to reach", "measured"), rest) + _busy(rbd)
    )


def boot(figures: dict[str, Any]) -> str:
    """Boots by a message against boots by hand."""
    rows = [
        (
            firmware.upper(),
            f"{figures[firmware]['bmid_p50_s']:g}",
            f"{figures[firmware]['by_hand_p50_s']:g}",
            f"{figures[firmware]['ratio']:g}",
            f"{min(figures[firmware]['bmid_s']) / min(figures[firmware]['by_hand_s']):.3f}",
            _list(figures[firmware]["bmid_s"]),
            _list(figures[firmware]["by_hand_s"]),
        )
        for firmware in ("bios", "uefi")
    ]
    ratio = figures["ratio"]
    last = f"\nOver both: {_judged(ratio, '≤ 1.1')}, to reach ≤ 1.1."
    head = ("", "bmid, s", "by hand, s", "ratio", "of the quickest", "each, bmid", "each, by hand")
    return _table(head, rows) + last + _busy(figures)


def data(figures: dict[str, Any]) -> str:
    """Bursts: rates of librbd, and ratios to it."""
    rows = [
        (
            row["kind"],
            str(row["sessions"]),
            f"{row['ops']['librbd']}",
            f"{row['mb_per_s']['librbd']:g}",
            f"{row['ratio']['1 shard']:.2f}",
            f"{row['ratio']['2 shards']:.2f}",
            f"{row['spread']:.0%}",
        )
        for row in figures["bursts"]
    ]
    head = ("", "sessions", "librbd, per second", "MB/s", "1 shard, ratio", "2 shards, ratio", "spread")
    event = figures.get("event_cpu_s_per_gb", {})
    costs = [
        (kind, f"{value:g}", f"{_operations(kind, value):.0f}", f"{event[kind]:g}" if kind in event else "")
        for kind, value in figures["cpu_s_per_gb"].items()
    ]
    title = ("", "tgtd's CPU, seconds per GB", "operations for one CPU second", "of it the event thread, s per GB")
    cpu = _table(title, costs)
    return _table(head, rows) + "\n" + cpu + _busy(figures)


def lun(figures: dict[str, Any]) -> str:
    """What a LUN costs, the law, and what follows from it."""
    kinds = {"descriptors": "descriptors", "threads": "threads", "rss_kib": "memory, KiB"}
    law, clusters = figures["lun"]["law"], figures["lun"]["clusters"]
    head = ("a LUN's", *(f"{one['osds']} OSDs" for one in clusters), "law")
    rows = [
        (
            text,
            *(f"{one['per_lun'][kind]:g}" for one in clusters),
            f"{law[kind]['fixed']:g} + {law[kind]['per_osd']:g} × OSDs (off by {law[kind]['worst_miss']:g} at most)",
        )
        for kind, text in kinds.items()
    ]
    at = {kind: [law[kind]["fixed"] + law[kind]["per_osd"] * osds for osds in OSDS] for kind in kinds}
    needs = [SESSIONS + value for value in at["descriptors"]]
    follows = [
        ("descriptors for 300 nodes", *(f"{SPARE + 300 * value:,.0f}" for value in needs)),
        ("memory for 300 nodes, MiB", *(f"{300 * value / 1024:,.0f}" for value in at["rss_kib"])),
        ("threads for 300 nodes", *(f"{300 * value:,.0f}" for value in at["threads"])),
        ("nodes with LimitNOFILE=1024", *(f"{(1024 - SPARE) // value:,.0f}" for value in needs)),
        ("nodes with LimitNOFILE=65536", *(f"{(65536 - SPARE) // value:,.0f}" for value in needs)),
    ]
    return _table(head, rows) + "\n" + _table(("a shard", *(f"{osds} OSDs" for osds in OSDS)), follows)


def query(figures: dict[str, Any]) -> str:
    """Pages of a large site, idle and while maps run, beside the bare SQL."""
    kinds = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
    rows = []
    for kind in (kind for kind in kinds if kind in figures):
        for name, page in figures[kind]["pages"].items():
            idle, busy = page["idle"], page["busy"]
            rows.append(
                (
                    kinds[kind],
                    name,
                    f"{idle['p50_ms']:g}",
                    _judged(busy["p50_ms"], "≤ 50"),
                    f"{busy['p95_ms']:g}",
                    f"{idle['floor_p50_ms']:g}",
                    f"{busy['floor_p50_ms']:g}",
                    f"{busy['floor_p95_ms']:g}",
                )
            )
    head = ("", "a page of 100", "idle, ms", "while 24 maps run, ms; to reach ≤ 50", "95 of 100",
            "bare SQL, idle", "bare SQL, maps", "95 of 100")  # fmt: skip
    rates = " and ".join(f"{figures[kind]['commands_per_s']:g} ({kinds[kind]})" for kind in kinds if kind in figures)
    return _table(head, rows) + f"\nMaps and unmaps a second meanwhile: {rates}." + _busy(figures)


def heads(figures: dict[str, Any]) -> str:
    """The rate of several heads against that of one, beside Ceph's own."""
    count = figures["heads"]
    rows = [
        (
            f"{who}, {figures['at_once']} at once, per second",
            *(f"{figures[f'{what}_{key}_rate']:g}" for what in ("map", "unmap")),
        )
        for who, key in (("one head", "one"), (f"{count} heads", "all"))
    ]
    rows += [
        (f"ratio of {count} heads to one", f"{figures['map_ratio']:g}", f"{figures['unmap_ratio']:g}"),
        ("floor with one tgtd, per second", f"{figures['floor_rate']:g}", ""),
        ("Ceph alone: clones with metadata, per second", f"{figures['ceph_rate']:g}", ""),
    ]
    spread = " + ".join(str(disks) for disks in figures["disks_of_each_head"])
    each = f"\nDisks on each head: {spread}. Maps with {count} heads, each round: {_list(figures['each']['map_all'])}; "
    one = f"with one: {_list(figures['each']['map_one'])}; Ceph alone: {_list(figures['each']['ceph'])}."
    return _table(("", "map", "unmap"), rows) + each + one + _busy(figures)


def disk(figures: dict[str, Any]) -> str:
    """Snapshot, park and resume against their floors."""
    rows = []
    for what in ("snapshot", "park", "resume"):
        one = figures[what]
        rows.append((what, _judged(one["ratio"], "≤ 1.5"), f"{one['p50_ms']:g}", f"{one['floor_p50_ms']:g}"))
    head = ("", "ratio to the floor; to reach ≤ 1.5", "bmid, median, ms", "floor, median, ms")
    return _table(head, rows) + _busy(figures)


def importing(figures: dict[str, Any]) -> str:
    """An import against the bare convert."""
    rows = [
        ("rate: ratio to qemu-img convert; to reach ≥ 0.8", _judged(figures["ratio"], "≥ 0.8")),
        ("image.import, MiB a second", f"{figures['ours_mib_s']:g}"),
        ("qemu-img convert, MiB a second", f"{figures['floor_mib_s']:g}"),
        (
            "bmid's memory before, and at most meanwhile, MiB",
            f"{figures['rss_before_mib']:g}, {figures['rss_peak_mib']:g}",
        ),
        ("its children's memory at most, MiB", f"{figures['children_peak_mib']:g}"),
    ]
    each = f"\nSeconds for {figures['mib']} MiB, each: {_list(figures['ours_s'])}; {_list(figures['floor_s'])}."
    return _table(("", "measured"), rows) + each + _busy(figures)


def _operations(kind: str, seconds_per_gb: float) -> float:
    size = {"4k": 4096, "128k": 131072}[kind.partition(" ")[0]]
    return 1e9 / seconds_per_gb / size


def _judged(value: float, limit: str) -> str:
    """The figure; in bold where it doesn't reach its limit, such as "≤ 1.5"."""
    bound = float(limit.split()[1])
    fits = value <= bound if limit.startswith("≤") else value >= bound
    return f"{value:g}" if fits else f"**{value:g}, not reached**"


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)


def _busy(figures: dict[str, Any]) -> str:
    """How busy the machine was, where the run says so."""
    loads = figures.get("load") or [*figures.get("load_before", [])[:1], *figures.get("load_after", [])[:1]]
    return f"\nLoad average at the begin and the end: {_list(loads)}.\n" if loads else "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
