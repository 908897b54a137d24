"""What was written to which disk, and what a node was told of it: the judge of bytes. No I/O.

A block holds the last write that was acknowledged, or a later one whose end nobody knows. Whatever else is found there
is wrong: a lost write, one that appears later than it may, or somebody else's.
"""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass, field

__all__ = ["BLOCK", "Ledger", "golden", "offset"]

BLOCK = 4096
SECTOR = 512
BLOCKS = 48  # of each disk that are written to
FIRST = 1 << 20  # bytes before the first of them
SIZE = 8 << 20  # bytes of a golden image


def offset(block: int) -> int:
    """Where a block begins, in bytes. They lie apart, so that several RADOS objects and files' extents have some."""
    return FIRST + block * 32 * BLOCK


def text(disk: str, block: int, sequence: int) -> bytes:
    """A sector of a block."""
    return f"bmi chaos {disk} {block} {sequence} ".encode().ljust(SECTOR, b".")


def content(disk: str, block: int, sequence: int) -> bytes:
    """A whole block."""
    return text(disk, block, sequence) * (BLOCK // SECTOR)


def golden(name: str) -> bytes:
    """A golden image: a boot sector that firmware would start, and blocks that say whose they are."""
    sector = b"\xfa\x31\xc0".ljust(446, b"\x90") + bytes.fromhex("80000000830000000008000000180000")
    image = bytearray(SIZE)
    image[:SECTOR] = sector.ljust(510, b"\0") + b"\x55\xaa"
    for block in range(BLOCKS):
        image[offset(block) : offset(block) + BLOCK] = content(f"golden-{name}", block, 0)
    return bytes(image)


@dataclass
class _Block:
    told: int | None = None  # the last one that was acknowledged
    perhaps: set[int] = field(default_factory=set)


@dataclass
class _User:
    """Who has the disk: the newest generation under which a write was acknowledged, and whose it was."""

    generation: int = 0
    node: str = ""


class Ledger:
    """Shared by all nodes. Sequence numbers are given once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._disks: dict[str, dict[int, _Block]] = {}
        self.acknowledged = 0
        self.verified = 0
        self.wrong: list[str] = []
        self.inherited: set[tuple[str, str]] = set()  # (disk, whose text was found in it: a disk's, or a golden file's)
        self._users: dict[str, _User] = {}
        self._late: dict[int, str] = {}  # writes that were sent after somebody else had the disk

    def begin(self, disk: str, block: int, generation: int = 0, node: str = "") -> tuple[int, bytes]:
        """A write is about to be sent by a node that was led to this generation: its number and its bytes."""
        with self._lock:
            number = next(self._numbers)
            self._disks.setdefault(disk, {}).setdefault(block, _Block()).perhaps.add(number)
            user = self._users.get(disk, _User())
            if generation < user.generation or (generation == user.generation and user.node not in ("", node)):
                before = f"{user.node} had written under generation {user.generation}"
                self._late[number] = f"{node} under generation {generation}, after {before}"
        return number, content(disk, block, number)

    def told(self, disk: str, block: int, number: int, generation: int = 0, node: str = "") -> None:
        """The write is on disk, the node was told: nothing of before may be seen any more. Wrong, where the disk was
        somebody else's already when it was sent."""
        with self._lock:
            self._disks[disk][block] = _Block(number)
            self.acknowledged += 1
            if number in self._late:
                self.wrong.append(f"disk {disk} block {block} was written by {self._late[number]}")
            elif generation >= self._users.get(disk, _User()).generation:
                self._users[disk] = _User(generation, node)

    def check(self, disk: str, block: int, found: bytes, where: str) -> bool:
        """Bytes that were read from the begin of a block, whole sectors; False if they are wrong."""
        with self._lock:
            known = self._disks.get(disk, {}).get(block, _Block())
            allowed = known.perhaps | ({known.told} if known.told is not None else set())
            for start in range(0, len(found), SECTOR):
                sector = found[start : start + SECTOR]
                if known.told is None and self._of_image(disk, block, sector):
                    continue
                if any(sector == text(disk, block, number) for number in allowed):
                    continue
                shown = sector[:80].strip(b".\0").decode(errors="replace") or "nothing"
                self.wrong.append(f"{where}: disk {disk} block {block}: {shown!r}, not one of {sorted(allowed)}")
                return False
            self.verified += len(found)
            return True

    def written(self, disk: str) -> list[int]:
        """The blocks of a disk that anything was sent to."""
        with self._lock:
            return sorted(self._disks.get(disk, {}))

    def _of_image(self, disk: str, block: int, sector: bytes) -> bool:
        """Whether it can come from the image: a golden file's, or of a disk that an image was made from; which one that
        is is written down, to be looked up at the end."""
        words = sector.split()
        if len(words) < 5 or words[:2] != [b"bmi", b"chaos"] or words[3] != str(block).encode():
            return False
        whose = words[2].decode()
        if whose == disk:
            return False
        self.inherited.add((disk, whose))
        return True
