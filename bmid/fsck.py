"""`bmid fsck`: what is not as the rows say, for people, beside a running daemon; and having it mended by the daemon.

It only looks. What is local to another head comes from that head's last look; what is mended, operations mend.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bmid.engine.auditor import Auditor
from bmid.engine.submission import Submission
from bmid.errors import Refused
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
from bmid.store.findings import Looked
from bmid.store.view import StoreView

__all__ = ["Fsck", "Report"]

LOOK = 0.5  # seconds between two looks at operations that mend


@dataclass(frozen=True)
class Report:
    """What was found. `rows` are findings for programs and people; `elsewhere` says when parts of other heads were
    looked at last; `silent` the parts that gave no answer now, with the reason."""

    rows: Sequence[dict[str, Any]]
    elsewhere: Sequence[dict[str, Any]]
    silent: dict[str, str]

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
        found = compare_both(before, seen, self._promises())
        with self._database.read() as tx:
            noted, looked, now = findings.noted(tx), findings.looks(tx), tx.now
            others = {one.name for one in heads.others(tx, self._head, self._dead_after)}
        rows = [*self._fresh(found, noted, now), *(self._row(one, now) for one in noted if one.finding.head in others)]
        return Report(
            [row for row in rows if not only or row["kind"] in only],
            [_looked(one, now) for one in looked if one.head in others],
            seen.silent,
        )

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

    def repair(self, only: Sequence[Kind], tell: Callable[[str], None]) -> list[str]:
        """Have every living head look and mend, and wait for the end; why what could not be mended was not."""
        submission = Submission(self._registry, self._head, self._source)
        with self._database.write() as tx:
            names = [one.name for one in heads.every(tx) if one.alive(self._dead_after)]
            if not names:
                raise Refused(
                    "no-home", "no head is alive that could mend anything", todo="Start bmid, then try again."
                )
            first = self._head if self._head in names else names[0]
            asked = {
                name: submission.submit(tx, ReconcileSite(head=name, shared=name == first, only=tuple(only)))
                for name in names
            }
        pause = threading.Event()
        while True:
            lines = [self._stand(*one) for one in asked.items()]
            tell("; ".join(lines))
            if all(line.endswith(": done") for line in lines):
                break
            pause.wait(LOOK)
        return [why for operation in asked.values() for why in self._failures(operation)]

    def _stand(self, head: str, operation: str) -> str:
        with self._database.read() as tx:
            one = operations.find(tx, operation)
            ended, total = operations.members(tx, operation)
        if one is None or one.phase in FINAL:
            return f"{head}: done"
        return f"{head}: {ended} of {total} mended" if total else f"{head}: {one.why or 'looks'}"

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


def _looked(one: Looked, now: datetime) -> dict[str, Any]:
    age = round((now - one.seen_at).total_seconds()) if one.seen_at else None
    seen = one.seen_at.isoformat(timespec="seconds") if one.seen_at else None
    return {"head": one.head, "part": one.part, "seen": seen, "age": age, "problem": one.problem}
