"""The witness: looks at pointers, targets and bytes whenever something has changed them.

No node is ever led to a disk that isn't its own, and what an initiator was told is on disk is on disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from bmid.drivers.base import PowerState
from bmid.store.schema import disk, node_mac, portal
from bmid.store.schema import node as node_table

if TYPE_CHECKING:
    from tests.support.world.head import Head
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
OFFSET = 4096
DISKS = select(disk.c.id, disk.c.node, disk.c.project, disk.c.address, disk.c.head, disk.c.owner)
PORTALS = select(portal.c.native, portal.c.head)
MACS = select(node_mac.c.mac, node_table.c.name).join(node_table, node_table.c.id == node_mac.c.node)


class Witness:
    """`wrong` is what was seen that must never be. `acked` are what each disk's initiator was told is safe."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.wrong: list[str] = []
        self.acked: dict[str, bytes] = {}
        self._sessions: dict[str, tuple[Head, str, int, int, int]] = {}  # by MAC: where, shard, number, session, start
        self._written = 0

    def look(self, what: str) -> None:
        """Something has been done."""
        if what in CHANGES:
            for found in self.misled():
                self.world.stage.tell(f"SEEN after {what}: {found}")
                self.wrong.append(f"after {what}: {found}")

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
            found += [f"{head.name} has the seed of {one}" for one in head.seeds.volumes if one not in rows]
        return found + [one for head in self.world.heads if head.name in lost for one in self._uncut(head, rows)]

    def _uncut(self, head: Head, rows: dict[str, Any]) -> list[str]:
        """Targets of a head that lost its address which can still write to a disk that is at home elsewhere."""
        found = []
        for shard, number, export in head.open_targets():
            row, client = rows.get(export.user), head.target.clients.get(number)
            astray = row is not None and row.head != head.name and row.owner not in (None, client and client[1])
            if astray and client and self.world.storage.has_open(*client):
                found.append(f"target {shard}/{number} of {head.name} still has {export.user} open, which is {row}'s")
        return found

    def nodes(self) -> None:
        """The machines: those that are on boot what they are led to, and write."""
        while True:
            for mac, bmc in self.world.machines.items():
                switch = self.world.power.switch(bmc)
                self._live(mac, switch.starts if switch.state is PowerState.ON else -1)
            self.world.stage.pause(4.0)

    def _live(self, mac: str, start: int) -> None:
        session = self._sessions.get(mac)
        if session and (session[4] != start or not self._runs(session) or self._cut(session)):
            head, shard, number, identifier, _ = self._sessions.pop(mac)
            if number in head.target._standing[shard]:
                head.target.log_out(shard, number, identifier)
            session = None
        if start >= 0 and session is None:
            self._log_in(mac, start)
        elif session:
            self._write(session)

    def _log_in(self, mac: str, start: int) -> None:
        for head in self.world.heads:
            for entry in [one for one in head.boot.entries.values() if one.mac == mac]:
                for shard, standing in head.target._standing.items():
                    for number in [n for n, one in standing.items() if one.export.iqn == entry.iqn and one.open]:
                        if not self.world.storage.has_open(*head.target.clients.get(number, ("", ""))):
                            continue
                        try:
                            session = head.target.log_in(
                                shard, number, address=entry.address, user=entry.user, secret=entry.secret, alias="os"
                            )
                        except PermissionError:
                            continue
                        self._sessions[mac] = (head, shard, number, session, start)
                        return

    def _runs(self, session: tuple[Head, str, int, int, int]) -> bool:
        head, shard, number, identifier, _ = session
        standing = head.target._standing[shard].get(number)
        return standing is not None and any(one.id == identifier for one in standing.sessions)

    def _cut(self, session: tuple[Head, str, int, int, int]) -> bool:
        """Its target can't reach the disk any more."""
        client = session[0].target.clients.get(session[2])
        return client is None or not self.world.storage.has_open(*client)

    def _write(self, session: tuple[Head, str, int, int, int]) -> None:
        """A write that goes through is safe from then on; one of a client that was cut off fails."""
        head, shard, number, identifier, _ = session
        client = head.target.clients.get(number)
        if client is None or shard in head.target.down or not self.world.storage.has_open(*client):
            return
        name = client[0]
        self._written += 1
        text = f"{name} {self._written:8d}".encode()
        self.world.storage.write(f"memory:{name}", OFFSET, text)
        self.acked[name] = text
        head.target.move(shard, number, identifier, read=4096, written=len(text))

    def lost_bytes(self) -> list[str]:
        """Disks on which an acknowledged write is not."""
        disks = self.world.storage._disks
        kept = {name: text for name, text in self.acked.items() if name in disks}
        return [
            f"disk {name} has not what was acknowledged"
            for name, text in kept.items()
            if disks[name].content.read(OFFSET, len(text)) != text
        ]
