"""What is right and what is wrong after a run: commands and events, storage and targets, bytes. It only looks.

Each question gives a list of sentences; an empty one is right.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import rados
import rbd
from sqlalchemy import select

from bmid.engine.identity import Ports
from bmid.handlers.registry import discover
from bmid.messages.envelope import Envelope
from bmid.messages.operation import CommandRejected, OperationAccepted, OperationProgressed
from bmid.model.finding import Kind
from bmid.parts import make_database, make_ports
from bmid.settings import Settings
from bmid.settings_file import load
from bmid.steps.audit import compare
from bmid.steps.sighting import look, look_at_shared
from bmid.store import findings, schema
from bmid.store.database import Database
from bmid.store.view import StoreView
from chaos.ledger import BLOCK, Ledger, offset
from chaos.lineage import Lineage
from chaos.machine import Machine
from chaos.tenancy import Tenancies

__all__ = ["NO_END", "Judge"]

ENDED = ("succeeded", "failed")
FRESH = timedelta(seconds=10)  # what bmid has begun by itself just now may be under way, or its event on its way
SWEPT = (Kind.STAGING_LEFT, Kind.EXPORT_LEFT)  # every ten minutes, which is longer than is waited for here
NO_END = (OperationAccepted.type, OperationProgressed.type)


class Judge:
    """Looks at a site from outside, with the settings of its heads."""

    def __init__(self, configs: Mapping[str, Path]) -> None:
        self._settings: dict[str, Settings] = {name: load(path) for name, path in configs.items()}
        self._direct: Database | None = None
        self._first = next(iter(self._settings.values()))
        self._ports: dict[str, Ports] = {}
        self._registry = discover()

    @property
    def database(self) -> Database:
        """Of all heads."""
        if self._direct is None:
            self._direct = make_database(self._first)
        return self._direct

    def close(self) -> None:
        """Let go of database and storage."""
        for ports in self._ports.values():
            ports.storage.close()
        if self._direct is not None:
            self._direct.close()

    def unfinished(self) -> list[str]:
        """Operations that have not ended."""
        operation = schema.operation.c
        columns = (operation.id, operation.type, operation.phase, operation.why, operation.attempts)
        with self.database.read() as tx:
            old = operation.accepted_at < tx.now - FRESH
            rows = tx.execute(select(*columns).where(operation.phase.not_in(ENDED), old)).all()
        return [f"{row.type} {row.id} is {row.phase} after {row.attempts} attempts: {row.why}" for row in rows]

    def unpublished(self) -> list[str]:
        """Events that have not gone out."""
        with self.database.read() as tx:
            rows = tx.execute(select(schema.outbox.c.type).where(schema.outbox.c.published_at.is_(None))).all()
        return [f"{row.type} has not gone out" for row in rows]

    def events(self) -> set[str]:
        """The ids of all events that have gone out."""
        outbox = schema.outbox.c
        with self.database.read() as tx:
            gone = outbox.published_at.is_not(None) | (outbox.asked > 0)
            return {row.event for row in tx.execute(select(outbox.event).where(gone))}

    def commands(self, sent: Iterable[str], heard: Mapping[str, Envelope]) -> tuple[list[str], list[str]]:
        """What is lost and what is doubled of the commands with these ids: one acceptance and one end each. None of
        them is one that may be rejected."""
        operation = schema.operation.c
        with self.database.read() as tx:
            rows = tx.execute(select(operation.id, operation.type, operation.ended_at)).all()
            ended = {row.id for row in rows if row.ended_at is not None and row.ended_at < tx.now - FRESH}
        operations = {row.id: row.type for row in rows}
        lost: list[str] = []
        doubled: list[str] = []
        begins: dict[str, set[str]] = defaultdict(set)  # message → the operations that it led to
        ends: Counter[str] = Counter()
        for event in heard.values():
            of = str(event.data.get("operation"))
            if event.type == OperationAccepted.type:
                begins[str(event.causationid)].add(of)
                lost += [] if of in operations else [f"operation {of} was accepted, and has no row"]
            elif event.type == CommandRejected.type:
                lost.append(f"command {event.causationid} was rejected: {event.data['reasons']}")
            elif event.type in self._ends(operations.get(of)):
                ends[of] += 1
        lost += [f"command {one} was not accepted" for one in sent if not begins[one]]
        doubled += [f"command {one} led to {sorted(begins[one])}" for one in sent if len(begins[one]) > 1]
        lost += [f"operation {one} has no end" for one in ended if not ends[one]]
        doubled += [f"operation {one} has {ends[one]} ends" for one in operations if ends[one] > 1]
        return lost, doubled

    def _ends(self, kind: str | None) -> tuple[str, ...]:
        """The events that are the end of an operation of this type; others tell of the node, the boot, the image."""
        return self._registry.ends(kind) if kind is not None and kind in self._registry.commands else ()

    def outcomes(self) -> Counter[str]:
        """How operations ended, with the problems of those that failed."""
        operation = schema.operation.c
        with self.database.read() as tx:
            rows = tx.execute(select(operation.phase, operation.problem).where(operation.phase.in_(ENDED))).all()
        return Counter("done" if row.phase == "succeeded" else _named(row.problem or {}) for row in rows)

    def gaps(self, heard: Mapping[str, Envelope]) -> list[str]:
        """Holes in `sequence` by subject, and in `position` over all."""
        sequences: dict[str, list[int]] = defaultdict(list)
        for event in heard.values():
            sequences[event.subject or ""].append(int(event.sequence or 0))
        sequences[""] = [event.position or 0 for event in heard.values()]
        return [
            f"events of {subject or 'all subjects'} are counted with holes or twice: {sorted(found)[:20]}"
            for subject, found in sequences.items()
            if sorted(found) != list(range(1, len(found) + 1))
        ]

    def orphans(self) -> list[str]:
        """Whatever is not as the rows say, or wrong among the rows, in the words of `bmid fsck`."""
        ends = {kind: self._registry.ends(kind) for kind in self._registry.commands}
        with self.database.read() as tx:
            rows = findings.promises(tx, ends, timedelta(days=1))
        found: list[str] = []
        for number, (head, settings) in enumerate(self._settings.items()):
            seen = look(self.ports(head), head, settings.target.iqn_prefix, rows)
            if not number:
                look_at_shared(self.ports(head).storage, seen)
            found += [f"{part} of {head} does not answer: {why}" for part, why in seen.silent.items()]
            found += [
                f"{one.kind} {one.subject} at {one.head} {one.where}: {one.what}"
                for one in compare(rows, seen)
                if one.kind not in SWEPT
            ]
        return found

    def misled(self, machines: Iterable[Machine]) -> list[str]:
        """Disks that a node was led to when they were not its own: never, not yet, or not any more."""
        columns = ("type", "command", "plan", "phase", "accepted_at", "ended_at")
        with self.database.read() as tx:
            rows = tx.execute(select(*(schema.operation.c[name] for name in columns))).all()
        tenancies = Tenancies(rows)
        return [why for one in machines for seen in one.sightings.all if (why := tenancies.wrong(one.name, seen))]

    def bytes(self, ledger: Ledger) -> None:
        """Read every disk that is left, beside all targets, and hold it against what was acknowledged."""
        with self.database.read() as tx:
            disks = [one.id for one in StoreView(tx, 60).disks()]
        storage = self._first.storage
        paths = {disk: self.ports(next(iter(self._settings))).storage.backing(disk).path for disk in disks}
        if storage.driver == "directory":
            for disk, path in paths.items():
                with Path(path).open("rb") as file:
                    for block in ledger.written(disk):
                        file.seek(offset(block))
                        ledger.check(disk, block, file.read(BLOCK), "at the end")
            return
        with (
            rados.Rados(conffile=str(storage.rbd.conf), rados_id=storage.rbd.user) as cluster,
            cluster.open_ioctx(storage.rbd.pool) as pool,
        ):
            for disk, path in paths.items():
                with rbd.Image(pool, path.partition("/")[2], read_only=True) as image:
                    for block in ledger.written(disk):
                        ledger.check(disk, block, image.read(offset(block), BLOCK), "at the end")

    def inherited(self, ledger: Ledger) -> list[str]:
        """Disks that hold bytes of a disk or a golden file that they were not made from."""
        operation = schema.operation.c
        with self.database.read() as tx:
            rows = tx.execute(select(operation.id, operation.command, operation.plan)).all()
        lineage = Lineage((row.id, row.command, row.plan) for row in rows)
        return [
            f"disk {disk} holds bytes of {whose}, and comes from {sorted(lineage.of(disk))}"
            for disk, whose in sorted(ledger.inherited)
            if whose not in lineage.of(disk)
        ]

    def ports(self, head: str) -> Ports:
        """The drivers of a head."""
        if head not in self._ports:
            self._ports[head] = make_ports(self._settings[head])
        return self._ports[head]


def _named(problem: Mapping[str, Any]) -> str:
    word = "refused" if problem.get("refused") else "failed"
    return f"{word}: {str(problem.get('type')).rpartition(':')[2]}"
