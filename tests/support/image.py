"""Small image files: disks that firmware would start, in every form that is taken, and some that are not."""

from __future__ import annotations

import gzip
import lzma
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

MIB = 1 << 20
_SECTOR = 512


def zstd(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-qc"], input=content, check=True, capture_output=True).stdout


PACKERS: dict[str, Callable[[bytes], bytes]] = {"plain": bytes, "gz": gzip.compress, "xz": lzma.compress, "zst": zstd}


def bios_disk(size: int = 4 * MIB, mark: bytes = b"golden") -> bytes:
    """A raw disk with boot code and one partition, which holds `mark`."""
    sector = bytearray(b"\xfa\x31\xc0".ljust(446, b"\x90"))
    sector += struct.pack("<B3xB3xII", 0x80, 0x83, 2048, size // _SECTOR - 2048) + bytes(48) + b"\x55\xaa"
    disk = bytearray(size)
    disk[:_SECTOR] = sector
    disk[MIB : MIB + len(mark)] = mark
    disk[-len(mark) :] = mark
    return bytes(disk)


def uefi_disk(folder: Path) -> bytes:
    """A raw disk with an ESP that holds a loader, and no boot code."""
    esp, loader = folder / "esp", folder / "loader"
    loader.write_bytes(b"MZ")
    esp.write_bytes(bytes(4 * MIB))
    commands = [["mkfs.vfat", str(esp)], ["mmd", "-i", str(esp), "::EFI", "::EFI/BOOT"]]
    commands.append(["mcopy", "-i", str(esp), str(loader), "::EFI/BOOT/BOOTX64.EFI"])
    for command in commands:
        subprocess.run(command, check=True, capture_output=True)
    entry = struct.pack("<B3xB3xII", 0, 0xEF, 2048, 4 * MIB // _SECTOR)
    return (bytes(446) + entry + bytes(48) + b"\x55\xaa").ljust(MIB, b"\0") + esp.read_bytes()


def qcow2(folder: Path, raw: bytes, *options: str) -> bytes:
    """The raw disk as a qcow2 file."""
    before, after = folder / "disk.raw", folder / "disk.qcow2"
    before.write_bytes(raw)
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, str(before), str(after)]
    subprocess.run(command, check=True, capture_output=True)
    before.unlink()
    return after.read_bytes()


def empty_qcow2(folder: Path, size: str, *options: str) -> bytes:
    """What `qemu-img create` makes."""
    file = folder / "created.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(file), size], check=True)
    return file.read_bytes()
