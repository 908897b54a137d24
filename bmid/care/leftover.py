"""What an operation would leave behind if it were abandoned now: what `bmid fsck` would find then, and doesn't yet.

It only looks: at the rows, the storage, and what is local to this head. But whoever had the operation in hand, and may
be in a call of the storage still, is cut off there: nothing more is to come of what is abandoned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace

import structlog

from bmid.engine.auditor import Auditor
from bmid.engine.identity import Ports
from bmid.errors import BmiError
from bmid.handlers.registry import discover
from bmid.messages.operation import LeftBehind
from bmid.model.finding import Finding
from bmid.model.operation import Operation
from bmid.model.promise import Promises
from bmid.parts import make_database, make_ports, make_site
from bmid.settings import Settings
from bmid.steps.audit import compare_both
from bmid.steps.sighting import Sightings, look, look_at_shared
from bmid.store import operations
from bmid.store.database import Database

__all__ = ["Left", "Leftovers"]

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Left:
    """What is left, and where nobody could look, with the reason."""

    things: tuple[LeftBehind, ...] = ()
    unseen: dict[str, str] = field(default_factory=dict)


class Leftovers:
    """Looks with drivers of its own, which are opened and closed for each look. `head` is the one that it runs on."""

    def __init__(
        self,
        database: Database,
        auditor: Auditor,
        ports: Callable[[], AbstractContextManager[Ports]],
        head: str,
        iqn_prefix: str,
    ) -> None:
        self._database = database
        self._auditor = auditor
        self._ports = ports
        self._head = head
        self._iqn_prefix = iqn_prefix

    @classmethod
    def from_settings(cls, settings: Settings) -> Leftovers:
        """As the settings say."""
        head, site = settings.head.name, make_site(settings, upload_url="")
        auditor = Auditor(discover(), site, head, f"/bmid/{head}")
        return cls(make_database(settings), auditor, lambda: _opened(settings), head, site.iqn_prefix)

    def look(self, one: Operation) -> Left:
        """At the world as it is now. What can't be looked at is named, and hinders nothing."""
        before, bare_before = self._promises(one)
        seen = Sightings(self._head, self._iqn_prefix)
        try:
            with self._ports() as ports:
                seen = look(ports, self._head, self._iqn_prefix, before)
                look_at_shared(ports.storage, seen)
        except BmiError as error:
            seen.silent[f"head {self._head}"] = str(error)
            seen.seen.append("database")
        after, bare_after = self._promises(one)
        known = {finding.key for finding in compare_both(before, seen, after)}
        found = [each for each in compare_both(bare_before, seen, bare_after) if each.key not in known]
        unseen = dict(seen.silent)
        if one.home not in (None, self._head):
            unseen[f"head {one.home}"] = "targets, boot files and seeds there: `bmid fsck` on that head tells of them"
        return Left(tuple(_told(each, seen) for each in found), unseen)

    def cut_off(self, one: Operation) -> tuple[str, ...]:
        """Those who had it in hand and never gave it back, and who it was: frozen in a call of the storage, they would
        have their effect when they wake, and nobody stands behind this operation then who would keep them out.
        TransientError where the storage gives no answer."""
        if not one.clients:
            return ()
        with self._ports() as ports:
            ports.storage.cut_off(one.clients)
        log.warning("operation.cut_off", operation=one.id, clients=one.clients)
        return one.clients

    def _promises(self, one: Operation) -> tuple[Promises, Promises]:
        """What the rows promise, and what they would without the operation, whoever stands behind it."""
        with self._database.read() as tx:
            rows = self._auditor.promises(tx, shared=False)
            mine = operations.keys(tx, one.id)
        bare = replace(rows, at_work=rows.at_work - mine, restored=rows.restored - mine)
        return rows, replace(bare, unfinished=rows.unfinished - {one.id})


@contextmanager
def _opened(settings: Settings) -> Iterator[Ports]:
    ports = make_ports(settings)
    try:
        yield ports
    finally:
        ports.storage.close()
        ports.target.close()


def _told(one: Finding, seen: Sightings) -> LeftBehind:
    parts = tuple(_parts(one.subject, seen))
    todo = one.kind.about.todo
    return LeftBehind(kind=one.kind.value, subject=one.subject, where=one.where, what=one.what, todo=todo, parts=parts)


def _parts(identifier: str, seen: Sightings) -> Iterable[str]:
    """What is there of one thing, wherever it was looked for."""
    for stored in seen.stored or ():
        if stored.id == identifier and stored.kind in ("image", "disk"):
            yield f"{stored.kind} {identifier} in the storage"
            yield from (f"its snapshot {snapshot}" for snapshot in stored.snapshots)
    for shard, exports in seen.targets.items():
        mine = f"{seen.iqn_prefix}:{identifier}"
        yield from (f"target {one.number} at shard {shard} of {seen.head}" for one in exports if one.iqn == mine)
    yield from (f"boot pointer {one.address}" for one in seen.pointers or () if one.disk == identifier)
    if identifier in (seen.seeds or ()):
        yield f"seed {identifier}"
