"""The broker twin: commands come late, twice and out of step; events may arrive although the confirm is lost.

A single active consumer gets the commands in the queue's order; what it hasn't acknowledged comes again to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bmid.amqp.confirm import Message, Tally
from bmid.errors import BmiError, TransientError
from tests.support.letter import Letter
from tests.support.world.stage import Bell, Stage

__all__ = ["Broker", "Confirms", "Line"]

SILENCE = 40.0  # seconds after which the broker closes a connection whose heartbeats stay away


@dataclass(eq=False)
class Broker:
    """Queue, exchange and subscribers. `seen` are the events as the subscriber got them, in order."""

    stage: Stage
    queue: list[Letter] = field(default_factory=list)
    seen: list[Message] = field(default_factory=list)
    consumers: list[str] = field(default_factory=list)
    down_until: float = 0.0
    lost_confirms: int = 0
    bell: Bell = field(default_factory=Bell)

    @property
    def down(self) -> bool:
        """Whether nobody can reach it."""
        return self.stage.now < self.down_until

    def put(self, letter: Letter) -> None:
        """A message from a publisher has arrived."""
        self.queue.append(letter)
        self.stage.ring(self.bell)

    def first(self, instance: str) -> Letter | None:
        """The delivery that this consumer has in hand; None for one that isn't the active one."""
        if self.down:
            self.consumers.clear()
            return None
        if instance not in self.consumers:
            self.consumers.append(instance)
        return self.queue[0] if self.queue and self.consumers[0] == instance else None

    def acknowledge(self, instance: str, letter: Letter) -> None:
        """It is dealt with; if this consumer still is the one that has it."""
        if not self.down and self.consumers[:1] == [instance] and self.queue and self.queue[0] is letter:
            self.queue.pop(0)

    def leave(self, instance: str) -> None:
        """This consumer is gone, or silent for too long."""
        if instance in self.consumers:
            self.consumers.remove(instance)


class Line:
    """What the relay has in place of a connection."""

    def __init__(self, broker: Broker, name: str) -> None:
        self.name = name
        self.broker = broker
        self.confirms: Confirms | None = None
        self._wait_until = 0.0

    def ensure(self) -> float:
        """Seconds until there is one."""
        return max(0.0, self._wait_until - self.broker.stage.now)

    def pump(self, seconds: float) -> None:
        """Nothing comes in here."""
        if self.broker.down:
            raise TransientError("broker-away", f"{self.name}: the broker can't be reached")

    def failed(self, error: BmiError) -> float:
        """Later, on a new connection."""
        self._wait_until = self.broker.stage.now + 1.0
        if self.confirms is not None:
            self.confirms.answered = False
        return 1.0

    def close(self) -> None:
        """Nothing to let go of."""


class Confirms:
    """A channel in confirm mode. A batch may be cut anywhere; of a lost one the first event has arrived."""

    def __init__(self, line: Line, moment: Any) -> None:
        self.answered = False
        self._line = line
        self._moment = moment
        line.confirms = self

    def publish(self, messages: Sequence[Message]) -> Tally:
        """As the real one."""
        tally, broker = Tally(), self._line.broker
        for message in messages:
            self._moment("before publish")
            if broker.down:
                tally.error = TransientError("broker-away", f"{self._line.name}: cut")
                return tally
            broker.seen.append(message)
            self._moment("after publish")
            if broker.lost_confirms > 0:
                broker.lost_confirms -= 1
                tally.error = TransientError("broker-away", f"{self._line.name}: cut before the confirm")
                return tally
            tally.confirmed.append(message.key)
            self.answered = True
        return tally
