"""The stage: actors that take turns in one thread on virtual time, and whoever freezes or kills them.

An actor is a greenlet that belongs to a group (a head). It gives way only in `pause` and `wait`; between two of these
nobody else does anything. Who comes next among those that are ready, the seed's chance decides.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from greenlet import getcurrent, greenlet

from tests.support.accident import Killed

__all__ = ["Actor", "Bell", "Stage"]


@dataclass(eq=False)
class Actor:
    """Somebody who acts. `due` is the time of its next turn."""

    group: str
    name: str
    due: float
    greenlet: greenlet
    bell: Bell | None = None


@dataclass(eq=False)
class Bell:
    """Wakes the actors that wait at it."""

    rings: int = 0


@dataclass
class Stage:
    """Time and whose turn it is. `story` keeps what happened, `digest` all of it."""

    chance: Random
    now: float = 0.0
    turns: int = 0
    story: list[str] = field(default_factory=list)
    inside: int = 0  # transactions that are open: nobody gives way in one
    _actors: list[Actor] = field(default_factory=list)
    _frozen: dict[str, float] = field(default_factory=dict)
    _doomed: set[str] = field(default_factory=set)
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)
    crash: BaseException | None = None

    def add(self, group: str, name: str, body: Callable[[], None], after: float = 0.0) -> None:
        """Somebody new; `body` begins after so many seconds."""

        def life() -> None:
            try:
                body()
            except Killed:
                return
            except BaseException as error:  # told by whoever turns the stage
                self.crash = error

        self._actors.append(Actor(group, name, self.now + after, greenlet(life)))

    def tell(self, what: str) -> None:
        """Something that belongs to the story."""
        self.story.append(f"{self.now:8.2f} {what}")

    def note(self, what: str) -> None:
        """Something that a second run of the same seed must repeat."""
        self._digest.update(f"{self.now:.3f} {what}\n".encode())

    @property
    def digest(self) -> str:
        """Of all that happened so far."""
        return self._digest.hexdigest()

    def pause(self, seconds: float) -> None:
        """The present actor gives way for that long, or longer if its group is frozen."""
        self._give_way(seconds, None)

    def wait(self, bell: Bell, heard: int, seconds: float) -> None:
        """Until the bell has rung more often than `heard`, or so many seconds."""
        self._give_way(0.0 if bell.rings != heard else seconds, bell)

    def _give_way(self, seconds: float, bell: Bell | None) -> None:
        assert not self.inside, "somebody gave way in the middle of a transaction"
        actor = next((one for one in self._actors if one.greenlet is getcurrent()), None)
        if actor is None:
            return  # nobody's turn: the world is being set up
        actor.due, actor.bell = self.now + max(seconds, 0.001), bell
        actor.greenlet.parent.switch()

    def ring(self, bell: Bell) -> None:
        """Whoever waits there is ready now."""
        bell.rings += 1
        for actor in self._actors:
            if actor.bell is bell:
                actor.due, actor.bell = min(actor.due, self.now + 0.001), None

    def freeze(self, group: str, seconds: float) -> None:
        """Nobody of the group acts for that long. Takes hold when the present actor gives way."""
        self._frozen[group] = self.now + seconds

    def thaw(self, group: str) -> None:
        """At once."""
        self._frozen.pop(group, None)

    def frozen(self, group: str) -> bool:
        """Whether the group is frozen now."""
        return self._frozen.get(group, -1.0) > self.now

    def kill(self, group: str) -> None:
        """All of the group die before anybody else acts. Their own `pause` never returns."""
        self._doomed.add(group)
        self._frozen.pop(group, None)

    def run(self, over: Callable[[], bool], until: float, most: int = 200_000) -> bool:
        """Turn after turn, until `over` says so (True) or time has come (False). Raises what an actor raised."""
        while not over():
            self._bury()
            actor = self._next()
            if actor is None or actor[0] > until:
                self.now = max(self.now, until)
                return False
            self.now = max(self.now, actor[0])
            self.turns += 1
            assert self.turns < most, "this never ends"
            self.note(f"{actor[1].group}/{actor[1].name}")
            actor[1].bell = None
            actor[1].greenlet.switch()
            if self.crash is not None:
                raise self.crash
        return True

    def _next(self) -> tuple[float, Actor] | None:
        self._actors = [one for one in self._actors if not one.greenlet.dead]
        due = [(max(one.due, self._frozen.get(one.group, 0.0), self.now), one) for one in self._actors]
        if not due:
            return None
        first = min(when for when, _ in due)
        return self.chance.choice([(when, one) for when, one in due if when <= first + 0.01])

    def _bury(self) -> None:
        while self._doomed:
            group = self._doomed.pop()
            for actor in [one for one in self._actors if one.group == group]:
                if actor.greenlet:  # has begun, and has not ended
                    actor.greenlet.throw(Killed)
            self._actors = [one for one in self._actors if one.group != group]

    def end(self) -> None:
        """Nobody is left."""
        self._doomed |= {one.group for one in self._actors}
        self._bury()
