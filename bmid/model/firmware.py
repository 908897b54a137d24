"""Which firmware can start a disk, found by looking at its bytes: partition tables here, the FAT of an ESP in fat.py.

Pure: bytes come through a function, and whatever they are, the answer is a tuple.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

from bmid.model.entity import Firmware
from bmid.model.fat import holds_file
from bmid.model.window import Unreadable, Window

__all__ = ["firmware_modes"]

_SECTOR = 512
_ESP = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b").bytes_le
_BIOS_BOOT = UUID("21686148-6449-6e6f-744e-656564454649").bytes_le
_LEGACY_BOOTABLE = 1 << 2  # of a GPT entry's attributes: started by the code of syslinux's gptmbr
_MBR_GPT = 0xEE
_MBR_ESP = 0xEF
_MOST_ENTRIES = 512
_LOADER = ("EFI", "BOOT", "BOOTX64.EFI")


@dataclass(frozen=True)
class _Partition:
    """Where a partition begins (bytes), whether it is an ESP, and whether a BIOS's boot code would go by it."""

    start: int
    esp: bool
    bios: bool


def firmware_modes(read: Callable[[int, int], bytes]) -> tuple[str, ...]:
    """The modes ("bios", "uefi") in which a disk can start; () for a disk without partitions, or an unknown one.

    `read(offset, length)` gives bytes of the disk, fewer at its end; it is asked for a few MiB at most. What it
    raises is passed on.
    """
    disk = Window(read)
    try:
        sector = disk.get(0, _SECTOR)
        if sector[510:] != b"\x55\xaa":
            return ()
        table = list(_mbr(sector))
        gpt = any(kind == _MBR_GPT for kind, _, _ in table)
        partitions = list(_gpt(disk)) if gpt else [_Partition(s, k == _MBR_ESP, True) for k, s, _ in table]
    except Unreadable:
        return ()
    modes = []
    hybrid = any(active and kind != _MBR_GPT for kind, _, active in table)
    if any(sector[:440]) and (hybrid or any(partition.bios for partition in partitions)):
        modes.append(Firmware.BIOS.value)
    if any(partition.esp and holds_file(disk, partition.start, _LOADER) for partition in partitions):
        modes.append(Firmware.UEFI.value)
    return tuple(modes)


def _mbr(sector: bytes) -> Iterator[tuple[int, int, bool]]:
    """Type, start in bytes and the active flag of each entry that is used."""
    for number in range(4):
        status, kind, first, count = struct.unpack_from("<B3xB3xII", sector, 446 + 16 * number)
        if kind and first and count:
            yield kind, first * _SECTOR, bool(status & 0x80)


def _gpt(disk: Window) -> Iterator[_Partition]:
    header = disk.get(_SECTOR, 92)
    if header[:8] != b"EFI PART":
        return
    first, count, size = struct.unpack_from("<QII", header, 72)
    if not 128 <= size <= 4096:
        return
    for number in range(min(count, _MOST_ENTRIES)):
        entry = disk.get(first * _SECTOR + number * size, 128)
        kind, start = entry[:16], struct.unpack_from("<Q", entry, 32)[0]
        if any(kind):
            bios = kind == _BIOS_BOOT or bool(struct.unpack_from("<Q", entry, 48)[0] & _LEGACY_BOOTABLE)
            yield _Partition(start * _SECTOR, kind == _ESP, bios)
