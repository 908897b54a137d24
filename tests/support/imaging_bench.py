"""Image files and a driver that inspects and converts them to where a test can read what came out."""

from __future__ import annotations

import gzip
import lzma
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from bmid.drivers.base import Errand, ImageFile, Imaging, Job, JobState
from bmid.drivers.imaging.memory import MemoryImaging
from bmid.drivers.imaging.qemu import QemuImaging
from bmid.errors import TransientError

MIB = 1 << 20


LIMITS = {"max_virtual_size": 64 * MIB, "max_unpacked": 32 * MIB}


PATTERN = bytes(range(256)) * 256  # 64 KiB


def disk_bytes(mib: int = 4) -> bytes:
    """A disk with some data, a large hole, and data in its last bytes."""
    return PATTERN + bytes(mib * MIB - 2 * len(PATTERN)) + PATTERN[::-1]


def zstd(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-qc"], input=content, check=True, capture_output=True).stdout


PACKERS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "xz": lzma.compress, "zst": zstd}


@dataclass
class Bench:
    """An imaging, a folder with the file to look at, a workspace, and what a conversion wrote."""

    imaging: Imaging
    source: Path
    workspace: Path
    written: dict[str, bytearray]

    def put(self, content: bytes) -> None:
        self.source.write_bytes(content)

    def qcow2(self, *options: str, content: bytes | None = None) -> bytes:
        raw = self.source.with_name("raw")
        raw.write_bytes(disk_bytes() if content is None else content)
        command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, str(raw), str(self.source)]
        subprocess.run(command, check=True, capture_output=True)
        raw.unlink()
        return self.source.read_bytes()

    def end(self, job: str) -> Job:
        deadline = time.monotonic() + 120
        while (state := self.imaging.poll(job)) is not None and state.state is JobState.RUNNING:
            assert time.monotonic() < deadline, "the job doesn't end"
            time.sleep(0.01)
        assert state is not None
        return state

    def inspect(self, sha256: str | None = None, declared: str | None = None) -> Job:
        job = uuid4().hex
        self.imaging.inspect(job, self.source, self.workspace, sha256, declared)
        return self.end(job)

    def found(self, **given: str | None) -> ImageFile:
        state = self.inspect(**given)
        assert state.state is JobState.DONE, state
        assert state.result is not None
        return state.result

    def refusal(self, **given: str | None) -> tuple[str, str]:
        state = self.inspect(**given)
        assert state.state is JobState.FAILED, state
        assert state.problem is not None
        slug, detail, retry = state.problem
        assert not retry
        assert len(detail) > 20
        assert list(self.workspace.iterdir()) == []
        return slug, detail

    def digested(self, found: ImageFile, sha256: str | None = None) -> Job:
        job = uuid4().hex
        self.imaging.digest(job, self.source, found, sha256)
        return self.end(job)

    def converted(self, found: ImageFile) -> bytes:
        file = self.imaging.unpacked(self.source, self.workspace, found)
        destination = self.workspace / "destination"
        with destination.open("wb") as target:
            target.truncate(found.virtual_size)
        job = uuid4().hex
        self.imaging.convert(job, file, found, str(destination))
        state = self.end(job)
        assert (state.state, state.done, state.total) == (JobState.DONE, found.virtual_size, found.virtual_size), state
        return destination.read_bytes()

    def place(self, content: bytes = b"", size: int | None = None) -> str:
        """A place of the storage, filled from its beginning: here, a file."""
        path = self.workspace / uuid4().hex
        with path.open("wb") as file:
            file.write(content)
            file.truncate(size if size is not None else len(content))
        return str(path)


def bench_of(kind: str, folder: Path) -> Bench:
    """A bench for `memory` or `qemu`; the storage's places are files."""
    workspace = folder / "workspace"
    workspace.mkdir()

    def read(source: str, offset: int, length: int) -> bytes:
        with Path(source).open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def write(destination: str, offset: int, content: bytes) -> None:
        with Path(destination).open("r+b") as file:
            file.seek(offset)
            file.write(content)

    def run(errand: Errand) -> None:
        done = subprocess.run(errand.command, capture_output=True, text=True, check=False)
        if "No space left" in done.stderr:
            raise TransientError("pool-full", "the storage is full")
        if done.returncode:
            raise TransientError("imaging-failed", done.stderr)

    imaging: Imaging = QemuImaging(**LIMITS)
    if kind == "memory":
        imaging = MemoryImaging(write=write, read=read, run=run, **LIMITS)
    return Bench(imaging, folder / "source with, odd:name", workspace, {})
