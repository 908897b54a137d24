"""The keeper: this head is alive, and so are the claims that its workers hold right now."""

from __future__ import annotations

from pathlib import Path

import structlog

from bmid.engine.identity import Identity
from bmid.errors import TransientError
from bmid.store import claims, clock_care, heads, portals
from bmid.store.database import Database, Tx
from bmid.store.heads import HeadRow, Presence

__all__ = ["Keeper"]

log = structlog.get_logger(__name__)
KEPT = 20  # instances that a machine remembers
TOLERANCE = 1.0  # seconds; clocks that are set right in small steps go back by less
LOOKS = 3  # at what lies ahead, after the clock went back: who began before it did writes times of then


class Keeper:
    """Renews in a third of the lease, so that two renewals may fail. `company`: other heads were alive when it last
    looked. `memory` is the file, on this machine alone, that tells a head that starts again from its double."""

    def __init__(self, database: Database, identity: Identity, presence: Presence, memory: Path | None = None) -> None:
        self._database = database
        self._identity = identity
        self._presence = presence
        self._memory = memory
        self._looks = 0
        self.company = False

    @property
    def interval(self) -> float:
        """Seconds between turns."""
        return self._identity.lease / 3

    def start(self) -> None:
        """This head runs once: what earlier instances of it held is free. Only after its lock was taken, and never
        while another machine goes by the same name: TransientError until that one is dead."""
        me = self._identity
        with self._database.write() as tx:
            standing = heads.find(tx, me.head)
            mine = self._instances()
            # One without a version is of a program that kept no such file.
            double = standing and standing.alive(me.dead_after) and standing.version and standing.instance not in mine
            if standing and double and mine:
                detail = f"another machine runs bmid as head {me.head}, heard of {standing.age:.0f} s ago"
                raise TransientError("head-name-taken", detail, todo="Give each head a head.name of its own.")
            self._remember(mine)
            self._look_at_clock(tx, standing)
            claims.release_others(tx, me.head, me.holder)
            heads.beat(tx, me.head, me.instance, self._presence)
            portals.bring(tx, me.head, self._presence.shards)
            self.company = bool(heads.others(tx, me.head, me.dead_after))

    def _instances(self) -> list[str]:
        """This instance and those before it on this machine; empty where nobody asks."""
        if self._memory is None:
            return []
        before = self._memory.read_text().split() if self._memory.exists() else []
        return [self._identity.instance, *(one for one in before if one != self._identity.instance)][:KEPT]

    def _remember(self, instances: list[str]) -> None:
        """Before the row says so: killed in between, this machine still knows the one that the row has."""
        if self._memory is not None:
            new = self._memory.with_suffix(".new")
            new.write_text("\n".join(instances))
            new.replace(self._memory)

    def run_once(self) -> None:
        """One heartbeat."""
        me = self._identity
        with self._database.write() as tx:
            last = heads.find(tx, me.head)
            if last and last.age > me.lease and last.instance == me.instance:
                log.warning("head.stood_still", seconds=round(last.age), lease=me.lease)
            self._look_at_clock(tx, last)
            heads.beat(tx, me.head, me.instance, self._presence)
            self.company = bool(heads.others(tx, me.head, me.dead_after))
            active = tuple(me.active)
            if active:
                claims.renew(tx, me.holder, active, me.lease)

    def _look_at_clock(self, tx: Tx, last: HeadRow | None) -> None:
        """Nobody is heard of in the future, unless the database's clock went back."""
        if last and last.age < -TOLERANCE:
            log.warning("clock.went_back", seconds=round(-last.age))
            self._looks = LOOKS
        if self._looks and not clock_care.set_right(tx, self._identity.lease):
            self._looks -= 1

    def stop(self) -> None:
        """The last word: others may have this head's roles at once, and no map chooses it any more."""
        me = self._identity
        with self._database.write() as tx:
            claims.release_roles(tx, me.holder)
            heads.leave(tx, me.head, me.instance)
