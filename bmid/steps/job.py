"""How a step follows the work of a child process: started once, then looked at until it has ended.

What the child does, and what is done with its result, is the step's own matter.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from bmid.drivers.base import Errand, Job, JobState
from bmid.errors import PermanentError, TransientError
from bmid.steps.base import Step, Wait, World

__all__ = ["COPIED", "LOOK", "FillImage", "copied", "copy_job", "follow", "hand_over"]

LOOK = timedelta(seconds=0.25)  # what is added to the time of a copy is half of it
PATIENCE = 0.5  # seconds in which work may end within the turn that began it; only then is a thread held for it
TODO = "Mend what is said there, then send the command again under a new id."
COPIED = "copied"  # the mark of an operation whose copy is whole


def follow(
    world: World,
    job: str,
    start: Callable[[], Job | None],
    why: str,
    *,
    told: str | None = None,
    todo: str = TODO,
    patience: float = PATIENCE,
) -> Job | Wait:
    """The job's good end, or a wait with `why`. One that isn't known is started: a child dies with its daemon.
    `start` returns a job where no child was needed.

    `told` is the step in whose name subscribers hear how far it is. Raises what a failed job failed with.
    """
    stand = world.imaging.poll(job)
    if stand is None:
        stand = start() or world.imaging.poll(job, patience)
    if stand is None or stand.state is JobState.RUNNING:
        if told and stand:
            world.notes.progress(told, stand.done, stand.total)
        return Wait(world.notes.now() + LOOK, why, unproven=True)
    world.imaging.cancel(job)
    if stand.state is JobState.FAILED:
        slug, detail, again = stand.problem or ("child-failed", "the child process failed", True)
        if again:
            raise TransientError(slug, detail, todo=todo)
        raise PermanentError(slug, detail, todo=todo)
    if told and stand.total:
        world.notes.progress(told, stand.total, stand.total)
    return stand


def hand_over(world: World, job: str, errand: Errand | None) -> Job | None:
    """Start a child with a storage's errand; where there is none, that is the job's good end."""
    if errand is None:
        return Job(JobState.DONE)
    world.imaging.run(job, errand)
    return None


def copy_job(world: World) -> str:
    """The one copy of an operation."""
    return f"{world.notes.operation}-copy"


def copied(
    world: World,
    start: Callable[[], Job | None],
    why: str,
    told: str,
    *,
    check: Callable[[], object] = lambda: None,
    todo: str = TODO,
    patience: float = PATIENCE,
) -> Wait | None:
    """Follow the operation's copy. Its end is noted, after a last `check`, so that it is copied once."""
    if world.notes.mark(COPIED):
        return None
    done = follow(world, copy_job(world), start, why, told=told, todo=todo, patience=patience)
    if isinstance(done, Wait):
        return done
    check()
    world.notes.write(COPIED, True)
    return None


class FillImage(Step):
    """What the steps share that fill an unsealed image: the way back."""

    image: str

    def revert(self, world: World) -> Wait | None:
        """No child, no image."""
        world.imaging.cancel(copy_job(world))
        world.storage.remove_image(self.image)
        return None
