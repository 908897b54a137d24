"""Takeover: the addresses of a head that is dead, or is being emptied, pass to another one with all of their disks.

One look at a time, by whichever head has the role. The rows move in one transaction; then each disk is fenced, exported
and pointed to by an operation of its own, at its new home; when they have ended, the address is ready there. Who really
puts it on an interface is keepalived, or whoever asks `bmid head carries`.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from bmid.drivers.base import Storage
from bmid.engine.identity import Identity
from bmid.engine.submission import Submission
from bmid.errors import TransientError
from bmid.handlers.move_portal import MovePortal
from bmid.handlers.registry import Registry
from bmid.handlers.restore_export import RestoreExport
from bmid.model import succession
from bmid.model.entity import Portal
from bmid.model.succession import Move
from bmid.store import claims, heads, operations, portals
from bmid.store.database import Database, Tx
from bmid.store.portals import Moved

__all__ = ["Takeover"]

log = structlog.get_logger(__name__)
ROLE_LEASE = 15.0
HEAD_START = 3.0  # seconds that cutting off all owners at once has before the members do it one by one


class Takeover:
    """`local` says whether an address is on this machine; `notify` tells workers of new operations."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        storage: Storage,
        identity: Identity,
        local: Callable[[str], bool],
        notify: Callable[[], None],
    ) -> None:
        self._database = database
        self._storage = storage
        self._submission = Submission(registry, identity.head, identity.source)
        self._identity = identity
        self._local = local
        self._notify = notify
        self._orphans: list[str] = []

    def run_once(self) -> int:
        """How many addresses were moved."""
        with self._database.read() as tx:
            rows = portals.every(tx)
            moves, orphans = self._due(tx)
        self._withdraw([one.address for one in rows if one.head == self._identity.head and self._leaving(one)])
        for address in orphans:
            if address not in self._orphans:
                log.error("portal.orphaned", address=address, todo="Start another head, or this one again.")
        self._orphans = orphans
        return sum(self._move(one.address) for one in moves)

    def _due(self, tx: Tx) -> tuple[list[Move], list[str]]:
        loads = {head: sum(shards.values()) for head, shards in heads.loads(tx).items()}
        return succession.due(portals.every(tx), heads.every(tx), loads, self._identity.dead_after)

    def _leaving(self, one: Portal) -> bool:
        return one.bound_for is not None and one.withdrawn_at is None and not self._local(one.address)

    def _withdraw(self, addresses: list[str]) -> None:
        """What is to move and isn't on this machine any more: nobody answers there."""
        for address in dict.fromkeys(addresses):
            with self._database.write() as tx:
                portals.withdraw(tx, address, self._identity.head)
            log.info("portal.withdrawn", address=address)

    def _move(self, address: str) -> bool:
        """One address, as it stands now; False where another head was quicker."""
        with self._database.write() as tx:
            if not claims.take_role(tx, "takeover", self._identity.holder, ROLE_LEASE):
                return False
            wanted = [one for one in self._due(tx)[0] if one.address == address]
            if not wanted:
                return False
            [move] = wanted
            moved = portals.move(tx, move.portals, move.to, whole=move.dead)
            group = self._submit(tx, move, moved)
        log.warning("portal.moves", address=address, origin=move.origin, to=move.to, disks=len(moved.disks),
                    dead=move.dead)  # fmt: skip
        self._cut_off(group, moved)
        self._notify()
        return True

    def _submit(self, tx: Tx, move: Move, moved: Moved) -> str:
        command = MovePortal(
            address=move.address,
            portals=tuple(one.portal for one in move.portals),
            origin=move.origin,
            head=move.to,
            why="dead" if move.dead else "asked",
        )
        group = operations.find(tx, self._submission.submit(tx, command))
        assert group is not None  # noqa: S101 - written in this transaction
        for disk, node in moved.disks:
            self._submission.submit(tx, RestoreExport(node=node, disk=disk), group)
        portals.hasten(tx, group.id, HEAD_START)
        return group.id

    def _cut_off(self, group: str, moved: Moved) -> None:
        """All owners at once, which is much quicker than one by one; each export makes sure of it again."""
        try:
            self._storage.cut_off(moved.owners)
        except TransientError as error:
            log.warning("owners.not_cut_off", detail=str(error))
        with self._database.write() as tx:
            portals.hasten(tx, group)
