"""A qcow2 file written without QEMU: version 3, no packing, nothing but what its readers need. For the twin only."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import BinaryIO

__all__ = ["write_qcow2"]

_BITS = 16
_CLUSTER = 1 << _BITS
_ENTRIES = _CLUSTER // 8  # of a table that fills one cluster
_COUNTS = _CLUSTER // 2  # 16-bit reference counts in one cluster
_OURS = 1 << 63  # "referenced once, so it may be written in place"
_HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")


def write_qcow2(file: BinaryIO, chunks: Iterable[tuple[int, bytes]], size: int) -> None:
    """Write a disk of `size` bytes; `chunks` are its bytes in order, each at a multiple of 64 KiB."""
    clusters = -(-size // _CLUSTER)
    tables = -(-clusters // _ENTRIES)
    first = 1 + -(-tables * 8 // _CLUSTER)  # after the header come the table of tables, the tables, the data
    used = first + tables
    places = [0] * (tables * _ENTRIES)
    for offset, chunk in chunks:
        for begin in range(0, len(chunk), _CLUSTER):
            if (part := chunk[begin : begin + _CLUSTER]) != bytes(len(part)):
                file.seek(used * _CLUSTER)
                file.write(part.ljust(_CLUSTER, b"\0"))
                places[(offset + begin) // _CLUSTER] = used * _CLUSTER | _OURS
                used += 1
    file.seek(first * _CLUSTER)
    file.write(struct.pack(f">{len(places)}Q", *places))
    file.seek(_CLUSTER)
    file.write(struct.pack(f">{tables}Q", *((first + table) * _CLUSTER | _OURS for table in range(tables))))
    counted = _count(file, used)
    header = (b"QFI\xfb", 3, 0, 0, _BITS, size, 0, tables, _CLUSTER, used * _CLUSTER, counted)
    file.seek(0)
    file.write(_HEADER.pack(*header, 0, 0, 0, 0, 0, 4, _HEADER.size))


def _count(file: BinaryIO, used: int) -> int:
    """Reference counts, of themselves too, behind all else: one for each cluster. Clusters of their table."""
    blocks = table = 1
    while True:
        needed = -(-(used + table + blocks) // _COUNTS), -(-blocks * 8 // _CLUSTER)
        if (blocks, table) == needed:
            break
        blocks, table = needed
    file.seek(used * _CLUSTER)
    entries = [(used + table + block) * _CLUSTER for block in range(blocks)]
    file.write(struct.pack(f">{blocks}Q", *entries).ljust(table * _CLUSTER, b"\0"))
    counts = struct.pack(">H", 1) * (used + table + blocks)
    file.write(counts.ljust(blocks * _CLUSTER, b"\0"))
    return table
