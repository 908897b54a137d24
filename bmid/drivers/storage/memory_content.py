"""Bytes of the in-memory twin, and the pools that aren't ours. What images and disks are is the twin's own matter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bmid.drivers.base import Foreign
from bmid.drivers.base.advice import MISSING
from bmid.errors import PermanentError

__all__ = ["SCHEME", "Content", "ForeignPools"]

SCHEME = "memory:"
_PAGE = 65536


@dataclass
class Content:
    """Bytes as pages that are never changed in place, so that a large empty image costs nothing and a copy little."""

    size: int
    pages: dict[int, bytes] = field(default_factory=dict)

    @property
    def used(self) -> int:
        """Bytes that it takes."""
        return len(self.pages) * _PAGE

    def copy(self) -> Content:
        """The same bytes, to be changed apart from these."""
        return Content(self.size, dict(self.pages))

    def read(self, offset: int, length: int) -> bytes:
        """Bytes; fewer at the end."""
        length = max(0, min(length, self.size - offset))
        first, last = offset // _PAGE, (offset + length) // _PAGE
        content = b"".join(self.pages.get(page, bytes(_PAGE)) for page in range(first, last + 1))
        return content[offset - first * _PAGE :][:length]

    def write(self, offset: int, content: bytes) -> None:
        """Bytes into it."""
        while content:
            page, begin = divmod(offset, _PAGE)
            part, content = content[: _PAGE - begin], content[_PAGE - begin :]
            old = self.pages.get(page, bytes(_PAGE))
            self.pages[page] = old[:begin] + part + old[begin + len(part) :]
            offset += len(part)


@dataclass
class _Strange:
    content: Content
    mark: str | None = None
    snapshots: Mapping[str, Content] = field(default_factory=dict)
    held: bool = False


class ForeignPools:
    """What somebody else keeps: pool and name → image. Any pool is there. Not safe for threads by itself."""

    def __init__(self) -> None:
        self._images: dict[tuple[str, str], _Strange] = {}

    def put(self, pool: str, image: str, content: Content, snapshots: Mapping[str, Content]) -> None:
        """What its owner does: an image, with what its snapshots hold."""
        self._images[pool, image] = _Strange(content, None, snapshots)

    def hold(self, pool: str, image: str, held: bool) -> None:
        """What its owner does: opens it, or closes it."""
        self._images[pool, image].held = held

    def names(self) -> dict[tuple[str, str], str | None]:
        """All that is there, each with its mark."""
        return {name: strange.mark for name, strange in self._images.items()}

    def content(self, place: str) -> Content | None:
        """The bytes at an address."""
        name, _, snapshot = place.removeprefix(SCHEME).partition("@")
        pool, _, image = name.partition("/")
        strange = self._images.get((pool, image))
        if strange is None:
            return None
        return strange.snapshots.get(snapshot) if snapshot else strange.content

    def source(self, pool: str, image: str, snapshot: str | None) -> Foreign:
        """As the port says."""
        place = f"{SCHEME}{pool}/{image}" + (f"@{snapshot}" if snapshot is not None else "")
        content = self.content(place)
        if content is None:
            raise PermanentError(
                "source-unknown",
                f"there is no {place.removeprefix(SCHEME)}",
                todo="Look for its name where it comes from.",
            )
        if snapshot is None and self._images[pool, image].held:
            raise PermanentError("source-in-use", f"somebody has {pool}/{image} open", todo="Name a snapshot of it.")
        return Foreign(place, content.size)

    def create(self, pool: str, image: str, size: int, mark: str) -> Foreign:
        """As the port says."""
        if (pool, image) in self._images:
            raise PermanentError("export-exists", f"there is a {pool}/{image} already", todo="Choose another name.")
        self._images[pool, image] = _Strange(Content(size), mark)
        return Foreign(f"{SCHEME}{pool}/{image}", size)

    def release(self, pool: str, image: str, mark: str) -> None:
        """As the port says."""
        strange = self._images.get((pool, image))
        if strange is None:
            raise PermanentError("storage-missing", f"there is no {pool}/{image}", todo=MISSING)
        if strange.mark == mark:
            strange.mark = None

    def remove(self, pool: str, image: str, mark: str) -> bool:
        """As the port says: its bytes first."""
        strange = self._images.get((pool, image))
        if strange is not None and strange.mark == mark:
            if strange.content.used:
                strange.content.pages.clear()
                return False
            del self._images[pool, image]
        return True
