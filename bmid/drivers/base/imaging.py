"""The imaging port: work on image files, in child processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from bmid.drivers.base.storage import Errand

__all__ = ["ImageFile", "Imaging", "Job", "JobState"]


class JobState(StrEnum):
    """Where a child process is."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class ImageFile:
    """What was found by looking at a file: sizes in bytes, digest of the bytes as they came in, empty
    while that isn't known."""

    format: str
    compression: str | None
    size: int
    virtual_size: int
    sha256: str


@dataclass(frozen=True)
class Job:
    """A child process as it stands. `problem` is set when it failed: slug, detail and whether a retry could help."""

    state: JobState
    done: int = 0
    total: int = 0
    result: ImageFile | None = None
    problem: tuple[str, str, bool] | None = None


class Imaging(ABC):
    """Work on image files, in child processes with limits on time, memory and files. Jobs are named by ids and
    die with this process; a job that is not known is started anew by its step."""

    @abstractmethod
    def check(self) -> str:
        """Whether the tools are there; says their versions."""

    @abstractmethod
    def inspect(self, job: str, source: Path, workspace: Path, sha256: str | None, declared: str | None) -> None:
        """Start: find format and size, refuse what is dangerous; unpack (gz, xz, zst) below `workspace`, a folder that
        is made if need be; then all is read and digested on the way. `sha256` is the digest that was promised: where
        something is wrong with the file, one that differs is told instead."""

    @abstractmethod
    def digest(self, job: str, file: Path, found: ImageFile, sha256: str | None) -> None:
        """Start: read all of a file that `inspect` found; `result` is the same with its digest. Fails if another was
        promised. May run beside `convert`."""

    @abstractmethod
    def convert(self, job: str, file: Path, found: ImageFile, destination: str) -> None:
        """Start: copy the file that `inspect` found (format forced) into the storage's destination, as raw."""

    @abstractmethod
    def copy(self, job: str, source: str, size: int, destination: str) -> None:
        """Start: copy raw bytes from one place to another that exists already and is empty, as is one that `convert`
        writes to; both as the storage names them."""

    @abstractmethod
    def write(self, job: str, source: str, size: int, file: Path, format: Literal["raw", "qcow2"]) -> None:
        """Start: write raw bytes, from a place as the storage names it, to a new file. An unfinished one of that name
        is dropped; when the job is done, the file is whole and on the disk, and `result` has its size and digest."""

    @abstractmethod
    def run(self, job: str, errand: Errand) -> None:
        """Start: a storage's own tool, under the same limits."""

    @abstractmethod
    def poll(self, job: str, patience: float = 0.0) -> Job | None:
        """How a job stands; None if it isn't known. One that runs is given `patience` seconds (at most 2) to end."""

    @abstractmethod
    def jobs(self) -> tuple[str, ...]:
        """All jobs that are known: they run, or have ended and nobody has cancelled them yet."""

    @abstractmethod
    def unpacked(self, source: Path, workspace: Path, found: ImageFile) -> Path:
        """The file that holds the image after `inspect`: the source itself, or the unpacked one."""

    @abstractmethod
    def cancel(self, job: str) -> None:
        """Ensure that the job's processes are gone and forgotten."""
