"""Storages to be tested, each with those who open, write and copy what is in it: a twin, a folder, a pool of Ceph.

The fixtures made of them are in tests/contract/conftest.py; somebody else's pools are in foreign_bed.py.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import rados

from bmid.drivers.base import Errand, Imaging, Job, JobState, Storage, Stored
from bmid.drivers.imaging.memory import MemoryImaging
from bmid.drivers.imaging.qemu import QemuImaging
from bmid.drivers.storage.directory import DirectoryStorage
from bmid.drivers.storage.memory import MemoryStorage
from bmid.drivers.storage.rbd import RbdStorage
from lab.ceph import Ceph
from tests.support.trash import emptied

MIB = 1 << 20

OPEN = """
import rados, rbd, sys
cluster = rados.Rados(conffile=sys.argv[1], rados_id=sys.argv[2]); cluster.connect()
image = rbd.Image(cluster.open_ioctx(sys.argv[3]), sys.argv[4])
image.write(b"held", 0)
print([w["addr"] for w in image.watchers_list() if w["id"] == cluster.get_instance_id()][0], flush=True)
sys.stdin.readline()
try:
    image.write(b"late", 0); image.flush()
    print("written", flush=True)
except rbd.Error as error:
    print("refused", flush=True)
"""


@dataclass
class Bed:
    """A storage, a way to write into an image or a disk, a way to hold a disk open as a target does, and who does the
    long work.

    `place` tells where a disk is written to. `hold` yields the address, and a function that tries to write: True if
    the write got through. `lineage`: an image that was made of another holds on to it.
    """

    storage: Storage
    imaging: Imaging
    write: Callable[[str, bytes], None]
    place: Callable[[str], str]
    hold: Callable[[str], AbstractContextManager[tuple[str, Callable[[], bool]]]]
    lineage: bool = True

    def golden(self, size: int = 4 * MIB, content: bytes = b"golden") -> str:
        image = uuid4().hex
        self.write(self.storage.create_image(image, size), content)
        self.storage.seal_image(image, {"image": image})
        return image

    def disk(self, image: str) -> str:
        disk = uuid4().hex
        self.storage.clone(image, disk, {"disk": disk})
        return disk

    def snapshot(self, disk: str, content: bytes | None = None) -> str:
        """A snapshot of the disk, after `content` was written to it."""
        if content is not None:
            self.write(self.place(disk), content)
        snapshot = uuid4().hex
        self.storage.freeze(disk, snapshot)
        return snapshot

    def duplicated(self, disk: str, snapshot: str, image: str | None = None) -> str:
        """An image made of it, whole and not golden yet."""
        image = image or uuid4().hex
        self.do(self.storage.duplicate(disk, snapshot, image))
        return image

    def do(self, errand: Errand | None) -> None:
        """The work that is left to a child, if there is any."""
        if errand is not None:
            job = uuid4().hex
            self.imaging.run(job, errand)
            state = settled(self.imaging, job)
            assert (state.state, state.done) == (JobState.DONE, errand.size), state

    def copy(self, source: str, size: int, destination: str) -> None:
        """All bytes from one place to another."""
        job = uuid4().hex
        self.imaging.copy(job, source, size, destination)
        state = settled(self.imaging, job)
        assert (state.state, state.done) == (JobState.DONE, size), state

    def bytes_of(self, image: str, size: int = 4 * MIB) -> bytes:
        """What whoever clones or copies a golden image gets."""
        copy = uuid4().hex
        self.copy(self.storage.address(image), size, self.storage.create_image(copy, size))
        return self.storage.read_image(copy, 0, size)

    def found(self, kind: str, identity: str) -> Stored | None:
        return next((s for s in self.storage.inventory() if (s.kind, s.id) == (kind, identity)), None)

    def purge(self) -> int:
        return emptied(self.storage)


def settled(imaging: Imaging, job: str, deadline: float = 60) -> Job:
    """How a job ended."""
    end = time.monotonic() + deadline
    while (state := imaging.poll(job, patience=1)) is not None and state.state is JobState.RUNNING:
        assert time.monotonic() < end, "the job doesn't end"
    assert state is not None
    return state


def memory_bed(errands: bool = True) -> Bed:
    storage = MemoryStorage(owners=True, errands=errands)
    imaging = MemoryImaging(write=storage.write, read=storage.read, run=storage.run)

    @contextmanager
    def hold(disk: str) -> Iterator[tuple[str, Callable[[], bool]]]:
        address = f"127.0.0.1:0/{uuid4().int % 2**32}"
        storage.open(disk, address)
        yield address, lambda: storage.has_open(disk, address)
        storage.release(disk, address)

    def write(destination: str, content: bytes) -> None:
        storage.write(destination, 0, content)

    return Bed(storage, imaging, write, lambda disk: f"memory:{disk}", hold)


def directory_bed(folder: Path, cow: bool = False) -> Bed:
    """A folder; with `cow` it takes its file system for one that shares blocks, which then copies in their place."""
    storage = DirectoryStorage(folder)
    if cow:
        vars(storage)["capabilities"] = replace(storage.capabilities, cow=True, live_snapshot=True)

    def hold(disk: str) -> AbstractContextManager[tuple[str, Callable[[], bool]]]:
        raise AssertionError("a folder knows no owners")

    return Bed(storage, QemuImaging(), with_qemu, lambda disk: storage.backing(disk).path, hold, lineage=False)


def with_qemu(destination: str, content: bytes) -> None:
    """Write with the program that conversions use, so that the destination is tried as it will be used."""
    length = len(content) + -len(content) % 512
    done = subprocess.run(
        ["qemu-io", "-f", "raw", "-c", f"write -P {content[0]} 0 {length}", destination],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout


def rbd_bed(ceph: Ceph) -> Bed:
    storage = RbdStorage(ceph.conf, ceph.user, ceph.pool, ceph.tgt_conf, timeout=30)

    def place(disk: str) -> str:
        return f"rbd:{ceph.pool}/disk-{disk}:conf={ceph.conf}:id={ceph.user}"

    @contextmanager
    def hold(disk: str) -> Iterator[tuple[str, Callable[[], bool]]]:
        arguments = [str(ceph.tgt_conf), ceph.user, ceph.pool, f"disk-{disk}"]
        child = subprocess.Popen(
            [sys.executable, "-c", OPEN, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert child.stdin
        assert child.stdout

        def write() -> bool:
            child.stdin.write("\n")
            child.stdin.flush()
            return child.stdout.readline().strip() == "written"

        try:
            yield child.stdout.readline().strip(), write
        finally:
            child.kill()
            child.communicate()

    return Bed(storage, QemuImaging(), with_qemu, place, hold)


@contextmanager
def pool_at(conf: Path, user: str, pool: str) -> Iterator[rados.Ioctx]:
    """A pool, over a connection that has nothing to do with the driver's."""
    options = {"rbd_default_clone_format": "2"}
    with rados.Rados(conffile=str(conf), rados_id=user, conf=options) as cluster, cluster.open_ioctx(pool) as ioctx:
        yield ioctx


def pool_of(ceph: Ceph, pool: str | None = None) -> AbstractContextManager[rados.Ioctx]:
    """The same, of a cluster: bmid's own pool, or another one."""
    return pool_at(ceph.conf, ceph.user, pool or ceph.pool)


def seconds(action: Callable[[], object]) -> float:
    """How long it takes."""
    begin = time.monotonic()
    action()
    return time.monotonic() - begin
