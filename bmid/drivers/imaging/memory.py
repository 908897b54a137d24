"""The twin of imaging that needs no tools: it looks at real files with the same eyes, at the first poll, in-process."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from threading import RLock
from typing import BinaryIO, Literal

from bmid.drivers.base import Errand, ImageFile, Imaging, Job, JobState
from bmid.drivers.imaging.digest import digest
from bmid.drivers.imaging.inspection import Request, examine
from bmid.drivers.imaging.qcow2 import read_qcow2
from bmid.drivers.imaging.qcow2_writer import write_qcow2
from bmid.drivers.imaging.verdict import Found, Limits, Unfit
from bmid.errors import BmiError, PermanentError, TransientError

__all__ = ["MemoryImaging"]

_CHUNK = 1 << 20


def _unwired(*_arguments: object) -> bytes:
    raise PermanentError(
        "imaging-failed",
        "this twin was not told how to reach the storage",
        todo="Give this twin its ways to the storage.",
    )


class MemoryImaging(Imaging):
    """Imaging without QEMU; compressed clusters of a qcow2 come out as zeros.

    `before` is called with each call's name and arguments and may raise. `write(destination, offset, bytes)` takes
    what a conversion writes, `read(source, offset, length)` gives what a copy reads, `run` does a storage's errand:
    those of MemoryStorage. What they raise makes the job fail.
    """

    def __init__(
        self,
        before: Callable[[str, tuple[object, ...]], None] | None = None,
        write: Callable[[str, int, bytes], None] | None = None,
        max_virtual_size: int = 1 << 41,
        max_unpacked: int = 1 << 38,
        read: Callable[[str, int, int], bytes] = _unwired,
        run: Callable[[Errand], object] = _unwired,
    ) -> None:
        self._before = before or (lambda _name, _arguments: None)
        self._write = write or (lambda _destination, _offset, _content: None)
        self._read = read
        self._run = run
        self._limits = Limits(max_virtual_size, max_unpacked, 1 << 32, 3600)
        self._lock = RLock()
        self._work: dict[str, Callable[[], Job]] = {}
        self._jobs: dict[str, Job] = {}

    def check(self) -> str:
        self._before("check", ())
        return "memory"

    def inspect(self, job: str, source: Path, workspace: Path, sha256: str | None, declared: str | None) -> None:
        self._before("inspect", (job, source, workspace, sha256, declared))
        workspace.mkdir(parents=True, exist_ok=True)
        target = workspace / f"unpacked-{source.name}"
        request = Request(str(source), str(target), sha256, declared, self._limits)

        def work() -> Job:
            found = ImageFile(**asdict(examine(request, lambda _done, _total: None, with_qemu=False)))
            return Job(JobState.DONE, found.size, found.size, found)

        self._start(job, work)

    def digest(self, job: str, file: Path, found: ImageFile, sha256: str | None) -> None:
        self._before("digest", (job, file, found, sha256))

        def work() -> Job:
            whole = ImageFile(**asdict(digest(file, Found(**asdict(found)), sha256, lambda _done, _total: None)))
            return Job(JobState.DONE, whole.size, whole.size, whole)

        self._start(job, work)

    def convert(self, job: str, file: Path, found: ImageFile, destination: str) -> None:
        self._before("convert", (job, file, found, destination))

        def work() -> Job:
            self._copy(file, found, destination)
            return Job(JobState.DONE, found.virtual_size, found.virtual_size)

        self._start(job, work)

    def copy(self, job: str, source: str, size: int, destination: str) -> None:
        self._before("copy", (job, source, size, destination))

        def work() -> Job:
            for offset, chunk in self._chunks(source, size):
                if chunk != bytes(len(chunk)):
                    self._write(destination, offset, chunk)
            return Job(JobState.DONE, size, size)

        self._start(job, work)

    def write(self, job: str, source: str, size: int, file: Path, format: Literal["raw", "qcow2"]) -> None:
        self._before("write", (job, source, size, file, format))

        def work() -> Job:
            file.unlink(missing_ok=True)
            try:
                with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o640), "wb") as target:
                    os.fchmod(target.fileno(), 0o640)
                    self._fill(target, source, size, format)
            except BaseException:
                file.unlink(missing_ok=True)
                raise
            with file.open("rb") as written:
                digest = hashlib.file_digest(written, "sha256").hexdigest()
            return Job(JobState.DONE, size, size, ImageFile(format, None, file.stat().st_size, size, digest))

        self._start(job, work)

    def run(self, job: str, errand: Errand) -> None:
        self._before("run", (job, errand))

        def work() -> Job:
            self._run(errand)
            return Job(JobState.DONE, errand.size, errand.size)

        self._start(job, work)

    def poll(self, job: str, patience: float = 0.0) -> Job | None:
        self._before("poll", (job,))
        with self._lock:
            if job in self._work:
                try:
                    self._jobs[job] = self._work.pop(job)()
                except Unfit as error:
                    problem = (error.slug, error.detail, error.retry)
                    self._jobs[job] = Job(JobState.FAILED, problem=problem)
                except BmiError as error:
                    retry = isinstance(error, TransientError)
                    self._jobs[job] = Job(JobState.FAILED, problem=(error.problem.slug, error.problem.detail, retry))
                except OSError as error:
                    slug = "no-space" if error.errno == errno.ENOSPC else "imaging-failed"
                    self._jobs[job] = Job(JobState.FAILED, problem=(slug, str(error), True))
            return self._jobs.get(job)

    def jobs(self) -> tuple[str, ...]:
        self._before("jobs", ())
        with self._lock:
            return (*self._jobs, *self._work)

    def unpacked(self, source: Path, workspace: Path, found: ImageFile) -> Path:
        return workspace / f"unpacked-{source.name}" if found.compression else source

    def cancel(self, job: str) -> None:
        self._before("cancel", (job,))
        with self._lock:
            self._work.pop(job, None)
            self._jobs.pop(job, None)

    def _start(self, job: str, work: Callable[[], Job]) -> None:
        with self._lock:
            if job not in self._jobs:
                self._work.setdefault(job, work)

    def _copy(self, path: Path, found: ImageFile, destination: str) -> None:
        with path.open("rb") as file:
            if found.format == "raw":
                while chunk := file.read(_CHUNK):
                    if chunk != bytes(len(chunk)):
                        self._write(destination, file.tell() - len(chunk), chunk)
                return
            for extent in list(read_qcow2(file, self._limits).extents(file)):
                if not extent.compressed:
                    file.seek(extent.host)
                    self._write(destination, extent.guest, file.read(extent.length))

    def _chunks(self, source: str, size: int) -> Iterator[tuple[int, bytes]]:
        for offset in range(0, size, _CHUNK):
            yield offset, self._read(source, offset, min(_CHUNK, size - offset))

    def _fill(self, target: BinaryIO, source: str, size: int, format: Literal["raw", "qcow2"]) -> None:
        if format == "qcow2":
            write_qcow2(target, self._chunks(source, size), size)
        else:
            target.truncate(size)
            for offset, chunk in self._chunks(source, size):
                if chunk != bytes(len(chunk)):
                    target.seek(offset)
                    target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
