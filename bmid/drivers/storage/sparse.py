"""Copies of sparse files: sharing blocks where the file system can, else only what isn't a hole.

Names and metadata are the driver's matter.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

__all__ = ["clone_file", "ensure_room", "reflinks", "sync_folder"]

_FICLONE = 0x40049409  # ioctl_ficlone(2): _IOW(0x94, 9, int)
_CHUNK = 64 << 20  # bytes that the kernel copies in one call
_CANNOT = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS)


def clone_file(source: Path, destination: Path) -> None:
    """Make `destination` a copy of `source`, there when it is complete and safe from a power failure. OSError.

    ENOSPC comes before anything is written where the space free now can't hold the copy.
    """
    new = destination.with_name(destination.name + ".new")
    new.unlink(missing_ok=True)
    try:
        with source.open("rb") as original, new.open("xb") as copy:
            if not _reflink(original.fileno(), copy.fileno()):
                _copy(original.fileno(), copy.fileno())
            os.fchmod(copy.fileno(), 0o640)
            os.fsync(copy.fileno())
        new.rename(destination)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    sync_folder(destination.parent)


def reflinks(folder: Path) -> bool:
    """Whether files in the folder can share blocks; found by trying. Raises OSError."""
    source, copy = (folder / f"probe-{name}.{os.getpid()}" for name in ("a", "b"))
    try:
        with source.open("wb+") as original, copy.open("wb") as other:
            original.write(b"\1" * 4096)
            original.flush()
            return _reflink(original.fileno(), other.fileno())
    finally:
        source.unlink(missing_ok=True)
        copy.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder safe from a power failure. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def ensure_room(source: int, place: Path | int) -> None:
    """Raise OSError ENOSPC where the space that is free now can't hold a copy of a file."""
    needed, space = os.fstat(source).st_blocks * 512, os.statvfs(place)
    if needed > space.f_bavail * space.f_frsize:
        raise OSError(errno.ENOSPC, f"{needed} bytes are needed, {space.f_bavail * space.f_frsize} are free")


def _reflink(source: int, copy: int) -> bool:
    try:
        fcntl.ioctl(copy, _FICLONE, source)
    except OSError as error:
        if error.errno in _CANNOT:
            return False
        raise
    return True


def _copy(source: int, copy: int) -> None:
    size = os.fstat(source).st_size
    ensure_room(source, copy)
    os.ftruncate(copy, size)
    start = end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        end = os.lseek(source, start, os.SEEK_HOLE)
        while start < end:
            done = os.copy_file_range(source, copy, min(_CHUNK, end - start), start, start)
            if not done:
                raise OSError(errno.EIO, "the file became shorter while it was copied")
            start += done
