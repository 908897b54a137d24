"""Steps that compare the world with the rows, and take away what nobody knows."""

from __future__ import annotations

from typing import Any, ClassVar

from bmid.errors import Refused, TransientError
from bmid.steps.audit import compare_both
from bmid.steps.base import Step, Wait, World
from bmid.steps.sighting import look, look_at_shared, partial_name

__all__ = ["REPORT", "CompareSite", "DiscardOrphan", "RemovePartial", "RemoveStray"]

REPORT = "report"  # the mark with what was found, and how much of it is being mended


class CompareSite(Step):
    """It is known what of this head, or of what all heads share, is not as the rows say, and what can be is mended."""

    kind: ClassVar[str] = "compare-site"
    head: str
    iqn_prefix: str
    shared: bool
    only: tuple[str, ...] = ()

    def apply(self, world: World) -> Wait | None:
        """Rows, a look, rows; written down in one go with the operations that mend what was found, once."""
        if world.notes.mark(REPORT) is not None:
            return None
        before = world.notes.promises(shared=self.shared)
        seen = look(world, self.head, self.iqn_prefix, before)
        if self.shared:
            look_at_shared(world.storage, seen)
        found = compare_both(before, seen, world.notes.promises(shared=self.shared))
        world.notes.report(seen.head, seen.seen, seen.silent, found, self.only)
        return None


def _in_use(disk: str, user: str) -> Refused:
    todo = "Find out what runs there; when it is gone, the disk goes with the next look."
    return Refused("orphan-in-use", f"disk {disk}, which no row knows, is in use by {user}", todo=todo)


class RemoveStray(Step):
    """A target that no row knows is gone. `rowless`: nor does one know its disk, so whoever has logged in there may
    be a node at work; else it is at home elsewhere, and nobody has a right here."""

    kind: ClassVar[str] = "remove-stray"
    shard: str
    number: int
    iqn: str
    disk: str
    rowless: bool

    def apply(self, world: World) -> Wait | None:
        """If it is still the one that was seen."""
        standing = world.target.status(self.shard, self.number)
        if standing is None or standing.iqn != self.iqn:
            return None
        if self.rowless and standing.sessions:
            raise _in_use(self.disk, standing.sessions[0].address)
        world.target.remove(self.shard, self.number, self.disk)
        return None


class DiscardOrphan(Step):
    """A disk that no row knows is in the trash."""

    kind: ClassVar[str] = "discard-orphan"
    disk: str
    metadata: dict[str, Any]

    def apply(self, world: World) -> Wait | None:
        """Unless somebody uses it: then it is somebody's."""
        user = self._user(world)
        if user is not None:
            raise _in_use(self.disk, user)
        world.storage.discard(self.disk, self.metadata)
        return None

    def _user(self, world: World) -> str | None:
        try:
            return world.storage.owner(self.disk)
        except TransientError as error:
            if error.problem.slug != "owner-unclear":
                raise
            return next(iter(error.problem.extra["clients"]), None)


class RemovePartial(Step):
    """Half an export, of an operation that is no more, is gone."""

    kind: ClassVar[str] = "remove-partial"
    operation: str

    def apply(self, world: World) -> Wait | None:
        """The hidden file alone."""
        if world.exports is not None:
            (world.exports / partial_name(self.operation)).unlink(missing_ok=True)
        return None
