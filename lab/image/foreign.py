"""A foreign image: what somebody else's tools would make, to show that images need nothing from the lab.

mmdebstrap makes the system; GRUB is Debian's, with its menu, on a GPT with a BIOS boot partition; the host name is
fixed, the network is what the initramfs left. It must share no code and no layout with the lab's other images, and
nothing here is meant to be used by them.
"""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import tempfile
from pathlib import Path

PACKAGES = "linux-image-cloud-amd64,initramfs-tools,open-iscsi,systemd-sysv,udev,login,passwd,e2fsprogs"
# In sectors of 512 bytes; the GPT needs the first and the last 34.
CORE, ESP, ROOT, END = 2048, 4096, 36864, 3182592
LAYOUT = f"""label: gpt
start={CORE}, size={ESP - CORE}, type=21686148-6449-6E6F-744E-656564454649
start={ESP}, size={ROOT - ESP}, type=U
start={ROOT}, size={END - ROOT}, type=L
"""
MODULES = (
    "part_gpt", "ext2", "fat", "normal", "configfile", "search", "search_label", "linux", "gzio", "echo", "test",
)  # fmt: skip
FIND_MENU = "search --set=root --label foreign\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n"
MENU = """set timeout=0
menuentry "Debian" {
	linux /vmlinuz root=LABEL=foreign ro console=ttyS0
	initrd /initrd.img
}
"""
SET_UP = """set -e
echo foreign > "$1/etc/hostname"
echo "LABEL=foreign / ext4 defaults 0 1" > "$1/etc/fstab"
echo ISCSI_AUTO=true > "$1/etc/iscsi/iscsi.initramfs"
printf "iscsi_tcp\\niscsi_ibft\\nvirtio_net\\n" >> "$1/etc/initramfs-tools/modules"
chroot "$1" update-initramfs -u
chroot "$1" passwd -d root
: > "$1/etc/machine-id"
"""


class ForeignImage:
    """Builds the image into `cache` (a folder), once for each recipe."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache.absolute()

    @property
    def path(self) -> Path:
        """Where the raw image (sparse, 1.5 GiB) is or will be."""
        return self._cache / f"foreign-{hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]}.raw"

    def build(self) -> Path:
        """The raw image, built if it is not in the cache yet: about a minute, and needs Debian's mirror.

        Raises subprocess.CalledProcessError when a tool fails; its stderr says why.
        """
        if self.path.exists():
            return self.path
        self._cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._cache, prefix="foreign-") as folder:
            work = Path(folder)
            work.chmod(0o755)  # apt's unprivileged user works inside
            os.replace(_assemble(work), self.path)
        return self.path


def _assemble(work: Path) -> Path:
    root = work / "root"
    hook = work / "set-up"
    hook.write_text(SET_UP)
    _run(
        "mmdebstrap",
        "-q",
        "--variant=minbase",
        f"--include={PACKAGES}",
        f"--customize-hook=sh {hook} $1",
        "bookworm",
        root,
    )
    (root / "boot/grub").mkdir(parents=True, exist_ok=True)
    (root / "boot/grub/grub.cfg").write_text(MENU)
    find = work / "find.cfg"
    find.write_text(FIND_MENU)
    core, loader = work / "core.img", work / "bootx64.efi"
    _run("grub-mkimage", "-O", "i386-pc", "-p", "/boot/grub", "-c", find, "-o", core, "biosdisk", *MODULES)
    _run("grub-mkimage", "-O", "x86_64-efi", "-p", "/boot/grub", "-c", find, "-o", loader, *MODULES)

    image = work / "disk.raw"
    with image.open("wb") as out:
        out.truncate((END + 34) * 512)
    subprocess.run(["sfdisk", "-q", image], input=LAYOUT, text=True, check=True, capture_output=True)
    _run(
        "mke2fs",
        "-q",
        "-t",
        "ext4",
        "-L",
        "foreign",
        "-d",
        root,
        "-E",
        f"offset={ROOT * 512}",
        image,
        f"{(END - ROOT) // 2}k",
    )
    offset = ["-i", f"{image}@@{ESP * 512}"]
    _run("mformat", *offset, "-T", str(ROOT - ESP), "-h", "64", "-s", "32", "::")
    _run("mmd", *offset, "::EFI", "::EFI/BOOT")
    _run("mcopy", *offset, loader, "::EFI/BOOT/BOOTX64.EFI")
    _write_grub(image, core.read_bytes())
    return image


def _write_grub(image: Path, core: bytes) -> None:
    """What grub-bios-setup does, which only works on devices: tell each part of GRUB where the next one lies."""
    boot = bytearray(Path("/usr/lib/grub/i386-pc/boot.img").read_bytes()[:440])
    struct.pack_into("<Q", boot, 0x5C, CORE)
    patched = bytearray(core)
    struct.pack_into("<Q", patched, 0x1F4, CORE + 1)
    with image.open("r+b") as out:
        out.write(boot)
        out.seek(CORE * 512)
        out.write(patched)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True)
