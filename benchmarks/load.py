"""Reads and writes from user space, and what they cost tgtd: qemu-img bench drives both librbd and iSCSI.

Offsets jump over the whole disk by the golden ratio: no two neighbours in a row, every block hit before one comes
again. A burst's time is what the slowest of its processes says about itself, so starting and logging in don't count.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bmid.drivers.target.tgt_socket import Mode, Op, TgtSocket
from lab.tgtd import Tgtd

__all__ = ["Usage", "burst", "export", "iscsi_url", "rbd_url", "touch", "usage"]

TICKS = os.sysconf("SC_CLK_TCK")
IQN = "iqn.2026-11.org.example:"
_DONE = re.compile(r"Run completed in ([0-9.]+) seconds")


@dataclass(frozen=True)
class Usage:
    """What a process holds now: CPU seconds so far (in all, and of its first thread, which is tgtd's event loop), open
    descriptors, threads, resident KiB."""

    cpu: float
    event_cpu: float
    descriptors: int
    threads: int
    rss_kib: int


def usage(pid: int) -> Usage:
    """Of one process."""
    folder = Path(f"/proc/{pid}")
    status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
    return Usage(
        cpu=_cpu(folder / "stat"),
        event_cpu=_cpu(folder / "task" / str(pid) / "stat"),
        descriptors=len(os.listdir(folder / "fd")),
        threads=int(status["Threads"]),
        rss_kib=int(status["VmRSS"].split()[0]),
    )


def _cpu(stat: Path) -> float:
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def export(tgtd: Tgtd, number: int, image: str, conf: Path) -> str:
    """Export an RBD image ("pool/name") to the loopback; the iSCSI URL for qemu."""
    ask, iqn = TgtSocket(tgtd.socket, 60).ask, f"{IQN}d{number}"
    ask(Mode.TARGET, Op.NEW, number, f"targetname={iqn}")
    ask(Mode.DEVICE, Op.NEW, number, f"path={image},bstype=rbd,bsopts=conf={conf};id=bmi", lun=1)
    ask(Mode.DEVICE, Op.UPDATE, number, "targetOps lbppbe=3,", lun=1)
    ask(Mode.TARGET, Op.BIND, number, "initiator-address=127.0.0.1")
    return iscsi_url(tgtd.portal, iqn)


def iscsi_url(portal: str, iqn: str) -> str:
    """LUN 1 of a target, as qemu takes it."""
    file = {"driver": "iscsi", "transport": "tcp", "portal": portal, "target": iqn, "lun": 1}
    return "json:" + json.dumps({"driver": "raw", "file": file})


def rbd_url(pool: str, image: str, conf: Path) -> str:
    """The image itself, as qemu takes it."""
    file = {"driver": "rbd", "pool": pool, "image": image, "conf": str(conf), "user": "bmi"}
    return "json:" + json.dumps({"driver": "raw", "file": file})


def burst(urls: Sequence[str], size: int, *, write: bool, count: int, depth: int, disk: int) -> float:
    """Operations a second over all of `urls` at once, `count` of `size` bytes on each, `depth` in flight on each.

    `disk` is the size of each disk in bytes. Raises CalledProcessError when one fails.
    """
    step = int(disk // size * 0.6180339887) | 1  # odd, and disks have a power of two of blocks: all are visited
    command = ["qemu-img", "bench", "-t", "none", "-c", str(count), "-d", str(depth), "-s", str(size)]
    command += ["-S", str(step * size), *(("-w",) if write else ())]
    running = [
        subprocess.Popen([*command, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for url in urls
    ]
    slowest = 0.0
    for process in running:
        output, errors = process.communicate(timeout=300)
        found = _DONE.search(output)
        if process.returncode or found is None:
            raise subprocess.CalledProcessError(process.returncode, "qemu-img bench", output, errors)
        slowest = max(slowest, float(found[1]))
    return len(urls) * count / max(slowest, 1e-3)


def touch(url: str, disk: int, stride: int = 4 << 20) -> None:
    """One small write to each object of a disk, so that its client has met every OSD that has one of them."""
    command = [
        "qemu-img",
        "bench",
        "-t",
        "none",
        "-c",
        str(disk // stride),
        "-d",
        "4",
        "-s",
        "4096",
        "-S",
        str(stride),
        "-w",
        url,
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
