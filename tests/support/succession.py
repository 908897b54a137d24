"""Two heads of one site on memory twins: storage and database are shared, targets and boot pointers each one's own."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bmid.drivers.boot.memory import MemoryBoot
from bmid.drivers.seed.memory import MemorySeeds
from bmid.engine.acceptance import Acceptance
from bmid.engine.eviction import Eviction
from bmid.engine.keeper import Keeper
from bmid.engine.takeover import Takeover
from bmid.model.entity import Portal
from bmid.store import heads, networks, portals
from bmid.store.heads import HeadRow, Presence
from tests.support.bench import MIB, NETWORK, Bench
from tests.support.twin import LinkedTarget

__all__ = ["DEAD_AFTER", "Twins"]

DEAD_AFTER = 60.0


class Twins:
    """Heads h1 (10.77.0.1) and h2 (10.77.0.2), each as a bench. What is asked of the site is asked of `a`."""

    def __init__(self, folder: Path, blank: Path | None = None, url: str | None = None) -> None:
        self.a = Bench(folder, blank=blank, url=url)
        self.b = copy.copy(self.a)
        self.b.target = LinkedTarget(self.a.storage)
        self.b.target._numbers = itertools.count(1001)  # clients of their own
        self.b.boot, self.b.seeds = MemoryBoot(), MemorySeeds()
        self.local = {"10.77.0.1": "h1", "10.77.0.2": "h2"}
        self.jumped = 0.0
        for bench, name in ((self.a, "h1"), (self.b, "h2")):
            bench.identity = replace(bench.new_identity(name), dead_after=DEAD_AFTER)
            bench.acceptance = Acceptance(
                bench.database, bench.registry, bench.site, bench.identity, bench._ring, limit=64 * MIB
            )
        with self.a.database.write() as tx:
            networks.keep(tx, NETWORK)
        self.keepers = {bench.identity.head: self._keeper(bench) for bench in (self.a, self.b)}
        for keeper in self.keepers.values():
            keeper.start()
        self._takeovers = {bench.identity.head: self._takeover(bench) for bench in (self.a, self.b)}

    def _keeper(self, bench: Bench) -> Keeper:
        address = {"h1": "10.77.0.1", "h2": "10.77.0.2"}[bench.identity.head]
        shards = {shard: f"{address}:{3260 + int(shard)}" for shard in bench.target.shards}
        return Keeper(bench.database, bench.identity, Presence(shards))

    def furnish(self, *nodes: str) -> None:
        """Map these nodes, evenly."""
        self.a.furnish(*nodes)
        for name in nodes:
            self.a.command("node.map", project="p1", node=name, image="debian")
        for bench in (self.a, self.b, self.a):
            bench.settle(bench.worker(bench.identity), seconds=20)
        assert {disk.head for disk in self.a.view().disks()} == {"h1", "h2"}
        self.pass_by(1, "h1", "h2")

    def takeover(self, bench: Bench) -> Takeover:
        """That of a head, which has looked on since the beginning; its addresses are those that `local` says."""
        return self._takeovers[bench.identity.head]

    def _takeover(self, bench: Bench) -> Takeover:
        head, beginning = bench.identity.head, self.a.clock.moment
        return Takeover(
            bench.database,
            bench.registry,
            bench.storage,
            bench.identity,
            lambda address: self.local[address] == head,
            bench._ring,
            lambda: (self.a.clock.moment - beginning).total_seconds() - self.jumped,
        )

    def eviction(self, bench: Bench) -> Eviction:
        """That of a head."""
        return Eviction(bench.database, bench.ports(), bench.site.iqn_prefix, bench.identity)

    def portals(self) -> dict[str, Portal]:
        """The rows."""
        with self.a.database.read() as tx:
            return {one.portal: one for one in portals.every(tx)}

    def pass_by(self, seconds: float, *alive: str) -> None:
        """Time in which only these heads are heard of, and look on."""
        for part in (seconds / 4,) * 4:
            for name in alive:
                self._takeovers[name]._vigil.look(self.heads())
            self.a.clock.advance(part)
            for name in alive:
                self.keepers[name].run_once()

    def heads(self) -> Sequence[HeadRow]:
        """The rows."""
        with self.a.database.read() as tx:
            return heads.every(tx)

    def jump(self, seconds: float) -> None:
        """The database's clock is set, and no time has passed."""
        self.a.clock.advance(seconds)
        self.jumped += seconds

    def close(self) -> None:
        """Let go of the database."""
        self.a.close()
