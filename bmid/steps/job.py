"""How a step follows the work of a child process: started once, then looked at until it has ended.

What the child does, and what is done with its result, is the step's own matter.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from bmid.drivers.base import Job, JobState
from bmid.errors import PermanentError, TransientError
from bmid.steps.base import Wait, World

__all__ = ["follow"]

LOOK = timedelta(seconds=0.25)  # what is added to the time of a copy is half of it
PATIENCE = 0.5  # seconds in which work may end within the turn that began it; only then is a thread held for it
TODO = "Mend what is said there, then send the command again under a new id."


def follow(
    world: World,
    job: str,
    start: Callable[[], None],
    why: str,
    *,
    told: str | None = None,
    todo: str = TODO,
    patience: float = PATIENCE,
) -> Job | Wait:
    """The job's good end, or a wait with `why`. One that isn't known is started: a child dies with its daemon.

    `told` is the step in whose name subscribers hear how far it is. Raises what a failed job failed with.
    """
    stand = world.imaging.poll(job)
    if stand is None:
        start()
        stand = world.imaging.poll(job, patience)
    if stand is None or stand.state is JobState.RUNNING:
        if told and stand:
            world.notes.progress(told, stand.done, stand.total)
        return Wait(world.notes.now() + LOOK, why, unproven=True)
    world.imaging.cancel(job)
    if stand.state is JobState.FAILED:
        slug, detail, again = stand.problem or ("child-failed", "the child process failed", True)
        if again:
            raise TransientError(slug, detail)
        raise PermanentError(slug, detail, todo=todo)
    if told:
        world.notes.progress(told, stand.total, stand.total)
    return stand
