"""A site on memory twins: database in a file, time in the test's hand, workers that can be killed.

Everything between the bus and the drivers is the real code. What the tests promise is theirs, not this module's.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import logging
import secrets
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import Connection, event, select

from bmid.drivers.base import Export
from bmid.drivers.boot.memory import MemoryBoot
from bmid.drivers.imaging.memory import MemoryImaging
from bmid.drivers.isolation.none import NoIsolation
from bmid.drivers.power.memory import MemoryPower
from bmid.drivers.storage.memory import MemoryStorage
from bmid.drivers.target.memory import MemoryTarget
from bmid.engine.acceptance import Acceptance
from bmid.engine.boot_watch import BootWatch
from bmid.engine.export_watch import ExportWatch
from bmid.engine.keeper import Keeper
from bmid.engine.worker import Identity, Ports, Worker
from bmid.errors import TransientError
from bmid.handlers.registry import Registry, discover
from bmid.messages.base import Command
from bmid.messages.envelope import Envelope, encode
from bmid.model.chap import chap_secret
from bmid.model.entity import DiskState, Network
from bmid.model.operation import Operation
from bmid.model.site import Site
from bmid.store import networks, operations, schema
from bmid.store.clock import Clock
from bmid.store.database import Database, Tx
from bmid.store.migration import migrate
from bmid.store.view import StoreView
from lab.postgresql import PostgreSQL

__all__ = ["Bench", "InlineExecutor", "Killed", "QuickDatabase", "Trip", "VirtualClock", "quick"]

START = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
LEASE = 30.0
NETWORK = Network("default", "10.77.0.0/24", "10.77.0.10", "10.77.0.250", "boot0", "10.77.0.1:3260")
MIB = 1 << 20
TWINS = ("storage", "target", "boot", "power", "imaging")
WIRING = ("_lock", "before", "_before", "storage", "_write", "_limits", "_work")  # of a twin: what isn't its state


class Killed(BaseException):
    """kill -9, as far as one thread can die of it: nothing on the way out may catch it."""


class VirtualClock(Clock):
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.moment = START

    def now(self, connection: Connection) -> datetime:
        """The same for all."""
        return self.moment

    def advance(self, seconds: float) -> None:
        """Later."""
        self.moment += timedelta(seconds=seconds)


class InlineExecutor(Executor):
    """Side by side, one after the other, so that a test knows what comes when."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Done when it returns."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


def quick(database: Database) -> Database:
    """Without waiting for the disk: no test cuts the power of this machine."""
    if database.sqlite:

        @event.listens_for(database.engine, "connect")
        def _careless(raw: Any, _record: Any) -> None:
            raw.execute("PRAGMA synchronous=OFF")

    return database


@dataclass
class Trip:
    """Strikes once, at the n-th moment of a run; counts them all. `strike` raises."""

    at: int = -1
    strike: Callable[[], None] = lambda: None
    armed: bool = False
    seen: list[str] = field(default_factory=list)

    def __call__(self, what: str) -> None:
        """A moment has come."""
        if not self.armed:
            return
        self.seen.append(what)
        if len(self.seen) - 1 == self.at:
            self.armed = False
            self.strike()


@pytest.fixture
def quiet() -> Iterator[None]:
    """Without the log, whose tracebacks take longer than what is tested."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database with this program's schema, to be copied: that takes no time."""
    path = tmp_path_factory.mktemp("blank") / "bmid.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@pytest.fixture(scope="session")
def blank_postgresql(postgresql: PostgreSQL) -> str:
    """The name of the same in PostgreSQL, which copies it as well."""
    database = Database(postgresql.create_database("blank"))
    migrate(database)
    database.close()
    return "blank"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A fresh database with the schema in it, of each kind."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("blank"), tmp_path / "bmid.db")
        yield f"sqlite:///{tmp_path}/bmid.db"
        return
    server: PostgreSQL = request.getfixturevalue("postgresql")
    name = f"t{secrets.token_hex(6)}"
    yield server.create_database(name, template=request.getfixturevalue("blank_postgresql"))
    server.drop_database(name)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    """The same, opened, on the database's own clock."""
    made = quick(Database(url))
    yield made
    made.close()


class Wired:
    """A port whose calls trip the wire before and after they have had their effect."""

    def __init__(self, name: str, port: Any, trip: Trip) -> None:
        self._name = name
        self.port = port
        self._trip = trip

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.port, name)
        if not callable(member):
            return member

        def call(*arguments: Any, **options: Any) -> Any:
            self._trip(f"before {self._name}.{name}")
            result = member(*arguments, **options)
            self._trip(f"after {self._name}.{name}")
            return result

        return call


class QuickDatabase(Database):
    """A database whose commits trip the wire as well."""

    def __init__(self, url: str, clock: Clock, trip: Trip) -> None:
        super().__init__(url, clock=clock)
        self._trip = trip
        quick(self)

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """As ever."""
        with super().write() as tx:
            yield tx
            self._trip("before commit")
        self._trip("after commit")


class LinkedTarget(MemoryTarget):
    """Targets that open the disks in the storage, as a tgtd does: one client of the storage for each target."""

    def __init__(self, storage: MemoryStorage) -> None:
        super().__init__(("0", "1"))
        self.storage = storage
        self.clients: dict[int, tuple[str, str]] = {}
        self._numbers = itertools.count(1)

    def create(self, shard: str, export: Export) -> None:
        """Made anew: another client."""
        self._let_go(export.number)
        super().create(shard, export)
        disk, client = export.backing.path.removeprefix("memory:"), f"10.0.0.1:0/{next(self._numbers)}"
        if self.storage.capabilities.owners:
            self.storage.open(disk, client)
        self.clients[export.number] = (disk, client)

    def remove(self, shard: str, number: int, user: str) -> None:
        """And closed."""
        super().remove(shard, number, user)
        self._let_go(number)

    def _let_go(self, number: int) -> None:
        if number in self.clients:
            self.storage.release(*self.clients.pop(number))

    def restart(self, shard: str) -> None:
        """Its clients die with it, but the storage has not noticed yet."""
        super().restart(shard)
        self.clients.clear()


@dataclass(frozen=True)
class Letter:
    """A delivery."""

    body: bytes
    headers: Mapping[str, Any]
    user_id: str | None = "alice"
    content_type: str | None = "application/cloudevents+json"


class Bench:
    """A site with its doors open. `a` and further workers are made by `worker`."""

    def __init__(
        self,
        folder: Path,
        *,
        url: str | None = None,
        owners: bool = True,
        blank: Path | None = None,
        registry: Registry | None = None,
        **site: Any,
    ) -> None:
        self.folder = folder
        self.trip = Trip()
        self.clock = VirtualClock()
        if blank is not None:
            shutil.copy(blank, folder / "bmid.db")
        self.database = QuickDatabase(url or f"sqlite:///{folder}/bmid.db", self.clock, self.trip)
        if url is None and blank is None:
            migrate(self.database)
        self.registry = registry or discover()
        self.site = Site(upload_url="http://head:8470", power_drivers=("memory",), **site)
        self.storage = MemoryStorage(owners=owners)
        self.target = LinkedTarget(self.storage)
        self.boot = MemoryBoot()
        self.power = MemoryPower()
        self.imaging = MemoryImaging(write=self.storage.write)
        self.staging, self.imports = folder / "staging", folder / "imports"
        self.staging.mkdir(exist_ok=True)
        self.imports.mkdir(exist_ok=True)
        self.rings = 0
        self._instances = itertools.count(1)
        self._ids = itertools.count(1)
        self.identity = self.new_identity()
        self.acceptance = Acceptance(
            self.database, self.registry, self.site, self.identity, self._ring, limit=64 * MIB
        )

    def open(self) -> Bench:
        """The head begins: its row, its network."""
        with self.database.write() as tx:
            networks.keep(tx, NETWORK)
        Keeper(self.database, self.identity, self.target.shards).start()
        return self

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

    def keep(self) -> None:
        """Remember how everything stands, for `rewind`."""
        self.database.close()
        self._kept = self.folder.with_name(f"{self.folder.name}-kept")
        shutil.copytree(self.folder, self._kept)
        self._twins = {name: _state(getattr(self, name)) for name in TWINS}
        self._kept_values = (self.clock.moment, self.identity)

    def rewind(self) -> None:
        """Everything stands again as it was kept."""
        self.database.close()
        shutil.rmtree(self.folder)
        shutil.copytree(self._kept, self.folder)
        for name, state in self._twins.items():
            vars(getattr(self, name)).update(copy.deepcopy(state))
        self.clock.moment, self.identity = self._kept_values
        self.identity.active.clear()
        self.trip.armed, self.trip.seen = False, []

    def _ring(self) -> None:
        self.rings += 1

    def new_identity(self, head: str = "h1") -> Identity:
        """A head's next running instance."""
        return Identity(
            head=head,
            instance=f"i{next(self._instances)}",
            source=f"/bmid/{head}",
            lease=LEASE,
            dead_after=1e9,
            give_up_after=3600.0,
            active=set(),
        )

    def ports(self) -> Ports:
        """The twins behind the trip wire."""

        def wired(name: str, port: Any) -> Any:
            return Wired(name, port, self.trip)

        return Ports(
            storage=wired("storage", self.storage),
            target=wired("target", self.target),
            boot=wired("boot", self.boot),
            imaging=wired("imaging", self.imaging),
            power={"memory": wired("power", self.power)},
            isolation=wired("isolation", NoIsolation()),
            secret=lambda disk, generation: chap_secret(b"k" * 32, disk, generation),
            staging=self.staging,
            imports=self.imports,
        )

    def worker(self, identity: Identity | None = None) -> Worker:
        """A worker; of the running instance, or of another one."""
        who = identity or self.identity
        return Worker(self.database, self.registry, self.ports(), self.site, who, InlineExecutor(), self._ring)

    def boot_watch(self) -> BootWatch:
        """Looks at boots."""
        return BootWatch(self.database, self.target, self.acceptance, self.site, self.identity)

    def export_watch(self) -> ExportWatch:
        """Looks at targets."""
        return ExportWatch(self.database, self.target, self.acceptance, self.identity)

    def letter(self, kind: str, data: Mapping[str, Any], *, id: str | None = None, **properties: Any) -> Letter:
        """A message as a publisher sends it."""
        identifier = id or f"m{next(self._ids)}"
        headers, body = encode(Envelope(id=identifier, source="/test", type=kind, data=dict(data)))
        return Letter(body, headers, **properties)

    def send(self, kind: str, data: Mapping[str, Any], *, id: str | None = None, user: str | None = "alice") -> str:
        """Accepted or rejected; returns the message's id."""
        letter = self.letter(kind, data, id=id, user_id=user)
        assert self.acceptance.receive(letter) == "ack"
        return str(json.loads(letter.body)["id"])

    def command(self, kind: str, **data: Any) -> Operation:
        """A command of type `bmi.<kind>.v1`, accepted."""
        return self.operation(self.send(f"bmi.{kind}.v1", data))

    def submit(self, command: Command) -> Operation:
        """A command of the daemon itself."""
        with self.database.write() as tx:
            identifier = self.acceptance.submit(tx, command)
        return self.find(identifier)

    def do(self, kind: str, **data: Any) -> dict[str, Any]:
        """A command from its acceptance to its end; its final event's data."""
        one = self.command(kind, **data)
        self.settle()
        return self.final(one.id)["data"]

    def operation(self, message: str) -> Operation:
        """What a message led to."""
        with self.database.read() as tx:
            found = StoreView(tx, 0).operation_of_message(message, None)
        assert found is not None, self.events()[-1]
        return found

    def find(self, operation: str) -> Operation:
        """The operation as it stands."""
        with self.database.read() as tx:
            found = operations.find(tx, operation)
        assert found is not None
        return found

    def settle(self, worker: Worker | None = None, seconds: float = 6 * 3600) -> None:
        """Work until nothing is left to do or to wait for; time passes as it is waited for."""
        mine = worker or self.worker()
        end, idle = self.clock.moment + timedelta(seconds=seconds), 0
        for _ in range(3000):
            try:
                if mine.run_once():
                    idle = 0
                    continue
            except TransientError:
                self.clock.advance(0.5)  # as the thread does that turns it
                continue
            due = self._next_due()
            if due is None or self.clock.moment >= end or idle > 50:
                return
            idle += due <= self.clock.moment
            self.clock.moment = max(due, self.clock.moment + timedelta(seconds=1 if due <= self.clock.moment else 0))
        raise AssertionError("this never ends")

    def _next_due(self) -> datetime | None:
        table = schema.operation
        open_ones = (table.c.ended_at.is_(None), table.c.phase != "stuck")
        query = select(table.c.due_at, table.c.claimed_until).where(*open_ones)
        with self.database.read() as tx:
            rows = list(tx.execute(query))
        later = timedelta(milliseconds=1)
        return min((max(row.due_at, (row.claimed_until or row.due_at) + later) for row in rows), default=None)

    def events(self, operation: str | None = None) -> list[dict[str, Any]]:
        """What is in the outbox, as CloudEvents."""
        table = schema.outbox
        query = select(table.c.envelope).order_by(table.c.id)
        if operation is not None:
            query = query.where(table.c.operation == operation)
        with self.database.read() as tx:
            return [row.envelope for row in tx.execute(query)]

    def types(self, operation: str | None = None) -> list[str]:
        """The types of these events."""
        return [one["type"] for one in self.events(operation)]

    def finals(self, operation: str) -> list[dict[str, Any]]:
        """Events that end an operation."""
        handler = self.registry.commands[self.find(operation).type]
        ends = {handler.outcome.type, "bmi.operation.failed.v1", "bmi.operation.planned.v1"}
        return [one for one in self.events(operation) if one["type"] in ends]

    def final(self, operation: str) -> dict[str, Any]:
        """The one final event."""
        found = self.finals(operation)
        assert len(found) == 1, found
        return found[0]

    def view(self) -> _View:
        """Rows of now."""
        return _View(self.database)

    def unexplained(self) -> list[str]:
        """What is in the world and no row explains, and what a row promises and isn't there."""
        with self.database.read() as tx:
            view = StoreView(tx, 0)
            images = {one.id: one for one in view.images()}
            disks = {one.id: one for one in view.disks()}
            nodes = {one.disk: one for one in view.nodes() if one.disk}
            held = [row.key for row in tx.execute(select(schema.claim).where(schema.claim.c.holder.is_not(None)))]
            keys = [row.key for row in tx.execute(select(schema.operation_key))]
            boots = {row.disk for row in tx.execute(select(schema.boot))}
        found = [f"claim on {key}" for key in held if not key.startswith("role:")] + [f"key {key}" for key in keys]
        stored = {(one.kind, one.id) for one in self.storage.inventory() if one.kind != "trash"}
        explained = {("image", name) for name in images} | {("disk", name) for name in disks}
        found += [f"stored {kind} {name}" for kind, name in stored - explained]
        found += [f"missing image {name}" for name in images if ("image", name) not in stored]
        found += [f"missing disk {name}" for name in disks if ("disk", name) not in stored]
        found += [f"image {one.name} is not ready" for one in images.values() if not one.ready]
        found += [f"disk {one.name} is {one.state}" for one in disks.values() if one.state is not DiskState.MAPPED]
        found += [f"disk {one.name} has no node" for one in disks.values() if one.id not in nodes]
        found += [f"node {one.name} points at no disk" for disk, one in nodes.items() if disk not in disks]
        found += [f"boot of {disk}" for disk in boots if disk not in disks]
        exports = {(shard, one.number): one for shard in self.target.shards for one in self.target.exports(shard)}
        wanted = {(one.shard, one.number) for one in disks.values()}
        found += [f"target {key}" for key in exports if key not in wanted]
        found += [f"no open target {key}" for key in wanted if key not in exports or not exports[key].open]
        pointers = {one.address: one.disk for one in self.boot.pointers()}
        addresses = {one.address: one.id for one in disks.values()}
        found += [f"pointer {pair}" for pair in pointers.items() if pair not in addresses.items()]
        found += [f"no pointer {pair}" for pair in addresses.items() if pair not in pointers.items()]
        found += [f"staging {path.name}" for path in self.staging.iterdir()]
        found += [f"job {job}" for job in (*self.imaging._jobs, *self.imaging._work)]
        return found

    def image_file(self, name: str = "image.raw", size: int = MIB // 8) -> Path:
        """A raw disk image in the import folder, that a BIOS boots: boot code, a table, one active partition."""
        sector = bytearray(512)
        sector[:3] = b"\xeb\x63\x90"
        sector[446:462] = struct.pack("<B3xB3xII", 0x80, 0x83, 1, 2000)
        sector[510:] = b"\x55\xaa"
        path = self.imports / name
        path.write_bytes(bytes(sector) + bytes(size - 512))
        return path

    def furnish(self, *nodes: str, power: bool = True) -> None:
        """A project p1 with the image debian, and these nodes."""
        self.do("project.create", project="p1")
        self.image_file("debian.raw")
        self.do("image.import", project="p1", image="debian", source={"file": "debian.raw"})
        for name in nodes:
            self.register(name, power=power)

    def register(self, name: str, power: bool = True, **more: Any) -> dict[str, Any]:
        """A node whose MAC follows from its name."""
        mac = "52:54:00:" + ":".join(hashlib.sha256(name.encode()).hexdigest()[at : at + 2] for at in (0, 2, 4))
        bmc = {"power": {"driver": "memory", "address": f"bmc-{name}"}} if power else {}
        return self.do("node.register", node=name, macs=[mac], **bmc, **more)

    def upload(self, operation: str, content: bytes) -> None:
        """The bytes that an operation awaits, all there."""
        from bmid.engine.upload_desk import UploadDesk

        (self.staging / operation).write_bytes(content)
        UploadDesk(self.database, self.staging, self._ring).complete(operation, len(content))

    def die(self) -> Identity:
        """The running instance is gone; the next one of this head, which knows nothing."""
        self.identity = self.new_identity()
        self.imaging._jobs.clear()
        self.imaging._work.clear()
        return self.identity


def _state(twin: Any) -> dict[str, Any]:
    state = {key: copy.deepcopy(value) for key, value in vars(twin).items() if key not in WIRING}
    return state | ({"_work": {}} if "_work" in vars(twin) else {})


class _View:
    """Rows, each read in a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            with self._database.read() as tx:
                return getattr(StoreView(tx, 1e9), name)(*arguments)

        return call


