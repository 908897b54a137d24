"""One worker's turn with one operation: its claims, and what its steps may write down under them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import structlog
from structlog.contextvars import bound_contextvars

from bmid.engine.auditor import Auditor
from bmid.errors import ClaimLost, PermanentError, Refused
from bmid.messages.operation import OperationProgressed
from bmid.model.claim import Held
from bmid.model.entity import Disk
from bmid.model.finding import Finding
from bmid.model.operation import Operation
from bmid.model.promise import Promises
from bmid.steps.reconcile import REPORT
from bmid.store import claims, operations, outbox, uploads
from bmid.store.database import Database, Tx
from bmid.store.outbox import Cause
from bmid.store.view import StoreView

__all__ = ["Turn"]

log = structlog.get_logger(__name__)
TOLD = "told"  # the mark of when subscribers were told of progress
GAP = timedelta(seconds=1)
FRESH, LOOKS = 0.5, 3  # seconds that an answer about claims may have taken, and how many are asked for


class Turn:
    """An operation in a worker's hands. Serves the steps as their Notes; several threads of a stage may share it."""

    def __init__(
        self,
        database: Database,
        operation: Operation,
        held: tuple[Held, ...],
        holder: str,
        source: str,
        staging: Path,
        auditor: Auditor,
        client: str | None = None,
    ) -> None:
        self._database = database
        self._held = held
        self._holder = holder
        self._source = source
        self._staging = staging
        self._auditor = auditor
        self._lock = threading.Lock()
        self.client = client  # who we are to the storage, as it is written down
        self.record = operation

    @property
    def operation(self) -> str:
        """The operation's id."""
        return self.record.id

    @property
    def cause(self) -> Cause:
        """Where events of this operation come from."""
        one = self.record
        return Cause(self._source, one.id, one.correlation, one.message, one.traceparent)

    def bound(self) -> AbstractContextManager[None]:
        """Every line of the log that is written meanwhile says which operation it is about."""
        one = self.record
        return bound_contextvars(operation=one.id, command=one.type, correlation=one.correlation, project=one.project)

    def require_home(self, local: bool, home: str | None, head: str) -> None:
        """PermanentError for what concerns one machine alone, where another head has come to it: the same target or
        file may be there by right."""
        if local and home not in (None, head):
            raise PermanentError(
                "head-gone",
                f"head {home} is gone, and with it what this is about",
                todo="Nothing: it is looked after again when it is there.",
            )

    def require_in_time(self, now: datetime) -> None:
        """Refused, where the sender doesn't want it any more."""
        expiry = self.record.expires_at
        if expiry is not None and expiry <= now:
            detail = f"its turn had not come at {expiry.isoformat()}"
            raise Refused("expired", detail, todo="Send it again under a new id, with more time.")

    def verify(self) -> None:
        """ClaimLost, unless all claims are still ours. Called before each driver call.

        An answer that we read only after the claims may have run out is none: this process stood still, or the answer
        was long on its way. One that is old is asked for again: whoever moves an address takes claims away that have
        not run out. Where the database is slow, the third one has to do."""
        for _ in range(LOOKS):
            asked = monotonic()
            with self._database.read() as tx:
                left = claims.verify(tx, self._held, self._holder, self.operation)
            took = monotonic() - asked
            if took >= left:
                raise ClaimLost("the claims may have run out while they were looked at")
            if took < FRESH:
                break
        # Of all heads' logs together: the epochs of a key never go back, or two of them acted on it at a time.
        log.debug("driver.called", held={one.key: one.epoch for one in self._held})

    def verify_in(self, tx: Tx) -> None:
        """The same, in a transaction that goes on to write."""
        claims.verify(tx, self._held, self._holder, self.operation, keep=True)

    def release_in(self, tx: Tx, *, ended: bool = False) -> None:
        """Give the claims back."""
        claims.release(tx, self.operation, self._holder, ended=ended)

    def now(self) -> datetime:
        """The database's time."""
        return self._database.now()

    def mark(self, key: str) -> Any:
        """What an earlier run wrote down."""
        with self._lock:
            return self.record.marks.get(key)

    def write(self, key: str, value: Any) -> None:
        """Write something down that can't be seen by looking."""
        with self._lock, self._database.write() as tx:
            self.verify_in(tx)
            marks = {**self.record.marks, key: value}
            operations.change(tx, self.operation, marks=marks)
            self.record = replace(self.record, marks=marks)

    def owner(self, disk: str) -> str | None:
        """The client that was noted to have the disk open."""
        row = self.disk(disk)
        return row.owner if row else None

    def record_owner(self, disk: str, owner: str | None) -> None:
        """Note the client, before any initiator may enter."""
        with self._database.write() as tx:
            self.verify_in(tx)
            if not operations.note_owner(tx, disk, owner):
                raise ClaimLost(f"the row of disk {disk} is gone")

    @property
    def former(self) -> tuple[str, ...]:
        """Who had the operation in hand before, never gave it back, and is to be cut off from the storage."""
        return self.record.clients or ()

    def note_client(self, client: str | None) -> None:
        """Write down who we are to the storage from now on, and that nobody is to be cut off any more but us."""
        with self._lock, self._database.write() as tx:
            self.verify_in(tx)
            operations.change(tx, self.operation, clients=[client] if client else [])
            self.client = client
            self.record = replace(self.record, clients=None)

    def disk(self, disk: str) -> Disk | None:
        """The row of a disk as it is now."""
        with self._database.read() as tx:
            return StoreView(tx, 0).disk(disk)

    def members(self) -> tuple[int, int]:
        """Of a group's operations, how many have ended, and how many there are."""
        with self._database.read() as tx:
            return operations.members(tx, self.operation)

    def promises(self, *, shared: bool) -> Promises:
        """What the rows promise now."""
        with self._database.read() as tx:
            return self._auditor.promises(tx, shared=shared)

    def report(
        self, head: str, seen: Sequence[str], silent: Mapping[str, str], found: Sequence[Finding], only: Sequence[str]
    ) -> None:
        """Kept in one transaction with the operations that mend."""
        with self._lock, self._database.write() as tx:
            self.verify_in(tx)
            report = self._auditor.report(tx, self.record, head, seen, silent, found, only)
            marks = {**self.record.marks, REPORT: report}
            operations.change(tx, self.operation, marks=marks)
            self.record = replace(self.record, marks=marks)

    def upload(self) -> Path | None:
        """The staging file, if its bytes are all there."""
        with self._database.read() as tx:
            slot = uploads.find(tx, self.operation)
        path = self._staging / self.operation
        return path if slot and slot.complete and path.exists() else None

    def progress(self, step: str, done: int, total: int) -> None:
        """Tell subscribers, unless they have been told within the last second and it goes on."""
        one = self.record
        event = OperationProgressed(
            operation=one.id, command=one.type, project=one.project, step=step, done=done, total=total
        )
        with self._lock, self._database.write() as tx:
            last = self.record.marks.get(TOLD)
            if last and done < total and tx.now - datetime.fromisoformat(last) < GAP:
                return
            self.verify_in(tx)
            outbox.emit(tx, event, self.cause)
            marks = {**self.record.marks, TOLD: tx.now.isoformat()}
            operations.change(tx, self.operation, marks=marks)
            self.record = replace(self.record, marks=marks)
