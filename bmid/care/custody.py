"""`bmid claims`: who has what right now, and taking it away from a holder that will not give it back."""

from __future__ import annotations

from typing import Any

from bmid.errors import Refused
from bmid.messages.operation import ClaimBroken
from bmid.parts import make_database
from bmid.settings import Settings
from bmid.store import claims, heads, operations, outbox
from bmid.store.claims import ClaimRow
from bmid.store.database import Tx
from bmid.store.outbox import Cause

__all__ = ["Custody"]


class Custody:
    """Works on the database; every head heeds it at its next look at its claims."""

    def __init__(self, settings: Settings) -> None:
        self._database = make_database(settings)
        self._database.verify()
        self._dead_after = settings.engine.dead_after
        self._source = f"/bmid/{settings.head.name}"

    def list(self) -> list[dict[str, Any]]:
        """All claims that somebody holds, by key. `age` is the operation's, `expires_in` the claim's, in seconds;
        `alive` says whether the holder was heard of lately."""
        with self._database.read() as tx:
            return [self._shape(tx, one) for one in claims.held(tx)]

    def holder(self, key: str) -> tuple[str, bool]:
        """Who has a claim, and whether that instance is alive. Refused where nobody has it."""
        with self._database.read() as tx:
            one = self._find(tx, key)
            return one.holder, self._alive(tx, one.holder)

    def take_away(self, key: str, reason: str, *, alive: bool = False) -> ClaimBroken:
        """Break a claim, with all others of the same operation and holder: a right to act is whole, or it is none. From
        then on that holder finds its epoch gone and touches nothing. Refused where its holder is alive, unless `alive`
        says that this is known."""
        with self._database.write() as tx:
            one = self._find(tx, key)
            lives = self._alive(tx, one.holder)
            if lives and not alive:
                detail = f"{one.holder}, which has {key}, is alive"
                raise Refused("holder-alive", detail, todo="It may be in the midst of it. With --yes it is broken.")
            keys = claims.break_all(tx, one)
            if one.operation:
                operations.change(tx, one.operation, claimed_until=None)
            event = ClaimBroken(
                key=key, keys=tuple(keys), holder=one.holder, alive=lives, operation=one.operation, reason=reason
            )
            outbox.emit(tx, event, self._cause(tx, one))
        return event

    def _cause(self, tx: Tx, one: ClaimRow) -> Cause:
        found = operations.find(tx, one.operation) if one.operation else None
        if found is None:
            return Cause(self._source)
        return Cause(self._source, found.id, found.correlation, found.message, found.traceparent)

    def _find(self, tx: Tx, key: str) -> ClaimRow:
        found = next((one for one in claims.held(tx) if one.key == key), None)
        if found is None:
            raise Refused("claim-unknown", f"nobody has a claim on {key}", todo="bmid claims list shows who has what.")
        return found

    def _alive(self, tx: Tx, holder: str) -> bool:
        name, _, instance = holder.partition("/")
        row = heads.find(tx, name)
        return row is not None and row.instance == instance and row.alive(self._dead_after)

    def _shape(self, tx: Tx, one: ClaimRow) -> dict[str, Any]:
        found = operations.find(tx, one.operation) if one.operation else None
        return {
            "key": one.key,
            "holder": one.holder,
            "alive": self._alive(tx, one.holder),
            "epoch": one.epoch,
            "operation": one.operation,
            "command": found.type if found else None,
            "age": round((tx.now - found.accepted_at).total_seconds()) if found else None,
            "expires_at": one.expires_at.isoformat(timespec="seconds"),
            "expires_in": round((one.expires_at - tx.now).total_seconds()),
        }
