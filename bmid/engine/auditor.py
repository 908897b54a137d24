"""What becomes of a look at the world: findings are kept, and what may be mended gets its operations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import structlog

from bmid.engine.submission import Submission
from bmid.handlers.registry import Registry
from bmid.handlers.remove_orphan import RemoveOrphan
from bmid.handlers.restore_export import RestoreExport
from bmid.messages.base import Command
from bmid.model.finding import SHARED, Finding, Kind, Noted, Remedy, due
from bmid.model.operation import Operation
from bmid.model.promise import Promises
from bmid.model.site import Site
from bmid.store import findings, ledger, operations
from bmid.store.database import Tx

__all__ = ["Auditor"]

log = structlog.get_logger(__name__)
MOST = 1000  # operations that mend, at a time; the next look sees the rest


class Auditor:
    """Serves the steps of a look, on `head`, whose events are from `source`. All of it is in transactions of its
    callers."""

    def __init__(self, registry: Registry, site: Site, head: str, source: str) -> None:
        self._ends = {kind: registry.ends(kind) for kind in registry.commands}
        self._retention = timedelta(days=site.retention_days)
        self._quarantine = timedelta(seconds=site.quarantine)
        self._submission = Submission(registry, head, source)
        self._source = source

    def promises(self, tx: Tx, *, shared: bool) -> Promises:
        """What the rows say; with `shared` also what is wrong among them."""
        return findings.promises(tx, self._ends if shared else None, self._retention)

    def report(
        self,
        tx: Tx,
        operation: Operation,
        head: str,
        seen: Sequence[str],
        silent: Mapping[str, str],
        found: Iterable[Finding],
        only: Sequence[str],
    ) -> dict[str, Any]:
        """Keep what was found, mend what may be; the counts of it. `only`: kinds that are mended; none: all."""
        found = list(found)
        findings.note(tx, head, seen, silent, found)
        heads = (head, SHARED) if "database" in seen else (head,)
        open_ones = findings.noted(tx, *heads)
        ready = [one for one in open_ones if due(one, tx.now, self._quarantine)]
        ready = [one for one in ready if not only or one.finding.kind in only]
        rows = [one.finding for one in ready if one.finding.kind.about.remedy is Remedy.WRITE]
        settled = ledger.settle(tx, rows, self._source)
        for command in self._commands(tx, findings.noted(tx), ready)[:MOST]:
            self._submission.submit(tx, command, operation)
        counts = Counter(one.finding.kind.value for one in open_ones)
        if counts or silent:
            log.warning("site.differs", head=head, findings=dict(counts), silent=sorted(silent))
        return {"findings": dict(counts), "settled": settled, "silent": dict(silent)}

    def _commands(self, tx: Tx, every: Sequence[Noted], ready: Sequence[Noted]) -> list[Command]:
        going = operations.pending(tx, RemoveOrphan.type, "id")
        waits, gone = _waiting(every), {one.finding.subject for one in every if one.finding.kind is Kind.DISK_MISSING}
        restored: dict[str, Command] = {}
        removed: list[Command] = []
        for one in (noted.finding for noted in ready):
            if one.kind.about.remedy is Remedy.RESTORE and one.node and one.subject not in gone:
                restored[one.subject] = RestoreExport(node=one.node, disk=one.subject)
            elif one.kind.about.remedy is Remedy.REMOVE and one.subject not in going and one.key[:2] not in waits:
                removed.append(_removal(one))
        return [*restored.values(), *removed]


def _waiting(every: Sequence[Noted]) -> set[tuple[str, str]]:
    """What is not removed now. A disk without a row whose target still stands, at whichever head, may be in use by its
    node, which would need pointer and seed again, too; and what belongs to a stranger's disk is the stranger's."""
    of: dict[Kind, set[str]] = {}
    for one in every:
        of.setdefault(one.finding.kind, set()).add(one.finding.subject)
    exported, rowless = of.get(Kind.TARGET_ORPHANED, set()), of.get(Kind.DISK_ORPHANED, set())
    led = {Kind.POINTER_ORPHANED, Kind.SEED_ORPHANED}
    used = {(kind, disk) for kind in (Kind.DISK_ORPHANED, *led) for disk in exported & rowless}
    strangers = of.get(Kind.STRANGER, set())
    return used | {(kind, disk) for kind in (Kind.TARGET_ORPHANED, *led) for disk in strangers}


def _removal(one: Finding) -> RemoveOrphan:
    return RemoveOrphan(
        kind=one.kind,
        id=one.subject,
        head=one.head,
        project=one.project,
        name=one.name,
        node=one.node,
        details=one.details,
    )
