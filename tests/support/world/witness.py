"""The witness: looks at pointers and targets whenever something has changed them, and at addresses that arrive.

No node is ever led to a disk that isn't its own, and nobody finds an address where its disks aren't.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from bmid.handlers.move_portal import MovePortal
from bmid.steps.group import PATIENCE
from bmid.store import findings
from bmid.store.schema import disk, node_mac, operation, portal
from bmid.store.schema import node as node_table

if TYPE_CHECKING:
    from tests.support.world.host import Host
    from tests.support.world.world import World

__all__ = ["Witness"]

CHANGES = (
    "target.create",
    "target.admit",
    "target.remove",
    "boot.point",
    "boot.clear",
    "seeds.write",
    "storage.discard",
)
DISKS = select(disk.c.id, disk.c.node, disk.c.project, disk.c.address, disk.c.head, disk.c.owner)
MOVES = select(operation.c.command, operation.c.accepted_at, operation.c.ended_at).where(
    operation.c.type == MovePortal.type, operation.c.ended_at.is_not(None)
)
NO_TIME = timedelta()
FORGETFUL = ("tgtd", "shard", "clock")  # faults that take a target away that was there, or shorten a minute
PORTALS = select(portal.c.native, portal.c.head)
MACS = select(node_mac.c.mac, node_table.c.name).join(node_table, node_table.c.id == node_mac.c.node)


class Witness:
    """`wrong` is what was seen that must never be."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.wrong: list[str] = []

    def look(self, what: str) -> None:
        """Something has been done."""
        if what in CHANGES:
            self._note(f"after {what}", [*self.misled(), *self._shared()])

    def _note(self, when: str, found: list[str]) -> None:
        for one in found:
            self.world.stage.tell(f"SEEN {when}: {one}")
            self.wrong.append(f"{when}: {one}")

    def arrived(self, address: str, head: Host) -> None:
        """Nodes find a head there from now on: each disk that was told this address, and that nobody makes or takes
        away, is open at that head, and at no other one. One that can't be exported holds up the others for a minute."""
        with self.world.database.read() as tx:
            rows = findings.promises(tx)
            told = {row.id: row.portal for row in tx.execute(select(disk.c.id, disk.c.portal))}
            waited = max(
                (row.ended_at - row.accepted_at for row in tx.execute(MOVES) if row.command["address"] == address),
                default=NO_TIME,
            )
        mine = [one for one in rows.disks.values() if (told[one.id] or "").startswith(f"{address}:") and one.node]
        there, faults = self._open_at(), {one.kind for one in self.world.story.faults}
        sure = waited < PATIENCE and faults.isdisjoint(FORGETFUL)
        found = []
        for one in [each for each in mine if not rows.in_the_making(each)]:
            where = there.get(one.id, [])
            if any(name != head.name for name in where):
                found.append(f"{one.label} is still open at {where}")
            elif not where and sure:
                found.append(f"{one.label} is not open there yet")
        self._note(f"when {address} came to {head.name}", found)

    def _open_at(self) -> dict[str, list[str]]:
        """The heads at whose targets, which let their nodes in, each disk can be written."""
        found: dict[str, list[str]] = {}
        for head in self.world.heads:
            for _, number, _ in head.open_targets():
                client = head.target.clients.get(number)
                if client and self.world.storage.has_open(*client):
                    found.setdefault(client[0], []).append(head.name)
        return found

    def _shared(self) -> list[str]:
        return [f"disk {name} can be written at {where}" for name, where in self._open_at().items() if len(where) > 1]

    def misled(self) -> list[str]:
        """Pointers, targets and seeds that lead anywhere but to a disk of the project that has the node. While a node
        is being rebuilt that may be its old disk or its new one, whose row has no node yet."""
        with self.world.database.read() as tx:
            rows = {row.id: row for row in tx.execute(DISKS)}
            names = {row.mac: row.name for row in tx.execute(MACS)}
            lost = {row.native for row in tx.execute(PORTALS) if row.native != row.head}
        projects = {row.node: row.project for row in rows.values() if row.node}
        tenants = {row.address: row for row in rows.values() if row.address}
        found = []
        for head in self.world.heads:
            if head.name in lost:
                continue  # nodes find another head at its address, and its targets were cut off: see `_uncut`
            for entry in head.boot.entries.values():
                row, node = rows.get(entry.disk), names.get(entry.mac)
                if row is None or row.node not in (node, None) or projects.get(node) != row.project:
                    found.append(f"{head.name} leads {node} of project {projects.get(node)} to {row or entry.disk}")
            for shard, number, export in head.open_targets():
                row, tenant = rows.get(export.user), tenants.get(export.address)
                if (
                    row is None
                    or tenant is None
                    or row.project != tenant.project
                    or row.node not in (tenant.node, None)
                ):
                    who = f"target {shard}/{number} of {head.name} lets {export.address} in"
                    found.append(f"{who} to {row or export.user}, whose address is {tenant}'s")
                if export.seed and export.seed.path != f"seed/{export.user}":
                    found.append(f"target {shard}/{number} of {head.name} tells {row} what is in {export.seed.path}")
            found += [f"{head.name} has the seed of {one}" for one in head.seeds.volumes if one not in rows]
        return found + [one for head in self.world.heads if head.name in lost for one in self._uncut(head, rows)]

    def _uncut(self, head: Host, rows: dict[str, Any]) -> list[str]:
        """Targets of a head that lost its address which can still write to a disk that is at home elsewhere."""
        found = []
        for shard, number, export in head.open_targets():
            row, client = rows.get(export.user), head.target.clients.get(number)
            astray = row is not None and row.head != head.name and row.owner not in (None, client and client[1])
            if astray and client and self.world.storage.has_open(*client):
                found.append(f"target {shard}/{number} of {head.name} still has {export.user} open, which is {row}'s")
        return found
