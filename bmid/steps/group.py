"""Steps on operations that belong together."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from bmid.steps.base import Step, Wait, World

__all__ = ["AwaitExports", "AwaitMembers"]

LOOK = timedelta(seconds=5)  # the last member to end wakes the group sooner, but for one moment
PATIENCE = timedelta(seconds=60)  # in which one disk that can't be exported holds up the nodes of all others


class AwaitMembers(Step):
    """Every member of the group has ended."""

    kind: ClassVar[str] = "await-members"

    def apply(self, world: World) -> Wait | None:
        """Count them."""
        ended, total = world.notes.members()
        if ended == total:
            return None
        if ended and ended != world.notes.mark("ended"):
            world.notes.write("ended", ended)
            world.notes.progress(self.kind, ended, total)
        return Wait(world.notes.now() + LOOK, f"waits for {total - ended} of {total} nodes")


class AwaitExports(Step):
    """Every disk of an address is exported, or has had its time."""

    kind: ClassVar[str] = "await-exports"

    def apply(self, world: World) -> Wait | None:
        """Count them."""
        ended, total = world.notes.members()
        now = world.notes.now()
        began = world.notes.mark("began")
        if began is None:
            world.notes.write("began", now.isoformat())
        elif now - datetime.fromisoformat(began) >= PATIENCE:
            return None
        return None if ended == total else Wait(now + LOOK, f"waits for {total - ended} of {total} exports")
