"""The disk that every image of a sandbox seems to be: one that BIOS and UEFI firmware would start."""

from __future__ import annotations

import struct

__all__ = ["bootable_disk"]

_SECTOR = 512
_EFI_PARTITION, _ACTIVE = 0xEF, 0x80
_FOLDER, _FILE = 0x10, 0x20
_PARTITION_SECTORS = 6  # boot sector, allocation table, root folder, and a cluster for each of EFI, BOOT and the loader


def bootable_disk() -> bytes:
    """Boot code, and one partition: a FAT12 that holds EFI/BOOT/BOOTX64.EFI."""
    entry = struct.pack("<B3xB3xII", _ACTIVE, _EFI_PARTITION, 1, _PARTITION_SECTORS)
    master = b"\xeb\xfe".ljust(446, b"\0") + entry + bytes(48) + b"\x55\xaa"
    parameters = struct.pack(
        "<3s8sHBHBHHBH", b"\xeb\xfe\x90", b"sandbox", _SECTOR, 1, 1, 1, 16, _PARTITION_SECTORS, 0xF8, 1
    )
    folders = (("EFI", "", _FOLDER, 2), ("BOOT", "", _FOLDER, 3), ("BOOTX64", "EFI", _FILE, 4))
    sectors = [master, parameters, b"\xff" * _SECTOR, *(_folder(*each) for each in folders), b"MZ"]
    return b"".join(sector.ljust(_SECTOR, b"\0") for sector in sectors)


def _folder(stem: str, suffix: str, attributes: int, cluster: int) -> bytes:
    """A folder with one entry."""
    name = stem.ljust(8).encode() + suffix.ljust(3).encode()
    return struct.pack("<11sB8xH4xHI", name, attributes, 0, cluster, 2)
