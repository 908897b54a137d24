"""A world: everything put together, run from its first second until all is quiet, and judged."""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import func, select, update

from bmid.drivers.power.memory import MemoryPower
from bmid.drivers.storage.memory import MemoryStorage
from bmid.handlers.registry import Registry, discover
from bmid.messages.envelope import Envelope, encode
from bmid.model.entity import Network
from bmid.model.site import Site
from bmid.store import networks, portals
from bmid.store.schema import head as heads
from bmid.store.schema import outbox
from tests.support.expectation import Model
from tests.support.letter import Letter
from tests.support.twin import START, remembered
from tests.support.world.broker import Broker
from tests.support.world.carrier import Carriers, Operator
from tests.support.world.database import HeadDatabase, WorldClock, memory
from tests.support.world.fate import Fate
from tests.support.world.head import Head
from tests.support.world.machine import Nodes
from tests.support.world.probe import Log
from tests.support.world.stage import Stage
from tests.support.world.story import BMCS, NODES, Command, Story
from tests.support.world.verdict import judge, open_operations
from tests.support.world.witness import Witness

__all__ = ["Past", "World", "opened", "past", "run"]

NETWORK = Network("default", "10.77.0.0/24", "10.77.0.10", "10.77.0.250", "boot0", "10.77.0.1:3260")
SITE = Site(upload_url="http://head:8470")
CARED = {"quarantine": 20.0, "trash_days": 40 / 86400}
SINCE = 1000.0  # seconds between what has been and the story
PATIENCE = 6 * 3600.0  # seconds within which all is quiet after the last fault
MACS = {name: f"52:54:00:00:00:0{name[1:]}" for name in NODES}


@dataclass(frozen=True)
class Past:
    """How worlds begin: two projects with an image each, four nodes. Made once, copied for each world."""

    database: bytes
    storage: dict[str, Any]
    model: Model
    imports: Path


class World:
    """Two heads, what they share, and what befalls them. `found` is what was wrong."""

    def __init__(self, story: Story, database: bytes, imports: Path, folder: Path, registry: Registry) -> None:
        self.story = story
        self.stage = Stage(Random(story.seed))  # noqa: S311
        self.registry = registry
        self.site = replace(SITE, **CARED) if story.cared else SITE
        self.clock = WorldClock(self.stage)
        self.engine = memory(database)
        self.database = HeadDatabase(self.engine, self.clock, self.stage, lambda _: None)
        self.imports = imports
        self.staging, self.exports = folder / "staging", folder / "exports"
        for one in (self.staging, self.exports):
            one.mkdir()
        self.storage = MemoryStorage(owners=True)
        self.power = MemoryPower()
        self.machines = {MACS[name]: f"bmc-{name}" for name in BMCS}
        self.broker = Broker(self.stage)
        self.log = Log()
        self.witness = Witness(self)
        self.nodes = Nodes(self)
        self.heads = [Head(self, f"h{number}", number) for number in (1, 2)]
        self.carriers, self.operator = Carriers(self), Operator(self)
        self.by_name = {head.name: head for head in self.heads}
        self.model = self.after = Model()
        self.last = max([story.span, *(at for one in story.commands for at in (one.at, one.twice or 0.0))])
        self.fate = Fate(self, story)
        with self.database.read() as tx:
            self.past_events = int(tx.execute(select(func.count()).select_from(outbox)).scalar_one())

    def live(self) -> None:
        """The story, then peace, until nothing is left to do."""
        self.begin()
        for one in self.story.commands:
            for at in (one.at, one.twice):
                if at is not None:
                    self.stage.add("publisher", one.user, lambda one=one: self.send(one), after=at)
        self.stage.run(lambda: False, self.story.span)
        self.rest()

    def begin(self) -> None:
        """The machines are there, and bmid runs."""
        for head in self.heads:
            head.start()
            head.begin()
        self.stage.add("nodes", "nodes", self.nodes.live)

    def rest(self) -> None:
        """Nothing goes wrong any more, until nothing is left to do."""
        self.fate.end()
        end = self.stage.now + PATIENCE
        for _ in range(30):
            if not self.stage.run(self._quiet, end):
                return
            for head in self.heads:
                head.eviction._homed = None  # it looks around every half minute, without a reason, too
            self.stage.run(lambda: False, self.stage.now + 14.0)  # what the watchers find meanwhile
            if self._quiet() and not any(head.care._tried for head in self.heads if head.alive):
                return

    def _quiet(self) -> bool:
        begins = any(head.alive and not head.began for head in self.heads)
        waits = begins or self.broker.queue or self.stage.now <= self.last
        return not waits and not open_operations(self.database) and not self._moving()

    def _moving(self) -> bool:
        """Whether an address is on its way, or where nobody is."""
        with self.database.read() as tx:
            rows = portals.every(tx)
        there = [self.carriers.at(one.address) for one in rows]
        return any(
            one.bound_for or not one.ready or head is None or head.name != one.head
            for one, head in zip(rows, there, strict=True)
        )

    def send(self, one: Command) -> None:
        """It arrives now."""
        data = {name: value for name, value in one.data.items() if value is not None}
        if one.expires is not None:
            data["expires_at"] = (START + timedelta(seconds=SINCE + one.at + one.expires)).isoformat()
        envelope = Envelope(id=one.message, source=f"/{one.user}", type=f"bmi.{one.kind}.v1", data=data)
        headers, body = encode(envelope)
        self.stage.tell(str(one)[10:])
        self.broker.put(Letter(body, headers, user_id=one.user))

    def is_well(self, url: str) -> bool:
        """Whether the bmid there says that it has the database."""
        head = self.by_name.get(url)
        return head is not None and head.up and head.alive and not self.stage.frozen(url) and not head.database.away()

    def close(self) -> None:
        """Nobody acts any more."""
        self.fate.quiet = True
        self.stage.end()
        self.engine.dispose()


@contextmanager
def fixed(seed: int) -> Iterator[None]:
    """All chance comes from the seed: ids, jitter."""
    real, state, chance = os.urandom, random.getstate(), Random(seed)  # noqa: S311
    os.urandom = chance.randbytes
    random.seed(seed)
    try:
        yield
    finally:
        os.urandom = real
        random.setstate(state)


def past(blank: bytes, imports: Path) -> Past:
    """A site with something in it."""
    (imports / "debian.raw").write_bytes(_image())
    sent = []
    for project in ("p1", "p2"):
        sent.append(("project.create", {"project": project}))
        sent.append(("image.import", {"project": project, "image": "i1", "source": {"file": "debian.raw"}}))
    for name in NODES:
        power = {"driver": "memory", "address": f"bmc-{name}"} if name in BMCS else None
        sent.append(("node.register", {"node": name, "macs": [MACS[name]], "power": power}))
    commands = [Command(1.0 + n, f"f{n}", "alice", kind, data) for n, (kind, data) in enumerate(sent)]
    with fixed(0), tempfile.TemporaryDirectory() as folder:
        world = World(Story(0, tuple(commands)), blank, imports, Path(folder), discover())
        with world.database.write() as tx:
            networks.keep(tx, NETWORK)
        world.live()
        assert not judge(world), judge(world)
        world.stage.end()
        with world.engine.connect() as connection:
            kept = connection.connection.driver_connection.serialize()  # type: ignore[union-attr]
        return Past(kept, remembered(world.storage), world.after, imports)


def run(story: Story, before: Past, registry: Registry | None = None) -> tuple[list[str], World]:
    """One world; what was wrong with it, and itself."""
    with opened(story, before, registry) as world:
        try:
            world.live()
            return judge(world), world
        except AssertionError as error:
            return [f"a promise was broken: {error}"], world


@contextmanager
def opened(story: Story, before: Past, registry: Registry | None = None) -> Iterator[World]:
    """A world in which nothing has happened yet."""
    with fixed(story.seed), tempfile.TemporaryDirectory() as folder:
        world = World(story, before.database, before.imports, Path(folder), registry or discover())
        vars(world.storage).update(deepcopy(before.storage))
        world.clock.off = SINCE  # what has been is past, but for the heads
        with world.database.write() as tx:
            tx.execute(update(heads).values(seen_at=tx.now))
        world.model = deepcopy(before.model)
        try:
            yield world
        finally:
            world.close()


def _image() -> bytes:
    """A raw disk image that a BIOS boots."""
    table = b"\x80\0\0\0\x83\0\0\0" + (1).to_bytes(4, "little") + (200).to_bytes(4, "little")
    return (b"\xeb\x63\x90".ljust(446, b"\0") + table.ljust(64, b"\0") + b"\x55\xaa").ljust(1 << 17, b"\0")
