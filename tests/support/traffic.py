"""Commands that go on while something is out of order, and what must hold when all of them have ended."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import select

from bmi_publish import Client, State, Ticket
from bmi_publish.error import PublishError
from bmid.handlers.create_project import CreateProject
from bmid.handlers.map_node import MapNode
from bmid.handlers.registry import discover
from bmid.handlers.unmap_node import UnmapNode
from bmid.messages.base import Command
from bmid.messages.operation import OperationAccepted
from bmid.settings_file import load
from bmid.steps.audit import compare
from bmid.steps.sighting import look, look_at_shared
from bmid.store import findings, schema
from tests.support.house import House

__all__ = ["Busy", "require_told", "require_world"]

MOST = 60  # commands for one outage: afterwards they are waited for, also on a busy machine


class Busy:
    """A site with one image and some nodes, which are mapped and unmapped in turns while a test does its worst."""

    def __init__(self, house: House, nodes: int = 6, pace: float = 0.15) -> None:
        self.house = house
        self.project = house.project()
        self.image = house.image(self.project)
        self.nodes = [house.node() for _ in range(nodes)]
        self.tickets: list[Ticket] = []
        self._pace = pace
        self._mapped = dict.fromkeys(self.nodes, False)
        self._ended = threading.Event()

    @contextmanager
    def going_on(self, seconds: float = 60, *, lost: bool = False, alone: bool = True) -> Iterator[None]:
        """Commands are published meanwhile. Afterwards each has ended, once, and the world is as the rows say.

        `lost`: the broker forgets what it had confirmed, so that what was sent later may have come first. `alone`: no
        other commands are under way, whose things may be half there.
        """
        self.tickets, self._ended = [], threading.Event()
        thread = threading.Thread(target=self._publish, daemon=True)
        thread.start()
        try:
            time.sleep(4 * self._pace)
            yield
        finally:
            self._ended.set()
            thread.join(40)
        self.settle(seconds, lost, alone)

    def settle(self, seconds: float, lost: bool, alone: bool) -> None:
        """All have ended, and nothing was lost, doubled or left."""
        assert len(self.tickets) > 2
        self.house.database.engine.dispose()  # the test's own connections, which may have gone with a server
        results = self.house.client().wait_all(self.tickets, seconds)
        states = Counter(result.state for result in results)
        allowed = {State.DONE, State.REFUSED} if lost else {State.DONE}
        problems = [result.problem for result in results if result.state not in allowed]
        assert set(states) <= allowed, (states, problems[:3], self.house.bmid.process.tail(8))
        require_told(self.house, self.tickets)
        if alone:
            require_world([self.house])

    def _publish(self) -> None:
        client = Client(self.house.url("alice"), source="/tests/busy", reach=5)
        numbers = itertools.count()
        with client:
            while not self._ended.is_set() and len(self.tickets) < MOST:
                ticket = client.ticket(self._next(next(numbers)))
                while not self._sent(client, ticket) and not self._ended.is_set():
                    self._ended.wait(0.2)
                self.tickets.append(ticket)  # also one of which nobody knows whether it has arrived
                self._ended.wait(self._pace)

    def _sent(self, client: Client, ticket: Ticket) -> bool:
        try:
            client.publish(ticket)
        except PublishError:
            return False
        return True

    def _next(self, number: int) -> Command:
        if number % 4 == 3:
            return CreateProject(project=self.house.name("meanwhile"))
        node = self.nodes[number % len(self.nodes)]
        self._mapped[node] = not self._mapped[node]
        if self._mapped[node]:
            return MapNode(project=self.project, node=node, image=self.image)
        return UnmapNode(project=self.project, node=node, force=True)


def require_told(house: House, tickets: Sequence[Ticket]) -> None:
    """Each command was accepted once and ended once, all of it was published, and no number is left out."""
    registry = discover()
    outcomes = {end for kind in registry.commands for end in registry.ends(kind)}

    def unpublished() -> int:
        with house.database.read() as tx:
            return len(tx.execute(select(schema.outbox.c.id).where(schema.outbox.c.published_at.is_(None))).all())

    house.until(lambda: not unpublished(), 60)
    with house.database.read() as tx:
        rows = tx.execute(select(schema.outbox)).all()
    told: dict[str, Counter[str]] = defaultdict(Counter)
    sequences: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        told[row.envelope.get("causationid") or ""][row.type] += 1
        sequences[row.envelope["subject"]].append(int(row.envelope["sequence"]))
    for ticket in tickets:
        seen = told[ticket.id]
        ends = {kind: count for kind, count in seen.items() if kind in outcomes}
        assert (seen[OperationAccepted.type], sum(ends.values())) == (1, 1), (ticket.id, seen)
    assert sorted(row.position for row in rows) == list(range(1, len(rows) + 1))
    for subject, found in sequences.items():
        assert sorted(found) == list(range(1, len(found) + 1)), subject


def require_world(houses: Sequence[House], seconds: float = 45) -> None:
    """Clones, targets, boot pointers and staged files are those that rows explain, and every row's are there; and what
    `bmid fsck` compares finds nothing, at no head. Soon: of a client that was cut off Ceph keeps for half a minute what
    it had open."""
    end = time.monotonic() + seconds
    while (differ := _differences(houses) or _findings(houses)) and time.monotonic() < end:
        time.sleep(0.2)
    assert not differ, differ


def _findings(houses: Sequence[House]) -> list[str]:
    """What the comparison of rows and sightings says that the daemon, fsck and chaos share."""
    registry = discover()
    with houses[0].database.read() as tx:
        rows = findings.promises(tx, {kind: registry.ends(kind) for kind in registry.commands}, timedelta(days=1))
    found: list[str] = []
    for house in houses:
        seen = look(house.ports, house.bmid.name, load(house.bmid.config).target.iqn_prefix, rows)
        if house is houses[0]:
            look_at_shared(house.ports.storage, seen)
        found += [f"{part} of {house.bmid.name} does not answer: {why}" for part, why in seen.silent.items()]
        found += [f"{one.kind} {one.subject} at {one.head} {one.where}: {one.what}" for one in compare(rows, seen)]
    return found


def _differences(houses: Sequence[House]) -> list[str]:
    one = houses[0]
    disks = one.disks()
    stored = {found.id for found in one.ports.storage.inventory(metadata=False) if found.kind == "disk"}
    pairs: dict[str, tuple[set[object], set[object]]] = {"disks": ({disk.id for disk in disks}, set(stored))}
    for house in houses:
        name = house.bmid.name
        mine = [disk for disk in disks if disk.head == name]
        exports = [found for shard in house.ports.target.shards for found in house.ports.target.exports(shard)]
        pairs[f"targets {name}"] = {disk.number for disk in mine}, {found.number for found in exports if found.open}
        pairs[f"closed {name}"] = set(), {found.iqn for found in exports if not found.open}
        whole = {found.disk for found in house.ports.boot.pointers() if found.complete}
        pairs[f"pointers {name}"] = {disk.id for disk in mine}, set(whole)
        pairs[f"staging {name}"] = set(), {path.name for path in house.bmid.staging.glob("*")}
    return [
        f"{what}: without {sorted(map(str, rows - found))}, unexplained {sorted(map(str, found - rows))}"
        for what, (rows, found) in pairs.items()
        if rows != found
    ]
