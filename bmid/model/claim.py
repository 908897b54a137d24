"""Claims: which keys an operation needs, and the right that a worker holds on them. No locking in here."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ORDER", "Held", "Key", "ordered"]

ORDER = ("project", "image", "disk", "node", "portal", "look")


@dataclass(frozen=True)
class Key:
    """One key that an operation needs, `image:p1/debian`, shared with others or exclusively."""

    name: str
    exclusive: bool


@dataclass(frozen=True)
class Held:
    """A claim in a worker's hands: the key and the epoch under which it was taken."""

    key: str
    epoch: int


def ordered(*keys: Key) -> tuple[Key, ...]:
    """The keys in the one order in which all operations take them: project, image, disk, node, portal, look."""
    return tuple(sorted(keys, key=lambda key: (ORDER.index(key.name.partition(":")[0]), key.name)))
