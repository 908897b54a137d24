"""`script/bench import`: image.import of a qcow2 against `qemu-img convert` of the same file into the same pool.

Both begin with the file in a folder of the head; bmid's ends when the outcome event has reached the publisher, and its
time holds what the convert alone doesn't do: looking at the file, its digest, the seal.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.bench import PROJECT, Bench, keep, median
from bmi_publish import Client
from bmid.handlers.import_image import ImageSource, ImportImage
from bmid.handlers.remove_image import RemoveImage
from bmid.messages.base import Command

__all__ = ["main"]

MIB = 1 << 20


def main() -> None:
    """Measure, print, write .lab/bench-import.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(".lab/bench-import"))
    parser.add_argument("--mib", type=int, default=2048, help="bytes in the image, all of them written")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path(".lab/bench-import.json"))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is stopped
    with Bench(options.folder, 0).running() as bench:
        figures = measure(bench, options)
    keep(figures, options.out)


def measure(bench: Bench, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds, MiB a second, and the ratio of the rates."""
    file = _written(bench.bmid.imports / "large.qcow2", options.mib)
    times: dict[str, list[float]] = {"ours": [], "floor": []}
    before = os.getloadavg()[0]
    pid, url = bench.bmid.process.pid or 0, bench.rabbitmq.url("alice")
    with Memory(pid) as memory, Client(url=url, source="/bench") as client:
        for turn in range(options.rounds):
            for who in ("floor", "ours") if turn % 2 else ("ours", "floor"):
                seconds = _floor(bench, file) if who == "floor" else _ours(client, file.name)
                times[who].append(round(seconds, 2))
                print(f"round {turn + 1}, {who}: {seconds:.2f} s", flush=True)
    ours, floor = median(times["ours"]), median(times["floor"])
    return {
        "mib": options.mib,
        "ratio": round(floor / ours, 3),
        "ours_mib_s": round(options.mib / ours, 1),
        "floor_mib_s": round(options.mib / floor, 1),
        "ours_s": times["ours"],
        "floor_s": times["floor"],
        "rss_before_mib": round(memory.first, 1),
        "rss_peak_mib": round(memory.peak, 1),
        "children_peak_mib": round(memory.children, 1),
        "load": [round(before, 1), round(os.getloadavg()[0], 1)],
    }


def _written(file: Path, mib: int) -> Path:
    """A qcow2 whose every cluster holds bytes that can't be made smaller."""
    raw = file.with_suffix(".raw")
    with raw.open("wb") as out:
        out.write(b"\xeb" + os.urandom(509) + b"\x55\xaa" + os.urandom(MIB - 512))
        for _ in range(mib - 1):
            out.write(os.urandom(MIB))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, file], check=True)
    raw.unlink()
    return file


def _ours(client: Client, name: str) -> float:
    seconds = _done(client, ImportImage(project=PROJECT, image="large", source=ImageSource(file=name)))
    _done(client, RemoveImage(project=PROJECT, image="large"))
    return seconds


def _done(client: Client, command: Command) -> float:
    started = time.perf_counter()
    result = client.wait(client.ticket(command), timeout=600)
    if not result.ok:
        raise RuntimeError(f"{command.type}: {result.state} {result.problem}")
    return time.perf_counter() - started


def _floor(bench: Bench, file: Path) -> float:
    """The convert as it would be by hand, at its quickest: into a new image, out of order."""
    conf, pool = bench.ceph.conf, bench.ceph.pool
    rbd = ["rbd", "-c", str(conf), "--id", bench.ceph.user]
    size = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", file]))["virtual-size"]
    started = time.perf_counter()
    subprocess.run([*rbd, "create", "--size", f"{size}B", f"{pool}/floor"], check=True, capture_output=True)
    place = f"rbd:{pool}/floor:conf={conf}:id={bench.ceph.user}"
    subprocess.run(["qemu-img", "convert", "-n", "-W", "-f", "qcow2", "-O", "raw", file, place], check=True)
    seconds = time.perf_counter() - started
    subprocess.run([*rbd, "--no-progress", "rm", f"{pool}/floor"], check=True, capture_output=True)
    return seconds


class Memory:
    """Looks at the memory of a process and of its children, five times a second. MiB."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self.first = self.peak = _rss(pid)
        self.children = 0.0

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.2):
            self.peak = max(self.peak, _rss(self._pid))
            tasks = Path(f"/proc/{self._pid}/task").glob("*/children")
            children = {int(pid) for task in tasks for pid in _read(task).split()}
            self.children = max(self.children, sum(_rss(pid) for pid in children))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has just ended
        return ""


def _rss(pid: int) -> float:
    lines = [line for line in _read(Path(f"/proc/{pid}/status")).splitlines() if line.startswith("VmRSS")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


if __name__ == "__main__":
    main()
