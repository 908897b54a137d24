"""`bmid heads` and `bmid head`: who is there, what each has, and what a head still has that is to be emptied."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bmid.errors import Refused
from bmid.parts import make_database
from bmid.settings import Settings
from bmid.store import heads
from bmid.store.database import Tx
from bmid.store.heads import HeadRow, HomedDisk

__all__ = ["Left", "Roster"]


@dataclass(frozen=True)
class Left:
    """What a head still has: its disks with their nodes, and how many operations only it may run."""

    disks: tuple[HomedDisk, ...]
    operations: int

    def __bool__(self) -> bool:
        return bool(self.disks or self.operations)


class Roster:
    """Works on the database; every head heeds it with the next map that it plans."""

    def __init__(self, settings: Settings) -> None:
        self._database = make_database(settings)
        self._database.verify()
        self._dead_after = settings.engine.dead_after

    def list(self) -> list[dict[str, Any]]:
        """All heads by name. `age` in seconds; `shards` by name with portal and number of disks; disks of shards that
        the head doesn't name any more are among them, without a portal."""
        with self._database.read() as tx:
            loads = heads.loads(tx)
            return [self._shape(tx, one, loads.get(one.name, {})) for one in heads.every(tx)]

    def drain(self, name: str, *, draining: bool) -> None:
        """New maps go elsewhere, or may come here again. Refused if there is no such head."""
        with self._database.write() as tx:
            if not heads.drain(tx, name, draining=draining):
                known = ", ".join(one.name for one in heads.every(tx))
                raise Refused("head-unknown", f"there is no head {name}", todo=f"There are: {known or 'none yet'}.")

    def left(self, name: str) -> Left:
        """What keeps the head from being empty."""
        with self._database.read() as tx:
            return Left(tuple(heads.homed(tx, name)), heads.in_hand(tx, name))

    def _shape(self, tx: Tx, one: HeadRow, loads: Mapping[str, int]) -> dict[str, Any]:
        shards: dict[str, dict[str, Any]]
        shards = {name: {"portal": portal or None, "disks": 0} for name, portal in one.shards.items()}
        for shard, count in loads.items():
            shards.setdefault(shard, {"portal": None})["disks"] = count
        return {
            "head": one.name,
            "state": "alive" if one.alive(self._dead_after) else "stopped" if one.stopped else "dead",
            "draining": one.draining,
            "version": one.version,
            "seen_at": one.seen_at.isoformat(),
            "age": round(one.age, 1),
            "url": one.url,
            "shards": shards,
            "operations": heads.in_hand(tx, one.name),
        }
