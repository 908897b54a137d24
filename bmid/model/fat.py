"""Just enough of FAT12, FAT16 and FAT32 to see whether a file is there, by its short name.

Nothing is written, and no contents are read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bmid.model.window import Unreadable, Window

__all__ = ["holds_file"]

_LONGEST_FOLDER = 1 << 20  # bytes
_FOLDER, _LABEL = 0x10, 0x08  # attributes; a part of a long name has both the label's and others


@dataclass(frozen=True)
class _Volume:
    """Places in bytes from the start of the disk. `bits` is 12, 16 or 32; `root` is FAT32's first cluster."""

    bits: int
    table: int
    data: int
    cluster: int
    clusters: int
    root: int
    fixed_root: int
    fixed_root_size: int


def holds_file(disk: Window, start: int, path: Sequence[str]) -> bool:
    """Whether the file system at `start` (bytes) holds a file with this path, in capitals. Never raises for bytes."""
    try:
        volume = _volume(disk, start)
        folder = 0 if volume is not None else None
        for depth, name in enumerate(path, 1):
            if volume is None or folder is None:
                return False
            folder = _look(disk, volume, folder, name, is_folder=depth < len(path))
        return folder is not None
    except Unreadable:
        return False


def _volume(disk: Window, start: int) -> _Volume | None:
    sector = disk.get(start, 512)
    size, per_cluster, reserved, tables, entries, small, _, short = struct.unpack_from("<HBHBHHBH", sector, 11)
    large, long = struct.unpack_from("<II", sector, 32)
    sectors, table_size = small or large, short or long
    if size not in (512, 1024, 2048, 4096) or not per_cluster or not reserved or not tables or not table_size:
        return None
    root_size = -(-entries * 32 // size)
    data = reserved + tables * table_size + root_size
    clusters = (sectors - data) // per_cluster
    if clusters < 1:
        return None
    bits = 12 if clusters < 4085 else 16 if clusters < 65525 else 32
    return _Volume(
        bits=bits,
        table=start + reserved * size,
        data=start + data * size,
        cluster=per_cluster * size,
        clusters=clusters,
        root=struct.unpack_from("<I", sector, 44)[0] if bits == 32 else 0,
        fixed_root=start + (reserved + tables * table_size) * size,
        fixed_root_size=entries * 32,
    )


def _look(disk: Window, volume: _Volume, folder: int, name: str, is_folder: bool) -> int | None:
    """The first cluster of an entry of the folder that begins at cluster `folder` (0: the root)."""
    stem, _, suffix = name.partition(".")
    wanted = stem.ljust(8).encode() + suffix.ljust(3).encode()
    for content in _contents(disk, volume, folder):
        for place in range(0, len(content) - 31, 32):
            entry = content[place : place + 32]
            if entry[0] == 0:
                return None
            if entry[:11] == wanted and not entry[11] & _LABEL and bool(entry[11] & _FOLDER) == is_folder:
                high, low = struct.unpack_from("<H4xH", entry, 20)
                return int(low | (high << 16 if volume.bits == 32 else 0))
    return None


def _contents(disk: Window, volume: _Volume, folder: int) -> Iterator[bytes]:
    if not folder and volume.bits != 32:
        yield disk.get(volume.fixed_root, volume.fixed_root_size)
        return
    cluster = folder or volume.root
    for _ in range(max(1, _LONGEST_FOLDER // volume.cluster)):
        if not 2 <= cluster < volume.clusters + 2:
            return
        yield disk.get(volume.data + (cluster - 2) * volume.cluster, volume.cluster)
        cluster = _next(disk, volume, cluster)


def _next(disk: Window, volume: _Volume, cluster: int) -> int:
    if volume.bits == 12:
        pair = struct.unpack("<H", disk.get(volume.table + cluster * 3 // 2, 2))[0]
        return int(pair >> 4 if cluster & 1 else pair & 0xFFF)
    if volume.bits == 16:
        return int(struct.unpack("<H", disk.get(volume.table + cluster * 2, 2))[0])
    return int(struct.unpack("<I", disk.get(volume.table + cluster * 4, 4))[0] & 0x0FFFFFFF)
