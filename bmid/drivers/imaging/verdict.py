"""What an image file can be told off for, and the limits it is held to. Values only; light enough for the child."""

from __future__ import annotations

import errno
from dataclasses import dataclass

__all__ = ["Found", "Limits", "Unfit", "human", "unreadable"]


@dataclass(frozen=True)
class Limits:
    """Bytes: of the disk that an image describes, of an unpacked file, of a child's address space; seconds of a job."""

    virtual_size: int
    unpacked: int
    memory: int
    seconds: int


@dataclass(frozen=True)
class Found:
    """The same as drivers.base.ImageFile, which is too heavy to import in a child."""

    format: str
    compression: str | None
    size: int
    virtual_size: int
    sha256: str


class Unfit(Exception):
    """The file can't be used: slug of the problem, what is wrong and what to do, and whether a retry could help."""

    def __init__(self, slug: str, detail: str, retry: bool = False) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail
        self.retry = retry


def unreadable(error: OSError) -> Unfit:
    """What it means that a file can't be read; only the disk's own error may pass."""
    return Unfit("image-unreadable", f"the file can't be read: {error.strerror}", retry=error.errno == errno.EIO)


def human(size: int) -> str:
    """Bytes as a person reads them, in binary units."""
    figure = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if figure < 1024:
            return f"{figure:.4g} {unit}"
        figure /= 1024
    return f"{figure:.4g} TiB"
