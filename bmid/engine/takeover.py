"""Takeover: the addresses of a head that is dead, or is being emptied, pass to another one with all of their disks.

One look at a time, by whichever head has the role. The rows move in one transaction; then each disk is fenced, exported
and pointed to by an operation of its own, at its new home; when they have ended, the address is ready there. Who really
puts it on an interface is keepalived, or whoever asks `bmid head carries`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

import structlog

from bmid.drivers.base import Storage
from bmid.engine.identity import Identity
from bmid.engine.submission import Submission
from bmid.engine.vigil import Vigil
from bmid.errors import BmiError
from bmid.handlers.move_portal import MovePortal
from bmid.handlers.registry import Registry
from bmid.handlers.restore_export import RestoreExport
from bmid.model import succession
from bmid.model.entity import Portal
from bmid.model.succession import Move
from bmid.store import claims, heads, operations, portals
from bmid.store.database import Database, Tx
from bmid.store.heads import HeadRow
from bmid.store.portals import Moved

__all__ = ["Takeover"]

log = structlog.get_logger(__name__)
ROLE_LEASE = 15.0
HEAD_START = 3.0  # seconds that cutting off all owners at once has before the members do it one by one


class _Known(NamedTuple):
    """All rows of one moment that say who carries what."""

    portals: Sequence[Portal]
    heads: Sequence[HeadRow]


def _known(tx: Tx) -> _Known:
    return _Known(portals.every(tx), heads.every(tx))


class Takeover:
    """`local` says whether an address is on this machine; `notify` tells workers of new operations; `clock` goes by
    itself, and not by the database's."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        storage: Storage,
        identity: Identity,
        local: Callable[[str], bool],
        notify: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._storage = storage
        self._submission = Submission(registry, identity.head, identity.source)
        self._identity = identity
        self._local = local
        self._notify = notify
        self._orphans: list[str] = []
        self._vigil = Vigil(identity.lease, clock)
        self._silent: Collection[str] = ()

    def run_once(self) -> int:
        """How many addresses were moved."""
        with self._database.read() as tx:
            known = _known(tx)
            self._silent = self._vigil.look(known.heads)
            moves, orphans = self._due(tx, known)
            stalled = self._stalled(tx, known)
            bereft = [one for one in self._bereft(known) if heads.in_hand(tx, one)]
        self._say(known.portals)
        for address in orphans:
            if address not in self._orphans:
                log.error("portal.orphaned", address=address, todo="Start another head, or this one again.")
        self._orphans = orphans
        for name in bereft:
            self._inherit(name)
        return sum(self._move(one.address) for one in moves) + sum(self._again(address) for address in stalled)

    def _due(self, tx: Tx, known: _Known) -> tuple[list[Move], list[str]]:
        loads = {head: sum(shards.values()) for head, shards in heads.loads(tx).items()}
        return succession.due(known.portals, known.heads, loads, self._identity.dead_after, self._silent)

    def _stalled(self, tx: Tx, known: _Known) -> list[str]:
        if all(one.ready for one in known.portals):
            return []
        going = {one["address"] for one in operations.commands(tx, MovePortal.type)}
        return succession.stalled(known.portals, known.heads, going, self._identity.dead_after)

    def _bereft(self, known: _Known) -> list[str]:
        return succession.bereft(known.portals, known.heads, self._silent, self._identity.dead_after)

    def _say(self, rows: Sequence[Portal]) -> None:
        """What is to move and isn't on this machine any more: nobody answers there. What is here, and is to stay, was
        given back for a while, as by a head that seemed dead."""
        me = self._identity.head
        for address, group in {one.address: one for one in rows if one.head == me}.items():
            leaves, left = group.bound_for is not None, group.withdrawn_at is not None
            if leaves is left or self._local(address) is leaves:
                continue
            with self._database.write() as tx:
                (portals.withdraw if leaves else portals.stay)(tx, address, me)
            log.info("portal.withdrawn" if leaves else "portal.stays", address=address)

    def _has_role(self, tx: Tx) -> bool:
        return claims.take_role(tx, "takeover", self._identity.holder, ROLE_LEASE)

    def _inherit(self, name: str) -> None:
        """What a head without addresses had in hand goes on here."""
        with self._database.write() as tx:
            if not self._has_role(tx) or name not in self._bereft(_known(tx)):
                return
            count = portals.pass_on(tx, name, self._identity.head)
        log.warning("operations.inherited", origin=name, to=self._identity.head, operations=count)
        self._notify()

    def _again(self, address: str) -> bool:
        """Export the disks of an address once more, after what did that was given up: it would be ready never."""
        with self._database.write() as tx:
            if not self._has_role(tx) or address not in self._stalled(tx, known := _known(tx)):
                return False
            rows = [one for one in known.portals if one.address == address]
            move = Move(address, tuple(rows), rows[0].head, rows[0].head, dead=False)
            moved = portals.mapped(tx, rows)
            self._submit(tx, move, moved)
        log.warning("portal.again", address=address, head=move.to, disks=len(moved.disks))
        self._notify()
        return True

    def _move(self, address: str) -> bool:
        """One address, as it stands now; False where another head was quicker."""
        with self._database.write() as tx:
            if not self._has_role(tx):
                return False
            wanted = [one for one in self._due(tx, _known(tx))[0] if one.address == address]
            if not wanted:
                return False
            [move] = wanted
            moved = portals.move(tx, move.portals, move.to, whole=move.dead)
            group = self._submit(tx, move, moved)
            portals.hasten(tx, group, HEAD_START)
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
            self._submission.submit(tx, RestoreExport(node=node, disk=disk, moved=True), group)
        return group.id

    def _cut_off(self, group: str, moved: Moved) -> None:
        """All owners at once, which is much quicker than one by one; each export makes sure of it again."""
        try:
            self._storage.cut_off(moved.owners)
        except BmiError as error:
            log.warning("owners.not_cut_off", detail=str(error))
        with self._database.write() as tx:
            portals.hasten(tx, group)
