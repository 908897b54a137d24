"""A real Debian 12 with its root on iSCSI, for BIOS and UEFI: what a site's golden image looks like.

Its initramfs (open-iscsi) takes target and network from the firmware's iBFT; cloud-init is there and stays off until
a seed turns up; its root has no password on the serial console. When it is up it prints a line like the tiny image's:

    BMI-DEBIAN host=n1 root=/dev/sda2 seen=golden found=- wrote=n1-5f3a9c21

A unit of its own (debian.d/iscsi-network) keeps the NIC of the root disk up: cloud-init with systemd-networkd would
take it down. The settings below debian.d are an example for sites too; nothing there depends on the lab.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from lab.image import disk
from lab.image.cache import build_once, recipe_name

BOOT_MIB = 16
ROOT_MIB = 2048
PACKAGES = (
    "systemd-sysv", "udev", "kmod", "iproute2", "login", "passwd", "util-linux", "e2fsprogs", "ca-certificates",
    "open-iscsi", "linux-image-cloud-amd64", "initramfs-tools", "busybox", "openssh-server", "sudo", "dbus",
    # 12's cloud-init only recommends cffi, and its NoCloud source fails without.
    "cloud-init", "python3-cffi-backend",
)  # fmt: skip
KERNEL_ARGUMENTS = "root=LABEL=debian ro console=ttyS0 quiet mitigations=off"


class DebianImage:
    """Builds the image into `cache` (a folder), once for each recipe; `marker` is the text of its /marker file."""

    def __init__(self, cache: Path, marker: str = "golden") -> None:
        self._cache = cache.absolute()
        self._marker = marker
        self._recipe = Path(__file__).parent / "debian.d"

    @property
    def path(self) -> Path:
        """Where the raw image (sparse, 2 GiB, 0.7 GiB in use) is or will be."""
        code = [Path(__file__), Path(disk.__file__)]
        return self._cache / recipe_name("debian", [*code, *sorted(self._recipe.iterdir())], self._marker)

    def build(self) -> Path:
        """The raw image, built if it is not in the cache yet: about two minutes, and needs Debian's mirror.

        Raises subprocess.CalledProcessError when a tool fails; its stderr says why.
        """
        return build_once(self.path, self._assemble)

    def _assemble(self, work: Path) -> Path:
        root = self._install(work)
        common = (
            "search --no-floppy --set=root --label debian\n"
            f"linux /vmlinuz {KERNEL_ARGUMENTS}\ninitrd /initrd.img\nboot\n"
        )
        more = ("ext2", "search", "search_label", "gzio")
        efi = disk.grub(work / "boot.efi", "x86_64-efi", "/boot", (*disk.UEFI_MODULES, *more), common)
        core = disk.grub(work / "core", "i386-pc", "(,msdos2)/boot", (*disk.BIOS_MODULES, *more), common)
        boot = disk.fat(work / "boot.fat", BOOT_MIB, "ESP", {"EFI/BOOT/BOOTX64.EFI": efi})
        return disk.assemble(work / "disk.raw", core, boot, disk.ext4(work / "root.ext4", ROOT_MIB, "debian", root))

    def _install(self, work: Path) -> Path:
        root = work / "root"
        subprocess.run(
            ["mmdebstrap", "--quiet", "--variant=minbase", "--mode=root", f"--include={','.join(PACKAGES)}",
             f'--customize-hook=sh "{self._recipe}/customize" "$1" "{self._recipe}" "{self._marker}"',
             "bookworm", root],
            check=True, capture_output=True,
        )  # fmt: skip
        return root
