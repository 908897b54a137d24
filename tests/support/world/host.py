"""The machine that a head runs on: its tgtd, its boot files and its address, which outlive bmid; power and sleep."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bmid.drivers.base import Export
from bmid.drivers.boot.memory import MemoryBoot
from bmid.drivers.seed.memory import MemorySeeds
from tests.support.twin import LinkedTarget

if TYPE_CHECKING:
    from tests.support.world.world import World

__all__ = ["Host"]


class Host(ABC):
    """`off`: it has no power. `stopped`: all of it stands still."""

    def __init__(self, world: World, name: str, number: int) -> None:
        self.world = world
        self.name = name
        self.target = LinkedTarget(world.storage, f"10.0.0.{number}")
        self.boot = MemoryBoot()
        self.seeds = MemorySeeds()
        self.address = f"10.77.0.{number}"
        self.portals = {shard: f"{self.address}:{3260 + int(shard)}" for shard in self.target.shards}
        self.off = self.stopped = False

    @property
    def up(self) -> bool:
        """Whether the machine answers, with bmid or without."""
        return not (self.off or self.stopped)

    @abstractmethod
    def kill(self) -> None:
        """End bmid."""

    @abstractmethod
    def freeze(self, seconds: float) -> None:
        """Stop bmid for a while."""

    def begin(self) -> None:
        """What runs there beside bmid."""
        self.world.stage.add(f"{self.name} machine", "carrier", lambda: self.world.carriers.ask(self))

    def lose_power(self) -> None:
        """All that runs there is gone, and what it was told; the storage still takes its tgtd for a client."""
        self.kill()
        self.off = True
        self.world.carriers.gone(self)
        self.world.stage.kill(f"{self.name} machine")
        for shard in self.target.shards:
            self.target.restart(shard)
        self.boot, self.seeds = MemoryBoot(), MemorySeeds()

    def replace(self) -> None:
        """A new machine of that name: nothing is on it."""
        self.off = False
        self.begin()

    def stop(self, seconds: float) -> None:
        """The whole machine stands still, tgtd and its files, too."""
        self.world.nodes.stall(self)
        self.stopped = True
        self.freeze(seconds)
        self.world.stage.freeze(f"{self.name} machine", seconds)

    def wake(self) -> None:
        """It goes on where it was: first what its tgtd was about to write."""
        if self.stopped:
            self.world.nodes.wake(self)
            self.stopped = False
            self.world.stage.thaw(f"{self.name} machine")
            self.world.stage.tell(f"the machine of {self.name} goes on")

    def open_targets(self) -> Iterator[tuple[str, int, Export]]:
        """Shard, number and export of each target that lets somebody in."""
        for shard, standing in self.target._standing.items():
            for number, one in standing.items():
                if one.open:
                    yield shard, number, one.export
