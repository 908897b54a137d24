"""One head of a world: the loops of a bmid that can be killed and frozen, on a machine that outlives it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from bmid.amqp.broker import Broker as Address
from bmid.amqp.relay import Relay
from bmid.drivers.imaging.memory import MemoryImaging
from bmid.drivers.isolation.none import NoIsolation
from bmid.engine.acceptance import Acceptance
from bmid.engine.boot_watch import BootWatch
from bmid.engine.eviction import Eviction
from bmid.engine.export_watch import ExportWatch
from bmid.engine.keeper import Keeper
from bmid.engine.outgoing import OutboxReader
from bmid.engine.takeover import Takeover
from bmid.engine.worker import Identity, Worker
from bmid.errors import TransientError
from bmid.model.chap import chap_secret
from bmid.scheduler.childcare import Childcare
from bmid.scheduler.housekeeping import Housekeeping
from bmid.scheduler.purge import Purge
from bmid.scheduler.reconciling import Reconciling
from bmid.store import operations
from bmid.store.heads import Presence
from tests.support.twin import InlineExecutor, StorageClient
from tests.support.world.broker import SILENCE, Confirms, Line
from tests.support.world.database import HeadDatabase
from tests.support.world.host import Host
from tests.support.world.probe import ProbedPorts, Struck
from tests.support.world.stage import Bell

if TYPE_CHECKING:
    from tests.support.world.world import World

__all__ = ["LEASE", "Head"]

LEASE, GIVE_UP = 30.0, 3600.0
IDLE = 5.0  # seconds; a look at what nobody told of
OFTEN, RARELY = 4.0, 12.0
LOOKS = 20.0  # seconds between two looks whether all is right
WORKERS = 2


class Head(Host):
    """`start` runs bmid there; `alive` says whether it runs, `began` whether it has looked around."""

    def __init__(self, world: World, name: str, number: int) -> None:
        super().__init__(world, name, number)
        self.alive = self.began = False
        self.bell = Bell()
        self._instances = 0
        self.database = HeadDatabase(world.engine, world.clock, world.stage, lambda what: world.fate.moment(self, what))

    def start(self) -> None:
        """A new instance, that knows nothing of the ones before."""
        self._instances += 1
        instance = f"i{self._instances}"
        self.identity = Identity(
            head=self.name, instance=instance, source=f"/bmid/{self.name}", lease=LEASE,
            dead_after=self.world.story.dead_after, give_up_after=GIVE_UP, active=set(),
            set_aside_after=1 if self.world.story.cared else 0,
        )  # fmt: skip
        self.alive, self.began = True, False
        world = self.world
        storage = world.storage
        self.imaging = MemoryImaging(write=storage.write, read=storage.read, run=storage.run)
        self.acceptance = Acceptance(self.database, world.registry, world.site, self.identity, self.ring, limit=1 << 26)
        self.keeper = Keeper(self.database, self.identity, Presence(self.portals, url=self.name))
        self.ports = self._ports()
        self.eviction = Eviction(self.database, self.ports, world.site.iqn_prefix, self.identity)
        world.stage.add(self.name, "bmid", self._begin)
        world.stage.tell(f"{self.name} starts as {instance}")

    def _begin(self) -> None:
        self._patiently(self.keeper.start)
        with suppress(TransientError):
            self.eviction.run_once()
        self.began = True
        stage = self.world.stage
        for number in range(WORKERS):
            stage.add(self.name, f"worker-{number}", self._worker)
        for name, turn in self._loops().items():
            stage.add(self.name, name, lambda turn=turn: self._forever(turn))

    def _loops(self) -> dict[str, Callable[[], float]]:
        database, me, world = self.database, self.identity, self.world
        boots = BootWatch(database, self.target, self.acceptance, world.site, me)
        exports = ExportWatch(database, self.target, self.acceptance, me)
        children = Childcare(database, self.imaging, self.name)
        house = Housekeeping(database, me.holder, world.staging, 14, world.exports)
        self.care = exports
        return (
            self._taking()
            | (self._caring() if world.story.cared else {})
            | {
                "keeper": lambda: self.keeper.run_once() or self.keeper.interval,
                "relay": self._relay(),
                "consumer": self._consume,
                "boots": lambda: 3.0 if boots.run_once() else IDLE,
                "exports": lambda: 3.0 if not exports.run_once() else 1.0,
                "children": lambda: (children.run_once() and 0.0) or 10.0,
                "house": lambda: house.forget() or house.sweep() or 60.0,
            }
        )

    def _taking(self) -> dict[str, Callable[[], float]]:
        """What takes over from a head that is dead, and what goes when one wakes that was."""
        world, me = self.world, self.identity
        storage = Struck(world.storage, lambda what: world.fate.moment(self, what))
        local, clock = (lambda one: world.carriers.local(self, one)), (lambda: world.stage.now)
        takeover = Takeover(self.database, world.registry, storage, me, local, self.ring, clock)
        return {
            "takeover": lambda: 0.0 if takeover.run_once() else self._pause(),
            "eviction": lambda: 1.0 if self.eviction.run_once() else self._pause(),
        }

    def _caring(self) -> dict[str, Callable[[], float]]:
        """What looks after a site that nobody has told to be wrong."""
        world, me = self.world, self.identity
        storage = Struck(world.storage, lambda what: world.fate.moment(self, what))
        purge = Purge(self.database, me.holder, storage, urgent=5, timer=lambda: world.stage.now)
        submit, every = self.acceptance.submit, LOOKS
        looks = Reconciling(self.database, me.holder, every, me.dead_after, submit, self.ring)
        return {
            "purge": lambda: (purge.run_once() and 0.0) or 15.0,
            "reconcile": lambda: (looks.run_once() and 0.0) or 5.0,
        }

    def _pause(self) -> float:
        """Until the next look at the other heads; in peace there is less to see."""
        return RARELY if self.world.fate.quiet else OFTEN

    def kill(self) -> None:
        """kill -9 of bmid, and of its children with it."""
        self.alive = False
        self.world.broker.leave(self.identity.holder)
        self.world.stage.kill(self.name)
        self.world.stage.tell(f"{self.name} is killed")

    def ring(self) -> None:
        """Rows were written here; the other heads hear of it."""
        for head in self.world.heads:
            self.world.stage.ring(head.bell)

    def _ports(self) -> ProbedPorts:
        world = self.world
        return ProbedPorts(
            storage=StorageClient(world.storage, f"bmid-{self.identity.holder}"),
            target=self.target, boot=self.boot, imaging=self.imaging,
            power={"memory": world.power}, isolation=NoIsolation(), seeds=self.seeds, secret=secret,
            staging=world.staging, imports=world.imports, exports=world.exports,
            holder=self.identity.holder, moment=lambda what, turn: world.fate.moment(self, what, turn),
            done=world.witness.look, log=world.log,
        )  # fmt: skip

    def _worker(self) -> None:
        world, stage = self.world, self.world.stage
        mine = Worker(self.database, world.registry, self.ports, world.site, self.identity, InlineExecutor(), self.ring)
        while True:
            heard = self.bell.rings
            try:
                busy = mine.run_once()
                pause = 0.0 if busy else self._until_due()
            except TransientError:
                busy, pause = True, 0.5
            if busy:
                stage.pause(pause)
            else:
                stage.wait(self.bell, heard, pause)

    def _until_due(self) -> float:
        with self.database.read() as tx:
            due = operations.next_due(tx, self.name)
            left = (due - tx.now) / timedelta(seconds=1) if due else IDLE
        return min(max(left, 0.01), IDLE)

    def _forever(self, turn: Callable[[], float]) -> None:
        while True:
            try:
                pause = turn()
            except TransientError:
                pause = 1.0
            if pause < 0:
                continue  # it has waited by itself
            self.world.stage.pause(pause)

    def _patiently(self, begin: Callable[[], None]) -> None:
        while True:
            try:
                return begin()
            except TransientError:
                self.world.stage.pause(1.0)

    def _consume(self) -> float:
        """One message. Whoever is silent for too long is no consumer any more."""
        broker, stage, me = self.world.broker, self.world.stage, self.identity.holder
        heard = broker.bell.rings
        letter = broker.first(me)
        if letter is None:
            stage.wait(broker.bell, heard, IDLE)
            return -1.0
        self.acceptance.receive(letter)
        self.world.fate.moment(self, "before acknowledge")
        broker.acknowledge(me, letter)
        self.world.fate.moment(self, "after acknowledge")
        return 0.0

    def freeze(self, seconds: float) -> None:
        """SIGSTOP of bmid; its tgtd and its dnsmasq go on."""
        if seconds > SILENCE:
            self.world.broker.leave(self.identity.holder)
        self.world.stage.freeze(self.name, seconds)
        self.world.stage.tell(f"{self.name} is frozen for {seconds:.0f} s")

    def _relay(self) -> Callable[[], float]:
        relay = Relay(Address(), self.name, OutboxReader(self.database, self.identity), chance=lambda: 0.5)
        line = Line(self.world.broker, f"{self.name} relay")
        relay.link = line
        relay._confirms = Confirms(line, lambda what: self.world.fate.moment(self, what))

        def turn() -> float:
            heard = self.bell.rings
            pause = relay.run_once(0.0)
            if pause > 0:
                self.world.stage.wait(self.bell, heard, pause)
                return -1.0
            return 0.0

        return turn


def secret(disk: str, generation: int) -> str:
    """The CHAP secret of a disk."""
    return chap_secret(b"k" * 32, disk, generation)
