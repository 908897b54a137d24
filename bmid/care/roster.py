"""`bmid heads` and `bmid head`: who is there, what each has, who carries which address, and how one moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bmid.care.carriage import Addresses
from bmid.errors import Refused
from bmid.handlers.move_portal import MovePortal
from bmid.model import succession
from bmid.model.entity import Portal
from bmid.store import heads, operations, portals
from bmid.store.database import Tx
from bmid.store.heads import HeadRow, HomedDisk

__all__ = ["Left", "Roster"]


@dataclass(frozen=True)
class Left:
    """What a head still has: its disks with their nodes, how many operations only it may run, and the addresses that
    are on their way to another head: those that it still has, and those that aren't ready there."""

    disks: tuple[HomedDisk, ...]
    operations: int
    leaving: tuple[str, ...] = ()
    arriving: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.disks or self.operations or self.leaving or self.arriving)

    def shape(self) -> dict[str, Any]:
        """For programs."""
        disks = [{"node": one.node, "disk": one.name, "project": one.project, "state": one.state} for one in self.disks]
        return {"disks": disks, "operations": self.operations, "leaving": self.leaving, "arriving": self.arriving}


class Roster(Addresses):
    """What a person sees and changes of it; every head heeds it within a second or two."""

    def list(self) -> list[dict[str, Any]]:
        """All heads by name. `age` in seconds; `shards` by name with portal and number of disks; disks of shards that
        the head doesn't name any more are among them, without a portal."""
        with self._database.read() as tx:
            loads = heads.loads(tx)
            return [self._shape(tx, one, loads.get(one.name, {})) for one in heads.every(tx)]

    def portals(self) -> Sequence[dict[str, Any]]:
        """All portals: who carries each, who brought it in, and what it waits for."""
        with self._database.read() as tx:
            rows, loads = portals.every(tx), portals.loads(tx)
        return [
            {
                "portal": one.portal,
                "head": one.head,
                "shard": one.shard,
                "native": one.native,
                "ready": one.ready,
                "bound_for": one.bound_for,
                "withdrawn_at": one.withdrawn_at.isoformat() if one.withdrawn_at else None,
                "disks": loads.get(one.portal, 0),
            }
            for one in rows
        ]

    def drain(self, name: str, *, gone: bool = False) -> Sequence[str]:
        """New maps go elsewhere, and the addresses of the head, too: those that another head can take, which are
        returned. `gone`: its machine is off, and nobody answers there. Refused if there is no such head."""
        with self._database.write() as tx:
            self._draining(tx, name, draining=True)
            bound: Sequence[str] = []
            for (address, carrier), group in succession.grouped(portals.every(tx)).items():
                if carrier != name:
                    continue
                to = group[0].bound_for or self._successor(tx, group)
                if to is None:
                    continue
                if group[0].bound_for is None:
                    portals.bind(tx, address, name, to)
                if gone:
                    portals.withdraw(tx, address, name)
                bound = [*bound, address]
            return bound

    def undrain(self, name: str) -> None:
        """New maps may come to it again, and addresses that haven't left yet stay. Refused if there is no such head."""
        with self._database.write() as tx:
            self._draining(tx, name, draining=False)
            for address, carrier in succession.grouped(portals.every(tx)):
                if carrier == name:
                    portals.bind(tx, address, name, None)

    def move(self, address: str, to: str) -> str:
        """Bind an address for a head; the name of the one that carries it. Refused where that can't be."""
        with self._database.write() as tx:
            rows = [one for one in portals.every(tx) if one.address == address]
            taker = heads.find(tx, to)
            if not rows:
                known = ", ".join(sorted({one.address for one in portals.every(tx)}))
                raise Refused("address-unknown", f"there is no portal at {address}", todo=f"There are: {known}.")
            if taker is None or not taker.alive(self._dead_after):
                raise Refused("head-unknown", f"there is no living head {to}", todo="`bmid heads` lists them.")
            if missing := {one.shard for one in rows} - set(taker.shards):
                detail = f"head {to} has no shard {', '.join(sorted(missing))}"
                raise Refused("shard-unknown", detail, todo="Give it a tgtd of that name in its settings.")
            if rows[0].head != to:
                portals.bind(tx, address, rows[0].head, to)
            return rows[0].head

    def left(self, name: str) -> Left:
        """What keeps the head from being empty."""
        with self._database.read() as tx:
            rows = portals.every(tx)
            leaving = sorted({one.address for one in rows if one.head == name and one.bound_for})
            moves = operations.commands(tx, MovePortal.type)
            arriving = sorted({one["address"] for one in moves if one["origin"] == name})
            return Left(tuple(heads.homed(tx, name)), heads.in_hand(tx, name), tuple(leaving), tuple(arriving))

    def _draining(self, tx: Tx, name: str, *, draining: bool) -> None:
        if not heads.drain(tx, name, draining=draining):
            known = ", ".join(one.name for one in heads.every(tx))
            raise Refused("head-unknown", f"there is no head {name}", todo=f"There are: {known or 'none yet'}.")

    def _successor(self, tx: Tx, group: Sequence[Portal]) -> str | None:
        loads = {head: sum(shards.values()) for head, shards in heads.loads(tx).items()}
        return succession.choose_carrier(group, heads.every(tx), loads, self._dead_after)

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
