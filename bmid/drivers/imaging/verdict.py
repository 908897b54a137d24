"""What an image file can be told off for, and the limits it is held to. Values only; light enough for the child."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits", "Unfit", "human"]


@dataclass(frozen=True)
class Limits:
    """Bytes: of the disk that an image describes, of an unpacked file, of a child's address space; seconds of a job."""

    virtual_size: int
    unpacked: int
    memory: int
    seconds: int


class Unfit(Exception):
    """The file can't be used: slug of the problem, what is wrong and what to do, and whether a retry could help."""

    def __init__(self, slug: str, detail: str, retry: bool = False) -> None:
        super().__init__(detail)
        self.slug = slug
        self.detail = detail
        self.retry = retry


def human(size: int) -> str:
    """Bytes as a person reads them, in binary units."""
    figure = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if figure < 1024:
            return f"{figure:.4g} {unit}"
        figure /= 1024
    return f"{figure:.4g} TiB"
