"""What kind of file this is, told by its first bytes and never by its name. QEMU isn't asked: it would open it."""

from __future__ import annotations

from bmid.drivers.imaging.verdict import Unfit

__all__ = ["HEAD", "image_format", "packing"]

HEAD = 1024  # bytes of a file that are enough to tell

_PACKED = {"gz": b"\x1f\x8b", "xz": b"\xfd7zXZ\x00", "zst": b"\x28\xb5\x2f\xfd"}
_PACKED_OTHERWISE = {
    "bzip2": b"BZh",
    "lz4": b"\x04\x22\x4d\x18",
    "zip": b"PK\x03\x04",
    "7z": b"7z\xbc\xaf\x27\x1c",
    "lzip": b"LZIP",
}
_UNSUPPORTED = (
    ("vmdk", 0, b"KDMV"),
    ("vmdk", 0, b"COWD"),
    ("vmdk", 0, b"# Disk DescriptorFile"),
    ("vdi", 0x40, b"\x7f\x10\xda\xbe"),
    ("vhdx", 0, b"vhdxfile"),
    ("vhd", 0, b"conectix"),
    ("luks", 0, b"LUKS\xba\xbe"),
    ("qed", 0, b"QED\x00"),
    ("parallels", 0, b"WithoutFreeSpace"),
    ("parallels", 0, b"WithouFreSpacExt"),
    ("bochs", 0, b"Bochs Virtual HD Image"),
)
_QCOW = b"QFI\xfb"
_FORMATS = ("raw", "qcow2")


def packing(head: bytes) -> str | None:
    """How a file is packed: gz, xz, zst, or None. Raises Unfit for packings that we don't unpack."""
    for name, magic in _PACKED.items():
        if head.startswith(magic):
            return name
    for name, magic in _PACKED_OTHERWISE.items():
        if head.startswith(magic) and head[510:512] != b"\x55\xaa":
            hint = "unpack it, or pack it with gz, xz or zst"
            raise Unfit("format-unsupported", f"the file is packed with {name}: {hint}")
    return None


def image_format(head: bytes, declared: str | None) -> str:
    """`raw` or `qcow2`, found in the first bytes of an unpacked file. Raises Unfit."""
    if declared not in (None, *_FORMATS):
        raise Unfit("format-unsupported", f"{declared} is not a format that can be imported: say raw or qcow2")
    for name, offset, magic in _UNSUPPORTED:
        if head[offset:].startswith(magic):
            hint = "decrypt it first" if name == "luks" else "convert it with `qemu-img convert -O qcow2`"
            raise Unfit("format-unsupported", f"the file is a {name} image, only raw and qcow2 can be imported: {hint}")
    if packing(head) is not None:
        raise Unfit("format-unsupported", "the file is packed twice: unpack it once, then import it")
    found = "qcow2" if head.startswith(_QCOW) else "raw"
    if declared not in (None, found):
        hint = f"import it as {found}, or look for the right file"
        raise Unfit("format-mismatch", f"the file was said to be {declared}, but it is {found}: {hint}")
    return found
