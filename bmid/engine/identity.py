"""Who a head is, and the drivers that it has. Values only; who uses them how, the worker knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bmid.drivers.base import Boot, Imaging, Isolation, Power, Seeds, Storage, Target
from bmid.drivers.loader import GuardedMapping, guarded
from bmid.engine.lane import Lanes
from bmid.engine.threshold import Threshold
from bmid.engine.turn import Turn
from bmid.steps.base import World

__all__ = ["Identity", "Ports"]


@dataclass(frozen=True)
class Identity:
    """Who this head is, and for how long its claims run. `active` are the operations in its workers' hands;
    `set_aside_after`: so many failures in a row are enough, 0: never."""

    head: str
    instance: str
    source: str
    lease: float
    dead_after: float
    give_up_after: float
    active: set[str]
    set_aside_after: int = 0

    @property
    def holder(self) -> str:
        """The name under which this running instance holds claims."""
        return f"{self.head}/{self.instance}"


@dataclass(frozen=True)
class Ports:
    """The drivers of this head, unguarded, and what steps get beside them."""

    storage: Storage
    target: Target
    boot: Boot
    imaging: Imaging
    power: Mapping[str, Power]
    isolation: Isolation
    seeds: Seeds
    secret: Callable[[str, int], str]
    staging: Path
    imports: Path | None
    exports: Path | None
    lanes: Lanes = field(default_factory=Lanes, kw_only=True)

    def world(self, turn: Turn) -> World:
        """The same for the steps of one turn, each call guarded by its claims, and in its lane before."""
        verify, lanes = turn.verify, self.lanes
        cross = Threshold(self.storage, turn).cross
        return World(
            storage=lanes.storage(guarded(self.storage, cross), turn.operation),
            target=lanes.target(guarded(self.target, verify), turn.operation),
            boot=guarded(self.boot, verify),
            imaging=guarded(self.imaging, verify),
            power=lanes.power(GuardedMapping(self.power, verify), turn.operation),
            isolation=guarded(self.isolation, verify),
            seeds=guarded(self.seeds, verify),
            secret=self.secret,
            staging=self.staging,
            imports=self.imports,
            exports=self.exports,
            notes=turn,
        )
