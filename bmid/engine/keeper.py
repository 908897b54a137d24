"""The keeper: this head is alive, and so are the claims that its workers hold right now."""

from __future__ import annotations

from bmid.engine.identity import Identity
from bmid.store import claims, heads
from bmid.store.database import Database
from bmid.store.heads import Presence

__all__ = ["Keeper"]


class Keeper:
    """Renews in a third of the lease, so that two renewals may fail. `company`: other heads were alive when it last
    looked."""

    def __init__(self, database: Database, identity: Identity, presence: Presence) -> None:
        self._database = database
        self._identity = identity
        self._presence = presence
        self.company = False

    @property
    def interval(self) -> float:
        """Seconds between turns."""
        return self._identity.lease / 3

    def start(self) -> None:
        """This head runs once: what earlier instances of it held is free. Only after its lock was taken."""
        me = self._identity
        with self._database.write() as tx:
            claims.release_others(tx, me.head, me.holder)
            heads.beat(tx, me.head, me.instance, self._presence)

    def run_once(self) -> None:
        """One heartbeat."""
        me = self._identity
        with self._database.write() as tx:
            heads.beat(tx, me.head, me.instance, self._presence)
            self.company = bool(heads.others(tx, me.head, me.dead_after))
            active = tuple(me.active)
            if active:
                claims.renew(tx, me.holder, active, me.lease)

    def stop(self) -> None:
        """The last word: others may have this head's roles at once, and no map chooses it any more."""
        me = self._identity
        with self._database.write() as tx:
            claims.release_roles(tx, me.holder)
            heads.leave(tx, me.head, me.instance)
