"""What there is in the world, part by part, as the drivers tell it. Only looks; a part that doesn't answer is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from bmid.drivers.base import Boot, ExportStatus, Pointer, Seeds, Storage, Stored, Target
from bmid.errors import PermanentError, TransientError
from bmid.model.promise import Promises

__all__ = ["Sightings", "look", "look_at_shared", "partial_name", "partial_of", "staged_for"]

T = TypeVar("T")
PART = ".part"


class Parts(Protocol):
    """The drivers that are looked at."""

    @property
    def storage(self) -> Storage: ...
    @property
    def target(self) -> Target: ...
    @property
    def boot(self) -> Boot: ...
    @property
    def seeds(self) -> Seeds: ...
    @property
    def staging(self) -> Path: ...
    @property
    def exports(self) -> Path | None: ...


@dataclass
class Sightings:
    """One look. What is None was not looked at, or didn't answer: then `silent` has its part and why. `seen` are the
    parts that did answer. `owners` are those who have the mapped disks of this head open, as the storage knows them;
    None for one where that isn't exactly one client."""

    head: str
    iqn_prefix: str
    stored: tuple[Stored, ...] | None = None
    targets: dict[str, tuple[ExportStatus, ...]] = field(default_factory=dict)
    pointers: tuple[Pointer, ...] | None = None
    seeds: frozenset[str] | None = None
    owners: Mapping[str, str | None] | None = None
    staging: frozenset[str] | None = None
    exports: frozenset[str] | None = None
    seen: list[str] = field(default_factory=list)
    silent: dict[str, str] = field(default_factory=dict)

    def ask(self, part: str, question: Callable[[], T]) -> T | None:
        """The answer of a part, or None where it gives none."""
        try:
            answer = question()
        except (TransientError, PermanentError, OSError) as error:
            self.silent[part] = str(error)
            return None
        self.seen.append(part)
        return answer


def look(parts: Parts, head: str, iqn_prefix: str, rows: Promises) -> Sightings:
    """At what is this head's own. `rows` say whose owners are worth a question."""
    found = Sightings(head, iqn_prefix)
    for shard in parts.target.shards:
        exports = found.ask(f"target {shard}", lambda shard=shard: parts.target.exports(shard))  # type: ignore[misc]
        if exports is not None:
            found.targets[shard] = exports
    found.pointers = found.ask("boot", parts.boot.pointers)
    found.seeds = found.ask("seed", lambda: frozenset(parts.seeds.inventory()))
    if parts.storage.capabilities.owners:
        found.owners = found.ask("owner", lambda: _owners(parts.storage, head, rows))
    found.staging = found.ask("staging", lambda: _names(parts.staging, staged_for))
    if (folder := parts.exports) is not None:
        found.exports = found.ask("exports", lambda: _names(folder, partial_of))
    return found


def look_at_shared(storage: Storage, into: Sightings) -> None:
    """At what all heads share: the storage, and how the rows agree with each other."""
    into.stored = into.ask("storage", lambda: tuple(storage.inventory()))
    into.seen.append("database")


def _owners(storage: Storage, head: str, rows: Promises) -> dict[str, str | None]:
    asked = [one.id for one in rows.disks.values() if one.home(head) and one.owner and not rows.busy(one)]
    return {disk: _owner(storage, disk) for disk in asked}


def _owner(storage: Storage, disk: str) -> str | None:
    try:
        return storage.owner(disk)
    except TransientError as error:
        if error.problem.slug != "owner-unclear":
            raise
        return None


def staged_for(name: str) -> str | None:
    """Of which operation a file of the staging folder is: None of none."""
    return None if name.startswith(".") else name.partition(".")[0]


def partial_name(operation: str) -> str:
    """What the file of an export is called while it isn't whole: hidden, and named by its operation alone."""
    return f".{operation}{PART}"


def partial_of(name: str) -> str | None:
    """Of which operation a file of the export folder is the hidden half: None of none."""
    return name[1:].removesuffix(PART) if name.startswith(".") and name.endswith(PART) else None


def _names(folder: Path, operation_of: Callable[[str], str | None]) -> frozenset[str]:
    if not folder.is_dir():
        return frozenset()
    return frozenset(name for path in folder.iterdir() if (name := operation_of(path.name)) is not None)
