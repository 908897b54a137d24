"""`bmid fsck`: what is not as the rows say, for people, beside a running daemon; and having it mended by the daemon.

It only looks. What is local to another head comes from that head's last look; what is mended, operations mend.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bmid.engine.auditor import Auditor
from bmid.engine.submission import Submission
from bmid.errors import TransientError
from bmid.handlers.reconcile_site import ReconcileSite
from bmid.handlers.registry import discover
from bmid.model.finding import Finding, Kind, Noted, Remedy, due
from bmid.model.operation import FINAL, Operation, Phase
from bmid.model.promise import Promises
from bmid.parts import make_database, make_ports, make_site
from bmid.settings import Settings
from bmid.steps.audit import compare_both
from bmid.steps.sighting import look, look_at_shared
from bmid.store import findings, heads, operations
from bmid.store.database import Tx
from bmid.store.findings import Looked
from bmid.store.view import StoreView

__all__ = ["PATIENCE", "Fsck", "Report"]

LOOK = 0.5  # seconds between two looks at operations that mend
DONE = "done"
PATIENCE = 600.0  # seconds that a repair is waited for


@dataclass(frozen=True)
class Report:
    """What was found. `rows` are findings for programs and people; `elsewhere` says when parts of other heads were
    looked at last; `silent` the parts that gave no answer now, and heads that nobody looks at, with the reason."""

    rows: Sequence[dict[str, Any]]
    elsewhere: Sequence[dict[str, Any]]
    silent: dict[str, str]

    @property
    def whole(self) -> bool:
        """Whether everything was looked at: else nobody can say that all is well."""
        return not self.silent and not any(one["problem"] for one in self.elsewhere)

    def shape(self) -> dict[str, Any]:
        """As JSON."""
        return {"findings": list(self.rows), "elsewhere": list(self.elsewhere), "silent": self.silent}


class Fsck:
    """Looks with drivers of its own. Raises Misconfigured, and TransientError where the database is away."""

    def __init__(self, settings: Settings) -> None:
        self._database = make_database(settings)
        self._database.verify()
        self._ports = make_ports(settings)
        self._head = settings.head.name
        self._dead_after = settings.engine.dead_after
        self._quarantine = timedelta(seconds=settings.engine.quarantine)
        self._source = f"/bmid/{self._head}"
        self._site = make_site(settings, upload_url="")
        self._registry = discover()
        self._auditor = Auditor(self._registry, self._site, self._head, self._source)

    def look(self, only: Sequence[Kind] = ()) -> Report:
        """At the storage, the rows and this head, now."""
        before = self._promises()
        seen = look(self._ports, self._head, self._site.iqn_prefix, before)
        look_at_shared(self._ports.storage, seen)
        rows = self._promises()
        found = compare_both(before, seen, rows)
        with self._database.read() as tx:
            noted, looked, now = findings.noted(tx), findings.looks(tx), tx.now
            others = {one.name for one in heads.others(tx, self._head, self._dead_after)}
            unseen = self._unseen(tx, rows, {one.head for one in looked})
        told = [*self._fresh(found, noted, now), *(self._row(one, now) for one in noted if one.finding.head in others)]
        return Report(
            [row for row in told if not only or row["kind"] in only],
            [_looked(one, now) for one in looked if one.head in others],
            {**seen.silent, **unseen},
        )

    def _unseen(self, tx: Tx, rows: Promises, looked: Collection[str]) -> dict[str, str]:
        """Other heads whose own nobody knows, where nodes depend on it; with the reason."""
        homes = Counter(disk.head for disk in rows.disks.values() if disk.home(disk.head or ""))
        known = {one.name: one for one in heads.every(tx)}
        found = {}
        for name in sorted(home for home in homes if home and home != self._head):
            row, disks = known.get(name), f"{homes[name]} mapped disks are at home there"
            if row is None or not row.alive(self._dead_after):
                how = "has never been there" if row is None else "was stopped" if row.stopped else "is dead"
                found[f"head {name}"] = f"it {how}, and {disks}"
            elif name not in looked:
                found[f"head {name}"] = f"it has not looked at what is its own yet, and {disks}"
        return found

    def _promises(self) -> Promises:
        with self._database.read() as tx:
            return self._auditor.promises(tx, shared=True)

    def _fresh(self, found: Sequence[Finding], noted: Sequence[Noted], now: datetime) -> Iterator[dict[str, Any]]:
        known = {one.finding.key: one for one in noted}
        for one in found:
            kept = known.get(one.key)
            yield self._row(Noted(one, kept.first_seen if kept else now, now, kept.looks if kept else 0), now)

    def _row(self, one: Noted, now: datetime) -> dict[str, Any]:
        finding, remedy = one.finding, one.finding.kind.about.remedy
        freed = one.first_seen + self._quarantine if remedy is Remedy.REMOVE else None
        return {
            "kind": finding.kind.value,
            "subject": finding.subject,
            "head": finding.head or None,
            "where": finding.where,
            "what": finding.what,
            "why": finding.why,
            "since": one.first_seen.isoformat(timespec="seconds"),
            "age": round((now - one.first_seen).total_seconds()),
            "seen": one.last_seen.isoformat(timespec="seconds"),
            "looks": one.looks,
            "todo": finding.kind.about.todo,
            "not_before": freed.isoformat(timespec="seconds") if freed else None,
            # A repair is a look itself, and counts as one.
            "repairable": due(Noted(finding, one.first_seen, now, one.looks + 1), now, self._quarantine),
        }

    def repair(self, only: Sequence[Kind], tell: Callable[[str], None], patience: float = PATIENCE) -> list[str]:
        """Have every living head look and mend, and wait for the end, `patience` seconds at most; why what was not
        mended was not. What is not done by then goes on by itself."""
        submission = Submission(self._registry, self._head, self._source)
        with self._database.write() as tx:
            names = [one.name for one in heads.every(tx) if one.alive(self._dead_after)]
            if not names:
                raise TransientError(
                    "no-home", "no head is alive that could mend anything", todo="Start bmid, then try again."
                )
            first = self._head if self._head in names else names[0]
            asked = {
                name: submission.submit(tx, ReconcileSite(head=name, shared=name == first, only=tuple(only)))
                for name in names
            }
            end = tx.now + timedelta(seconds=patience)
        pause = threading.Event()
        while True:
            with self._database.read() as tx:
                stand = {head: _stand(tx, operation) for head, operation in asked.items()}
                late = tx.now >= end
            tell("; ".join(f"{head}: {what}" for head, what in stand.items()))
            left = {head: what for head, what in stand.items() if what != DONE}
            if late or not left:
                break
            pause.wait(LOOK)
        over = [f"head {head} was not done within {patience:g} s ({what}); it goes on" for head, what in left.items()]
        return [*over, *(why for operation in asked.values() for why in self._failures(operation))]

    def _failures(self, operation: str) -> Iterator[str]:
        with self._database.read() as tx:
            one = operations.find(tx, operation)
            found: list[Operation] = [*([one] if one else []), *StoreView(tx, 0).members(operation)]
        for each in found:
            if each.phase is Phase.FAILED:
                yield f"{each.type} {each.id}: {(each.problem or {}).get('detail', 'failed')}"

    def close(self) -> None:
        """Let go of everything."""
        self._ports.storage.close()
        self._ports.target.close()
        self._database.close()


def _stand(tx: Tx, operation: str) -> str:
    """How far an operation is that looks and mends."""
    one = operations.find(tx, operation)
    if one is None or one.phase in FINAL:
        return DONE
    ended, total = operations.members(tx, operation)
    if not total:
        return one.why or ("waits for its turn" if one.phase is Phase.PENDING else "looks")
    held_up = findings.held_up(tx, operation)
    return f"{ended} of {total} mended" + (f", one waits: {held_up}" if held_up else "")


def _looked(one: Looked, now: datetime) -> dict[str, Any]:
    age = round((now - one.seen_at).total_seconds()) if one.seen_at else None
    seen = one.seen_at.isoformat(timespec="seconds") if one.seen_at else None
    return {"head": one.head, "part": one.part, "seen": seen, "age": age, "problem": one.problem}
