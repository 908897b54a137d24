"""Image files looked at and converted by child processes: the driver `qemu`.

What is looked at is in inspection.py, the limits of a child in child.py; here jobs are started, followed and read.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock

from bmid.drivers.base import ImageFile, Imaging, Job, JobState
from bmid.drivers.imaging.child import Child, Nursery
from bmid.drivers.imaging.inspection import Request, source_of
from bmid.drivers.imaging.verdict import Limits
from bmid.errors import Misconfigured

__all__ = ["QemuImaging", "unpacked_path"]

_GIB = 1 << 30
_PERCENT = re.compile(r"\((\d+(?:\.\d+)?)/100%\)")
# What the ends of qemu-img's complaints mean: words, problem, whether a retry could help.
_COMPLAINTS = (
    (("No space left", "quota"), "pool-full", "the storage is full: free space in it", True),
    (("timed out",), "storage-timeout", "the storage did not answer in time", True),
    (("error while reading",), "image-damaged", "the file can't be read to its end: copy or upload it again", False),
    (("allocate memory",), "imaging-memory", "the conversion needs more memory than its limit allows", False),
)


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
        target = unpacked_path(source, workspace)
        request = Request(str(source), str(target), sha256, declared, self._limits)
        # No -I: the package is found by PYTHONPATH, which is ours in the child.
        command = [sys.executable, "-s", "-m", "bmid.drivers.imaging.inspection", json.dumps(asdict(request))]
        self._start(job, command, _read_inspection, max(self._limits.unpacked, 1 << 20), target)

    def convert(self, job: str, file: Path, found: ImageFile, destination: str) -> None:
        # -W: writes need not be in order, which more than doubles the speed into RBD; more coroutines add nothing.
        command = ["qemu-img", "convert", "-p", "-n", "-W", "-O", "raw"]
        command += [source_of(file, found.format), destination]
        size = found.virtual_size

        def read(child: Child, code: int | None) -> Job:
            return _read_conversion(child, code, size)

        self._start(job, command, read, max(self._limits.virtual_size, found.virtual_size))

    def poll(self, job: str) -> Job | None:
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

    def _start(
        self,
        job: str,
        command: list[str],
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


def _read_inspection(child: Child, code: int | None) -> Job:
    lines = [json.loads(line) for line in child.output().splitlines() if line.startswith("{") and line.endswith("}")]
    last = lines[-1] if lines else {}
    if code is None:
        return Job(JobState.RUNNING, last.get("done", 0), last.get("total", 0))
    if "found" in last:
        found = ImageFile(**last["found"])
        return Job(JobState.DONE, found.size, found.size, found)
    if "problem" in last:
        slug, detail, retry = last["problem"]
        return Job(JobState.FAILED, problem=(slug, detail, retry))
    return _died(child, code)


def _read_conversion(child: Child, code: int | None, size: int) -> Job:
    percents = _PERCENT.findall(child.output())
    done = int(float(percents[-1]) * size / 100) if percents else 0
    if code is None:
        return Job(JobState.RUNNING, done, size)
    return Job(JobState.DONE, size, size) if code == 0 else _died(child, code)


def _died(child: Child, code: int) -> Job:
    if child.overdue or code == -24:  # SIGXCPU
        detail = "the work on the image took longer than its limit: import a smaller image, or have the limit raised"
        return Job(JobState.FAILED, problem=("imaging-timeout", detail, False))
    complaint = child.errors().strip()
    for words, slug, detail, retry in _COMPLAINTS:
        if any(word in complaint for word in words):
            return Job(JobState.FAILED, problem=(slug, detail, retry))
    last = complaint.rpartition("\n")[2][-300:]
    return Job(JobState.FAILED, problem=("imaging-failed", f"the work on the image ended with {code}: {last}", True))
