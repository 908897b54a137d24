"""A site on memory twins: database in a file, time in the test's hand, workers that can be killed.

Everything between the bus and the drivers is the real code. What the tests promise is theirs, not this module's.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import shutil
import struct
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from bmid.drivers.boot.memory import MemoryBoot
from bmid.drivers.imaging.memory import MemoryImaging
from bmid.drivers.isolation.none import NoIsolation
from bmid.drivers.power.memory import MemoryPower
from bmid.drivers.seed.memory import MemorySeeds
from bmid.drivers.storage.memory import MemoryStorage
from bmid.engine.acceptance import Acceptance
from bmid.engine.boot_watch import BootWatch
from bmid.engine.export_watch import ExportWatch
from bmid.engine.keeper import Keeper
from bmid.engine.upload_desk import UploadDesk
from bmid.engine.worker import Identity, Ports, Worker
from bmid.errors import TransientError
from bmid.handlers.registry import Registry, discover
from bmid.messages.base import Command
from bmid.messages.envelope import Envelope, encode
from bmid.model.chap import chap_secret
from bmid.model.entity import Network
from bmid.model.operation import Operation
from bmid.model.site import Site
from bmid.store import networks, site
from bmid.store.heads import Presence
from bmid.store.migration import migrate
from tests.support.accident import Trip, Wired, WiredDatabase
from tests.support.letter import Letter
from tests.support.record import Record
from tests.support.twin import InlineExecutor, LinkedTarget, StorageClient, VirtualClock, remembered

__all__ = ["LEASE", "SITE", "Bench", "Letter"]

LEASE = 30.0
SITE = "5" * 32
NETWORK = Network("default", "10.77.0.0/24", "10.77.0.10", "10.77.0.250", "boot0", "10.77.0.1:3260")
MIB = 1 << 20
TWINS = ("storage", "target", "boot", "power", "imaging", "seeds")


class Bench(Record):
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
        self.database = WiredDatabase(url or f"sqlite:///{folder}/bmid.db", self.clock, self.trip)
        if url is None and blank is None:
            migrate(self.database)
        self.registry = registry or discover()
        pools = {"import_pools": ("theirs",), "export_pools": ("theirs",)}
        self.site = Site(upload_url="http://head:8470", **{**pools, **site})
        self.storage = MemoryStorage(owners=owners)
        self.target = LinkedTarget(self.storage)
        self.boot = MemoryBoot()
        self.power = MemoryPower()
        self.seeds = MemorySeeds()
        self.imaging = MemoryImaging(write=self.storage.write, read=self.storage.read, run=self.storage.run)
        self.staging, self.imports, self.exports = (folder / name for name in ("staging", "imports", "exports"))
        for one in (self.staging, self.imports, self.exports):
            one.mkdir(exist_ok=True)
        self.rings = 0
        self._instances, self._processes = itertools.count(1), itertools.count(1)
        self._ids = itertools.count(1)
        self.identity = self.new_identity()
        self.acceptance = Acceptance(self.database, self.registry, self.site, self.identity, self._ring, limit=64 * MIB)

    def open(self) -> Bench:
        """The head begins: its row, its network."""
        with self.database.write() as tx:
            networks.keep(tx, NETWORK)
            site.keep(tx, SITE)
        address = NETWORK.portal.partition(":")[0]
        presence = Presence({shard: f"{address}:{3260 + int(shard)}" for shard in self.target.shards})
        Keeper(self.database, self.identity, presence).start()
        return self

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

    def keep(self) -> None:
        """Remember how everything stands, for `rewind`."""
        self.database.close()
        self._kept = self.folder.with_name(f"{self.folder.name}-kept")
        shutil.copytree(self.folder, self._kept)
        self._twins = {name: remembered(getattr(self, name)) for name in TWINS}
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
        self.trip.armed, self.trip.seen, self.trip.woken = False, [], 0

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
        return Ports(
            exports=self.exports,
            seeds=Wired("seeds", self.seeds, self.trip),
            storage=Wired("storage", StorageClient(self.storage, f"bmid-{next(self._processes)}"), self.trip),
            target=Wired("target", self.target, self.trip),
            boot=Wired("boot", self.boot, self.trip),
            imaging=Wired("imaging", self.imaging, self.trip),
            power={"memory": Wired("power", self.power, self.trip)},
            isolation=Wired("isolation", NoIsolation(), self.trip),
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
            due = self.next_due()
            if due is None or self.clock.moment >= end or idle > 50:
                return
            idle += due <= self.clock.moment
            self.clock.moment = max(due, self.clock.moment + timedelta(seconds=1 if due <= self.clock.moment else 0))
        raise AssertionError("this never ends")

    def image_file(self, name: str) -> Path:
        """A raw disk image in the import folder, that a BIOS boots: boot code, a table, one active partition."""
        table = struct.pack("<B3xB3xII", 0x80, 0x83, 1, 2000).ljust(64, b"\0")
        path = self.imports / name
        path.write_bytes((b"\xeb\x63\x90".ljust(446, b"\0") + table + b"\x55\xaa").ljust(MIB // 8, b"\0"))
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
        (self.staging / operation).write_bytes(content)
        UploadDesk(self.database, self.identity.head, self.staging, self._ring).complete(operation, len(content))

    def die(self) -> Identity:
        """The running instance is gone; the next one of this head, which knows nothing."""
        self.identity = self.new_identity()
        self.imaging._jobs.clear()
        self.imaging._work.clear()
        return self.identity
