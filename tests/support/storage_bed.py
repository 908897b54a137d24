"""Storages to be tested, each with the clients that open and write its disks: a twin, a folder, a pool of Ceph."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from bmid.drivers.base import Storage, Stored
from bmid.drivers.storage.memory import MemoryStorage
from bmid.drivers.storage.rbd import RbdStorage

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
    """A storage, a way to write into an image, and a way to hold a disk open as a target does.

    `hold` yields the address, and a function that tries to write: True if the write got through.
    """

    storage: Storage
    write: Callable[[str, bytes], None]
    hold: Callable[[str], AbstractContextManager[tuple[str, Callable[[], bool]]]]

    def golden(self, size: int = 4 * MIB, content: bytes = b"golden") -> str:
        image = uuid4().hex
        self.write(self.storage.create_image(image, size), content)
        self.storage.seal_image(image, {"image": image})
        return image

    def found(self, kind: str, identity: str) -> Stored | None:
        return next((s for s in self.storage.inventory() if (s.kind, s.id) == (kind, identity)), None)


def memory_bed() -> Bed:
    storage = MemoryStorage(owners=True)

    @contextmanager
    def hold(disk: str) -> Iterator[tuple[str, Callable[[], bool]]]:
        address = f"127.0.0.1:0/{uuid4().int % 2**32}"
        storage.open(disk, address)
        yield address, lambda: storage.has_open(disk, address)
        storage.release(disk, address)

    return Bed(storage, lambda destination, content: storage.write(destination, 0, content), hold)


def with_qemu(destination: str, content: bytes) -> None:
    """Write with the program that conversions use, so that the destination is tried as it will be used."""
    length = len(content) + -len(content) % 512
    done = subprocess.run(
        ["qemu-io", "-f", "raw", "-c", f"write -P {content[0]} 0 {length}", destination],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr + done.stdout


def rbd_bed(ceph: Any) -> Bed:
    storage = RbdStorage(ceph.conf, ceph.user, ceph.pool, ceph.tgt_conf, timeout=10)

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

    return Bed(storage, with_qemu, hold)
