"""Image files looked at, converted, copied and written by child processes: the driver `qemu`.

What is looked at is in inspection.py, how a file is written in export.py, the limits of a child in child.py, what its
output means in outcome.py; here jobs are started and followed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Literal

from bmid.drivers.base import Errand, ImageFile, Imaging, Job, JobState
from bmid.drivers.imaging.child import Child, Nursery
from bmid.drivers.imaging.inspection import Request, source_of
from bmid.drivers.imaging.outcome import read_copy, read_export, read_inspection
from bmid.drivers.imaging.verdict import Limits
from bmid.errors import Misconfigured

__all__ = ["QemuImaging", "unpacked_path"]

_GIB = 1 << 30
_MOST_PATIENCE = 2.0  # seconds that one thread of a worker gives a child
# -W: writes need not be in order, which more than doubles the speed into RBD; more coroutines add nothing.
# What is written to was made just now and is empty: without being told QEMU would first clear all of it.
_INTO = ("qemu-img", "convert", "-p", "-n", "-W", "--target-is-zero", "-O", "raw")

# A module of this package; no -I, since the package is found by PYTHONPATH, which is ours in the child.
_OURS = (sys.executable, "-s", "-m")


@dataclass
class _Work:
    """A job: its child, what its output means, and the file to remove should it not end well."""

    child: Child
    read: Callable[[Child, int | None], Job]
    target: Path | None = None
    final: Job | None = None


class QemuImaging(Imaging):
    """Jobs in children that die with this process.

    Bytes: max_virtual_size of the disk an image describes, max_unpacked of an unpacked file, max_memory of a
    child's address space (with librbd's 34 threads qemu-img takes 1.6 GiB of it, and 110 MiB of memory).
    Seconds: max_seconds of a job, by the clock and of CPU.
    """

    def __init__(
        self,
        max_virtual_size: int = 2048 * _GIB,
        max_unpacked: int = 256 * _GIB,
        max_memory: int = 8 * _GIB,
        max_seconds: int = 4 * 3600,
    ) -> None:
        self._limits = Limits(max_virtual_size, max_unpacked, max_memory, max_seconds)
        self._nursery = Nursery()
        self._lock = Lock()
        self._jobs: dict[str, _Work] = {}

    def check(self) -> str:
        missing = [tool for tool in ("qemu-img", "zstd", "setpriv", "prlimit") if shutil.which(tool) is None]
        if missing:
            detail = f"not installed: {', '.join(missing)}"
            raise Misconfigured(detail, todo="Install the packages qemu-utils, zstd and util-linux.")
        done = subprocess.run(["qemu-img", "--version"], capture_output=True, text=True, timeout=10, check=False)
        return done.stdout.partition("\n")[0]

    def inspect(self, job: str, source: Path, workspace: Path, sha256: str | None, declared: str | None) -> None:
        workspace.mkdir(parents=True, exist_ok=True)
        target = unpacked_path(source, workspace)
        request = Request(str(source), str(target), sha256, declared, self._limits)
        command = [*_OURS, "bmid.drivers.imaging.inspection", json.dumps(asdict(request))]
        self._start(job, command, read_inspection, max(self._limits.unpacked, 1 << 20), target)

    def digest(self, job: str, file: Path, found: ImageFile, sha256: str | None) -> None:
        given = json.dumps({"file": str(file), "found": asdict(found), "promised": sha256})
        self._start(job, [*_OURS, "bmid.drivers.imaging.digest", given], read_inspection, 1 << 20)

    def convert(self, job: str, file: Path, found: ImageFile, destination: str) -> None:
        size = found.virtual_size
        command = [*_INTO, source_of(file, found.format), destination]
        self._start(job, command, partial(read_copy, size=size, from_file=True), self._disk(size))

    def copy(self, job: str, source: str, size: int, destination: str) -> None:
        command = [*_INTO, "-f", "raw", source, destination]
        self._start(job, command, partial(read_copy, size=size, from_file=False), self._disk(size))

    def write(self, job: str, source: str, size: int, file: Path, format: Literal["raw", "qcow2"]) -> None:
        command = [*_OURS, "bmid.drivers.imaging.export", source, str(file), format]
        tables = size // 1024 + (64 << 20)  # a qcow2 without packing is this much longer than its disk, at most
        self._start(job, command, partial(read_export, size=size, format=format), self._disk(size) + tables, file)

    def run(self, job: str, errand: Errand) -> None:
        self._start(job, errand.command, partial(read_copy, size=errand.size, from_file=False), self._disk(errand.size))

    def poll(self, job: str, patience: float = 0.0) -> Job | None:
        with self._lock:
            work = self._jobs.get(job)
        if patience > 0 and work is not None and work.final is None:
            work.child.wait(min(patience, _MOST_PATIENCE))
        with self._lock:
            work = self._jobs.get(job)
            if work is None or work.final is not None:
                return work.final if work else None
            code = work.child.ended()
            state = work.read(work.child, code)
            if state.state is not JobState.RUNNING:
                work.final = state
                work.child.close()
                if state.state is JobState.FAILED and work.target:
                    work.target.unlink(missing_ok=True)
            return state

    def jobs(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._jobs)

    def unpacked(self, source: Path, workspace: Path, found: ImageFile) -> Path:
        return unpacked_path(source, workspace) if found.compression else source

    def cancel(self, job: str) -> None:
        with self._lock:
            work = self._jobs.pop(job, None)
        if work is not None and work.final is None:
            work.child.kill()
            work.child.close()
            if work.target:
                work.target.unlink(missing_ok=True)

    def _disk(self, size: int) -> int:
        """The longest file that may come of a disk."""
        return max(self._limits.virtual_size, size)

    def _start(
        self,
        job: str,
        command: Sequence[str],
        read: Callable[[Child, int | None], Job],
        longest_file: int,
        target: Path | None = None,
    ) -> None:
        with self._lock:
            if job not in self._jobs:
                child = self._nursery.start(command, self._limits, longest_file)
                self._jobs[job] = _Work(child, read, target)


def unpacked_path(source: Path, workspace: Path) -> Path:
    """Where the unpacked copy of a file goes: one name for each source."""
    return workspace / f"unpacked-{hashlib.sha256(str(source).encode()).hexdigest()[:16]}"
