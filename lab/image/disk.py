"""Disk images out of files, without mounts: GRUB for both firmware modes, file systems, the partition table.

What is on the disk, and how its operating system boots, is told by the images that use this.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

MIB = 1024 * 1024
SECTOR = 512
BIOS_MODULES = ("biosdisk", "part_msdos", "fat", "linux", "boot")
UEFI_MODULES = ("part_msdos", "fat", "linux", "boot")


def grub(out: Path, platform: str, prefix: str, modules: Sequence[str], config: str) -> Path:
    """GRUB with its whole `config` inside: no menu, nothing more to read. `platform` is i386-pc or x86_64-efi.

    Without the module `normal` the config is plain commands, one a line.
    """
    script = out.with_suffix(".cfg")
    script.write_text(config)
    _run("grub-mkimage", "-O", platform, "-o", out, "-p", prefix, "-c", script, *modules)
    return out


def fat(out: Path, mib: int, label: str, files: Mapping[str, Path]) -> Path:
    """A FAT16 of `mib` MiB with `files`, paths within it such as "EFI/BOOT/BOOTX64.EFI"."""
    _run("mkfs.vfat", "-C", "-F", "16", "-n", label, out, str(mib * 1024))
    folders = {str(parent) for name in files for parent in Path(name).parents if str(parent) != "."}
    if folders:
        _run("mmd", "-i", out, *(f"::{folder}" for folder in sorted(folders)))
    for name, source in files.items():
        _run("mcopy", "-i", out, source, f"::{name}")
    return out


def ext4(out: Path, mib: int, label: str, root: Path) -> Path:
    """An ext4 of `mib` MiB with what is below `root`, with the owners and modes it has there."""
    _run("mkfs.ext4", "-q", "-d", root, "-L", label, "-m", "0", out, f"{mib}M")
    return out


def assemble(out: Path, core: Path, boot: Path, root: Path) -> Path:
    """A raw disk: boot sector, GRUB's `core` behind it, the FAT `boot` (an EFI system partition) and `root`.

    Raises ValueError when the core does not fit before the first partition (at 1 MiB).
    """
    code = core.read_bytes()
    if len(code) > MIB - SECTOR:
        raise ValueError(f"GRUB's core of {len(code)} bytes does not fit before the first partition")
    boot_mib, root_mib = boot.stat().st_size // MIB, root.stat().st_size // MIB
    with out.open("wb") as image:
        image.truncate((1 + boot_mib + root_mib) * MIB)
    table = (
        f"label: dos\nstart=1MiB, size={boot_mib}MiB, type=ef, bootable\n"
        f"start={1 + boot_mib}MiB, size={root_mib}MiB, type=83\n"
    )
    subprocess.run(["sfdisk", "-q", out], input=table, text=True, check=True, capture_output=True)
    with out.open("r+b") as image:
        # The first 440 bytes are code, the rest of the sector is the partition table.
        image.write(Path("/usr/lib/grub/i386-pc/boot.img").read_bytes()[:440])
        image.seek(SECTOR)
        image.write(code)
    for start, source in ((1, boot), (1 + boot_mib, root)):
        copy = ["dd", f"if={source}", f"of={out}", "bs=1M", f"seek={start}", "conv=notrunc,sparse", "status=none"]
        _run(*copy)
    return out


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)
