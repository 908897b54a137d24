"""Steps on operations that belong together."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from bmid.steps.base import Step, Wait, World

__all__ = ["AwaitMembers"]

LOOK = timedelta(seconds=5)  # the last member to end wakes the group sooner, but for one moment


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
