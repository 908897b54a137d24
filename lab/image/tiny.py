"""The tiny image: a kernel and busybox on 56 MiB that boots from an iSCSI disk, by BIOS and by UEFI.

It is a stand-in for an operating system that is quick to boot, not a distribution. Its initramfs brings up the NIC
that the firmware booted from, logs in to the target that the firmware's iBFT names and hands over to busybox on the
ext4 partition of that disk, which prints one line on ttyS0, offers a login (root, no password) and goes on reading:

    BMI-TINY host=n1 root=/dev/sda2 seen=golden found=- wrote=n1-5f3a9c21

`host` is the name that DHCP gave, `seen` the text of /marker (part of the image), `found` what an earlier boot from
this very disk wrote, and `wrote` what this boot wrote (a text that no other boot writes). A disk with a seed beside it
(LUN 2) has its host name from there, and says before that which instance it is, and whether it was another one before:

    BMI-SEED instance=0198c2f0a1b27cd3a5e6f70812345678 host=web1 first=yes

It keeps the session of its initramfs and has no iscsid, so it does not outlive a restart of the target's server, and
it does not hear the power button. What a target sees of its boot is told in tests/boot/README.md.

Nothing else of the lab belongs here: who serves the disk and who powers the node is not its business.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from lab.image import disk
from lab.image.cache import build_once, recipe_name
from lab.image.module import load_order
from lab.image.package import PackageCache

BOOT_MIB = 30
ROOT_MIB = 25
SEED_MODULES = ("isofs",)
MODULES = ("virtio_pci", "virtio_net", "sd_mod", "iscsi_tcp", "iscsi_ibft", "crc32c_generic")
KERNEL_ARGUMENTS = "console=ttyS0 quiet panic=5 mitigations=off no_timer_check"


class TinyImage:
    """Builds the image into `cache` (a folder), once for each recipe; `marker` is the text of its /marker file."""

    def __init__(self, cache: Path, marker: str = "golden") -> None:
        self._cache = cache.absolute()
        self._marker = marker
        self._packages = PackageCache(self._cache / "packages")

    @property
    def path(self) -> Path:
        """Where the raw image is or will be; the name changes whenever what goes into it does."""
        code = [Path(__file__).with_name(name) for name in ("tiny.py", "disk.py", "module.py", "package.py")]
        return self._cache / recipe_name("tiny", [*code, *sorted(_recipe("init").parent.iterdir())], self._marker)

    def build(self) -> Path:
        """The raw image, built if it is not in the cache yet: about 5 s.

        Raises subprocess.CalledProcessError when a tool fails or Debian's packages are not to be had.
        """
        return build_once(self.path, self._assemble)

    def _assemble(self, work: Path) -> Path:
        unpacked = work / "unpacked"
        kernel = self._packages.kernel()
        for package in (kernel, "busybox-static", "open-iscsi", "libopeniscsiusr"):
            self._packages.unpack(package, unpacked)
        grub_config = f"linux /vmlinuz {KERNEL_ARGUMENTS}\ninitrd /initramfs\nboot\n"
        efi = disk.grub(work / "boot.efi", "x86_64-efi", "/boot", disk.UEFI_MODULES, grub_config)
        core = disk.grub(work / "core", "i386-pc", "(,msdos1)/boot", disk.BIOS_MODULES, grub_config)
        # Both firmware modes read the kernel from the FAT that UEFI needs anyway.
        files = {
            "vmlinuz": next((unpacked / "boot").glob("vmlinuz-*")),
            "initramfs": _initramfs(work, unpacked),
            "EFI/BOOT/BOOTX64.EFI": efi,
        }
        boot = disk.fat(work / "boot.fat", BOOT_MIB, "BOOT", files)
        root = disk.ext4(work / "root.ext4", ROOT_MIB, "bmi-tiny", self._root(work, unpacked))
        return disk.assemble(work / "disk.raw", core, boot, root)

    def _root(self, work: Path, unpacked: Path) -> Path:
        root = work / "root"
        _busybox(root, unpacked)
        for name in ("proc", "sys", "dev", "tmp", "root", "run", "etc"):
            (root / name).mkdir(exist_ok=True)
        (root / "marker").write_text(self._marker + "\n")
        (root / "etc/passwd").write_text("root::0:0:root:/root:/bin/sh\n")
        (root / "etc/group").write_text("root:x:0:\n")
        shutil.copy(_recipe("inittab"), root / "etc/inittab")
        shutil.copy(_recipe("rc"), root / "etc/rc")
        shutil.copy(_recipe("reader"), root / "etc/reader")
        return root


def _recipe(name: str) -> Path:
    return Path(__file__).parent / "tiny.d" / name


def _busybox(root: Path, unpacked: Path) -> None:
    """Busybox and a link for each of its commands; the names are the ones it says it has itself."""
    bin_folder = root / "bin"
    bin_folder.mkdir(parents=True)
    (root / "sbin").symlink_to("bin")
    shutil.copy(unpacked / "bin/busybox", bin_folder / "busybox")
    names = subprocess.run([bin_folder / "busybox", "--list"], check=True, capture_output=True, text=True).stdout
    for name in set(names.split()) - {"busybox"}:
        (bin_folder / name).symlink_to("busybox")


def _initramfs(work: Path, unpacked: Path) -> Path:
    root = work / "initramfs"
    _busybox(root, unpacked)
    for name in ("proc", "sys", "dev", "run", "new", "modules", "etc/iscsi"):
        (root / name).mkdir(parents=True)
    for name, wanted in (("order", MODULES), ("seed", SEED_MODULES)):
        order = load_order(unpacked / "lib/modules", wanted)
        for module in order:
            shutil.copy(module, root / "modules")
        (root / "modules" / name).write_text("".join(f"{module.name}\n" for module in order))
    _with_libraries(root, unpacked, unpacked / "sbin/iscsistart")
    shutil.copy(_recipe("init"), root / "init")
    (root / "init").chmod(0o755)
    archive = work / "initramfs.cpio"
    names = subprocess.run(["find", "."], cwd=root, check=True, capture_output=True).stdout
    pack: list[str | Path] = ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0", "-O", archive]
    subprocess.run(pack, cwd=root, input=names, check=True)
    subprocess.run(["zstd", "-q", "-19", archive], check=True)
    return archive.with_suffix(".cpio.zst")


def _with_libraries(root: Path, unpacked: Path, program: Path) -> None:
    """Put a dynamic program below `root` together with the shared libraries that it is linked with."""
    search = dict(os.environ, LD_LIBRARY_PATH=str(unpacked / "usr/lib/x86_64-linux-gnu"))
    listing = subprocess.run(["ldd", program], check=True, capture_output=True, text=True, env=search).stdout
    (root / "lib").mkdir()
    (root / "lib64").symlink_to("lib")
    for library in re.findall(r"(/\S+) \(0x", listing):
        shutil.copy(library, root / "lib" / Path(library).name)
    shutil.copy(program, root / "bin" / program.name)
