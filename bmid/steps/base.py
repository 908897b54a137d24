"""Step, Plan and World: what a step is, how a plan is kept, and what a step may touch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from bmid.drivers.base import Boot, Imaging, Isolation, Power, Seeds, Storage, Target
from bmid.model.change import Change
from bmid.model.entity import Disk
from bmid.model.finding import Finding
from bmid.model.promise import Promises

__all__ = ["AFTERMATH", "SETTLED", "Notes", "Plan", "Stages", "Step", "Wait", "World"]

# The mark of what is not as before though all was undone: `detail` and `todo`, for whoever hears of the failure.
AFTERMATH = "aftermath"
SETTLED = "settled"  # the mark of an operation that can't be undone any more: how many of its stages are behind it


@dataclass(frozen=True)
class Wait:
    """Not yet: look again at `until`; `why` is shown to people; after `deadline` the engine gives up. Whose wait it
    is, `step`, the executor fills in. `unproven`: what is waited for may fail as it did before, so that the failures
    of before go on to count."""

    until: datetime
    why: str
    deadline: datetime | None = None
    step: str = ""
    unproven: bool = False


class Notes(Protocol):
    """What a step may read and write about its operation while it runs; every write checks the claim."""

    @property
    def operation(self) -> str:
        """The operation's id."""
        ...

    def now(self) -> datetime:
        """The database's time."""
        ...

    def mark(self, key: str) -> Any:
        """What an earlier run of this plan wrote down, or None."""
        ...

    def write(self, key: str, value: Any) -> None:
        """Write down what can't be seen by looking: an intent, a fact."""
        ...

    def record_owner(self, disk: str, owner: str | None) -> None:
        """Note the client that exports a disk, before any initiator may enter."""
        ...

    def owner(self, disk: str) -> str | None:
        """The client that was noted."""
        ...

    def upload(self) -> Path | None:
        """The complete staging file of this operation's upload, if it is there."""
        ...

    def disk(self, disk: str) -> Disk | None:
        """The row of a disk as it is now."""
        ...

    def members(self) -> tuple[int, int]:
        """Of a group's operations, how many have ended, and how many there are."""
        ...

    def promises(self, *, shared: bool) -> Promises:
        """What the rows promise now; with `shared` also what is wrong among them."""
        ...

    def report(
        self, head: str, seen: Sequence[str], silent: Mapping[str, str], found: Sequence[Finding], only: Sequence[str]
    ) -> None:
        """Keep what a look of a head found, mark it as `report`, and have mended what may be."""
        ...

    def progress(self, step: str, done: int, total: int) -> None:
        """Tell subscribers how far it is, in bytes or members; at most one event a second goes out."""
        ...


@dataclass(frozen=True)
class World:
    """Everything outside that a step may touch, each call guarded by the claim."""

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
    notes: Notes


class Step(BaseModel):
    """One idempotent effect in the world. Kept as JSON under its `kind` in the operation's plan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kinds: ClassVar[dict[str, type[Step]]] = {}
    kind: ClassVar[str]
    reverts: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in cls.__dict__:
            Step.kinds[cls.kind] = cls
            cls.reverts = cls.revert is not Step.revert

    @abstractmethod
    def apply(self, world: World) -> Wait | None:
        """Ensure the effect. Looks first; a Wait means that it is called again later, from the top of the plan."""

    def revert(self, world: World) -> Wait | None:
        """Ensure that the effect is absent. Steps on the way out have nothing to revert."""
        return None


Stages = tuple[tuple[Step, ...], ...]


@dataclass(frozen=True)
class Plan:
    """How a command is done: rows first, then stages of steps, then (by the handler's `finish`) rows and outcome.

    Steps of one stage may run side by side. `home` is the head that must run them; None means any. `memo` is what
    the plan decided and `finish` has to know.
    """

    reserve: tuple[Change, ...] = ()
    stages: Stages = ()
    home: str | None = None
    memo: dict[str, Any] = field(default_factory=dict)

    def described(self) -> list[dict[str, Any]]:
        """The steps for people: kind, stage (1, 2, ...) and what it is about."""
        return [
            {"step": step.kind, "stage": number, "details": step.model_dump(mode="json", exclude_none=True)}
            for number, stage in enumerate(self.stages, start=1)
            for step in stage
        ]

    def left(self, marks: Mapping[str, Any]) -> Plan:
        """What is still to be done, or undone. All of it, unless the operation has gone too far to come back: then
        what lies behind is neither looked at again nor undone."""
        return replace(self, stages=self.stages[int(marks.get(SETTLED) or 0) :])

    def dump(self) -> dict[str, Any]:
        """The part that is stored with the operation."""
        stages = [[{"kind": step.kind, **step.model_dump(mode="json")} for step in stage] for stage in self.stages]
        return {"stages": stages, "home": self.home, "memo": self.memo}

    @classmethod
    def load(cls, stored: Mapping[str, Any]) -> Plan:
        """A plan as it was stored; its rows have been written then."""
        stages = tuple(tuple(_step(one) for one in stage) for stage in stored["stages"])
        return cls(stages=stages, home=stored["home"], memo=stored["memo"])


def _step(stored: Mapping[str, Any]) -> Step:
    fields = {key: value for key, value in stored.items() if key != "kind"}
    return Step.kinds[stored["kind"]].model_validate(fields)
