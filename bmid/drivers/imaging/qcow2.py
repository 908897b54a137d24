"""Reading qcow2 just far enough to refuse what must never be opened, and to see that nothing is cut off.

By the format's specification (QEMU's docs/interop/qcow2.txt). Contents are not read here.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from bmid.drivers.imaging.verdict import Limits, Unfit, human

__all__ = ["Extent", "Qcow2", "read_qcow2", "refuse_cut"]

_OFFSET = 0x00FF_FFFF_FFFF_FE00
_COMPRESSED = 1 << 62
_ZERO = 1
_CORRUPT, _DATA_FILE, _COMPRESSION, _EXTENDED_L2 = 2, 4, 8, 16
_KNOWN = 1 | _CORRUPT | _DATA_FILE | _COMPRESSION | _EXTENDED_L2
_DATA_FILE_NAME, _END = 0x44415441, 0
_LONGEST_L1 = 32 << 20  # bytes; QEMU's own limit
_FLATTEN = "make one complete file with `qemu-img convert -O qcow2`, then import that"
_DAMAGED = "the qcow2 file is damaged or cut off: copy or upload it again"


@dataclass(frozen=True)
class Extent:
    """Bytes of the disk, and where they lie in the file. A compressed one is as long as its sectors, at most."""

    guest: int
    host: int
    length: int
    compressed: bool


@dataclass(frozen=True)
class Qcow2:
    """What the header says."""

    size: int
    cluster: int
    l1_offset: int
    l1_entries: int
    extended: bool

    def extents(self, file: BinaryIO) -> Iterator[Extent]:
        """All clusters that lie in the file. Raises Unfit where a table isn't there."""
        words = 2 if self.extended else 1
        entries = self.cluster // (8 * words)
        l1 = _table(file, self.l1_offset, self.l1_entries)[: -(-self.size // (entries * self.cluster))]
        for number, entry in enumerate(l1):
            if offset := entry & _OFFSET:
                l2 = _table(file, offset, self.cluster // 8)[::words]
                for place, found in enumerate(l2):
                    if found and (extent := self._extent((number * entries + place) * self.cluster, found)):
                        yield extent

    def _extent(self, guest: int, entry: int) -> Extent | None:
        length = min(self.cluster, self.size - guest)
        if length <= 0:
            return None
        if entry & _COMPRESSED:
            bits = 62 - (self.cluster.bit_length() - 9)
            host = entry & ((1 << bits) - 1)
            sectors = ((entry & (_COMPRESSED - 1)) >> bits) + 1
            return Extent(guest, host, sectors * 512 - host % 512, True)
        host = entry & _OFFSET
        # A cluster of zeros, or one of sub-clusters, may have been given a place without having been written.
        if not host or entry & _ZERO or self.extended:
            return None
        return Extent(guest, host, length, False)


def read_qcow2(file: BinaryIO, limits: Limits) -> Qcow2:
    """The header; Unfit for all that would make QEMU open another file, or that can't be served."""
    head = _read(file, 0, 72)
    version, backing, _, bits, size, crypt, entries, l1 = struct.unpack_from(">IQIIQIIQ", head, 4)
    if version not in (2, 3):
        raise Unfit("format-unsupported", f"qcow version {version} is not supported: convert it to qcow2")
    incompatible = _read(file, 72, 8) if version == 3 else bytes(8)
    flags = struct.unpack(">Q", incompatible)[0]
    if backing:
        raise Unfit("image-unsafe", f"the qcow2 file needs a backing file: {_FLATTEN}")
    if flags & _DATA_FILE or _names_data_file(file, version):
        raise Unfit("image-unsafe", f"the qcow2 file keeps its data in another file: {_FLATTEN}")
    if crypt:
        raise Unfit("image-unsafe", f"the qcow2 file is encrypted: {_FLATTEN}")
    if flags & ~_KNOWN:
        raise Unfit("format-unsupported", "the qcow2 file uses features that are not known here: convert it anew")
    if flags & _CORRUPT or not 9 <= bits <= 21 or entries * 8 > _LONGEST_L1:
        raise Unfit("image-damaged", _DAMAGED)
    if size > limits.virtual_size:
        detail = f"the image describes a disk of {human(size)}, the limit is {human(limits.virtual_size)}"
        raise Unfit("too-large", f"{detail}: import a smaller one, or have the limit raised")
    if not size:
        raise Unfit("image-empty", "the qcow2 file describes a disk of no size")
    return Qcow2(size, 1 << bits, l1, entries, bool(flags & _EXTENDED_L2))


def refuse_cut(qcow2: Qcow2, file: BinaryIO) -> None:
    """Unfit if a cluster should lie behind the end of the file, where QEMU would read zeros without a word."""
    end = file.seek(0, 2)
    covered = qcow2.l1_entries * (qcow2.cluster // (16 if qcow2.extended else 8)) * qcow2.cluster
    if covered < qcow2.size:
        raise Unfit("image-damaged", _DAMAGED)
    for extent in qcow2.extents(file):
        if extent.host + (1 if extent.compressed else extent.length) > end:
            raise Unfit("image-damaged", _DAMAGED)


def _names_data_file(file: BinaryIO, version: int) -> bool:
    place = struct.unpack(">I", _read(file, 100, 4))[0] if version == 3 else 72
    for _ in range(64):
        try:
            kind, length = struct.unpack(">II", _read(file, place, 8))
        except Unfit:
            return False
        if kind in (_END, _DATA_FILE_NAME):
            return bool(kind == _DATA_FILE_NAME)
        place += 8 + -(-length // 8) * 8
    return False


def _table(file: BinaryIO, offset: int, entries: int) -> array[int]:
    table = array("Q")
    table.frombytes(_read(file, offset, entries * 8))
    if sys.byteorder == "little":
        table.byteswap()
    return table


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    try:
        file.seek(offset)
    except (OSError, OverflowError, ValueError):  # an offset of 64 bits, which a file has not
        raise Unfit("image-damaged", _DAMAGED) from None
    content = file.read(length)
    if len(content) != length:
        raise Unfit("image-damaged", _DAMAGED)
    return content
