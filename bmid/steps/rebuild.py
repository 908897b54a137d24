"""What keeps a node on one of two disks: the way back while the old one is there, and the end of that way."""

from __future__ import annotations

from typing import Any, ClassVar

from bmid.errors import PermanentError, TransientError
from bmid.steps.base import SETTLED, Step, Wait, World
from bmid.steps.boot import REMOVING, PointBoot
from bmid.steps.seed import WriteSeed
from bmid.steps.target import ExportDisk

__all__ = ["DiscardOld", "ReturnTo", "Settle"]


class ReturnTo(Step):
    """Does nothing on the way in. On the way back the node is led to its old disk again, if that had been taken away.

    Stands before the steps that take it away, so that it is undone after all that comes behind them.
    """

    kind: ClassVar[str] = "return-to"
    export: ExportDisk
    point: PointBoot
    seed: WriteSeed | None = None

    def apply(self, world: World) -> Wait | None:
        """It is still on it."""
        return None

    def revert(self, world: World) -> Wait | None:
        """Seed, export, boot pointer, as in a map."""
        if world.notes.mark(REMOVING):
            if self.seed:
                self.seed.apply(world)
            self.export.apply(world)
            self.point.apply(world)
        return None


class Settle(Step):
    """From here on there is only one way: what comes behind can't be undone, so nothing is that comes before."""

    kind: ClassVar[str] = "settle"
    stages: int

    def apply(self, world: World) -> Wait | None:
        """Note how many stages are done, this one with them."""
        world.notes.write(SETTLED, self.stages)
        return None


class DiscardOld(Step):
    """The disk that the node was on before is in the trash."""

    kind: ClassVar[str] = "discard-old"
    disk: str
    name: str
    metadata: dict[str, Any]

    def apply(self, world: World) -> Wait | None:
        """Discard. Where that can't be, who hears of it learns which disk is left."""
        try:
            world.storage.discard(self.disk, self.metadata)
        except (PermanentError, TransientError) as error:
            detail = f"the node is on its new disk; the old one, {self.name}, is left: {error}"
            raise type(error)(error.problem.slug, detail, todo=f"bmi-publish disk remove {self.name}") from error
        return None
