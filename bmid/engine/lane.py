"""Calls of drivers that are under way: what waits is known and told, and what hangs takes no more than its lane.

A storage that is frozen answers after its time limit only, and all workers could stand there meanwhile. So as many
calls as the settings name operations enter at a time; there are a few workers more, and when nothing has moved in the
lane for a while, whoever comes is sent away at once and tries again later. What a call does is its driver's matter.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

import structlog

from bmid.drivers.loader import PASSIVE
from bmid.errors import TransientError

__all__ = ["SPARE", "Lane", "Lanes"]

log = structlog.get_logger(__name__)

SPARE = 2  # workers more than calls that may hang
PATIENCE = 3.0  # seconds without a beginning or an end in a full lane, after which nobody waits there
DELAY = 2.0  # seconds until who was sent away comes again; longer ones from the fourth time on
SLOW = 5.0  # seconds after which a call is told of; the next times after ever longer ones
TODO = "See what the calls wait for: bmid's log says call.waits for each, and `bmid check` looks at all parts."
P = TypeVar("P")


@dataclass
class Call:
    """One call under way. `told`: its age in seconds at which it is told of next."""

    name: str
    operation: str | None
    began: float
    since: str
    told: float = SLOW


class Lane:
    """Where calls of one kind run. `slots`: how many at a time; None: any number, which are only looked after."""

    def __init__(self, slug: str, slots: int | None = None) -> None:
        self._slug = slug
        self._slots = slots
        self._calls: list[Call] = []
        self._changed = threading.Condition()
        self._moved = time.monotonic()

    @contextmanager
    def call(self, name: str, operation: str | None = None) -> Iterator[None]:
        """Be under way. TransientError where the lane is full and nothing moves in it."""
        since = datetime.now(UTC).isoformat(timespec="seconds")  # noqa: TID251 - shown to people, compared with nothing
        with self._changed:
            self._enter(name)
            one = Call(name, operation, time.monotonic(), since)
            self._moved = one.began
            self._calls.append(one)
        try:
            yield
        finally:
            with self._changed:
                self._calls.remove(one)
                self._moved = time.monotonic()
                self._changed.notify()
            if one.told > SLOW:
                log.info("call.answered", call=name, about=operation, seconds=round(self._moved - one.began, 1))

    def _enter(self, name: str) -> None:
        if self._slots is None or len(self._calls) < self._slots:
            return
        slots = self._slots
        patience = PATIENCE - (time.monotonic() - self._moved)
        if patience > 0 and self._changed.wait_for(lambda: len(self._calls) < slots, patience):
            return
        oldest = time.monotonic() - min(one.began for one in self._calls)
        detail = f"{name} was not tried: {len(self._calls)} calls wait for an answer, the first for {oldest:.0f} s"
        raise TransientError(self._slug, detail, todo=TODO, delay=DELAY)

    def report(self) -> None:
        """Tell of calls that take long: what waits, for which operation, and since when."""
        now = time.monotonic()
        with self._changed:
            slow = [one for one in self._calls if now - one.began >= one.told]
            for one in slow:
                one.told = 4 * max(one.told, (now - one.began) / 2)
        for one in slow:
            log.warning(
                "call.waits", call=one.name, about=one.operation, since=one.since, seconds=round(now - one.began, 1)
            )


class Lanes:
    """The lanes of a head: storage and targets share one, since a tgtd hangs with the storage behind it. `slots`: calls
    at a time in each lane; None: any number. `patient`: the storage may take its time with a call, as one does that
    copies, and nobody is sent away."""

    def __init__(self, slots: int | None = None, *, patient: bool = False) -> None:
        self._data = Lane("storage-timeout", slots)
        self._power = Lane("bmc-timeout", slots)
        self._rest = Lane("")
        self._storage = self._rest if patient else self._data

    def storage(self, port: P, operation: str | None = None) -> P:
        """The port, with its calls in the lane."""
        return cast(P, _Port("storage", port, self._storage, operation))

    def target(self, port: P, operation: str | None = None) -> P:
        """The same for targets."""
        return cast(P, _Port("target", port, self._data, operation))

    def power(self, ports: Mapping[str, P], operation: str | None = None) -> Mapping[str, P]:
        """The same for BMCs, by the name of their driver."""
        return cast(Mapping[str, P], _Ports(ports, self._power, operation))

    def watched(self, kind: str, port: P) -> P:
        """The port, whose calls are told of when they take long. For who has a thread of its own, and holds up none."""
        return cast(P, _Port(kind, port, self._rest, None))

    def report(self) -> float:
        """Tell of all that takes long; seconds until the next look."""
        for lane in (self._data, self._power, self._rest):
            lane.report()
        return 1.0


class _Port:
    """Stands before a port: each call of a method is under way in the lane."""

    def __init__(self, kind: str, port: Any, lane: Lane, operation: str | None) -> None:
        self._kind = kind
        self._port = port
        self._lane = lane
        self._operation = operation

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._port, name)
        if name in PASSIVE or not callable(member):
            return member

        def call(*arguments: Any, **options: Any) -> Any:
            with self._lane.call(f"{self._kind}.{name}", self._operation):
                return member(*arguments, **options)

        return call


class _Ports(Mapping[str, Any]):
    def __init__(self, ports: Mapping[str, Any], lane: Lane, operation: str | None) -> None:
        self._ports = ports
        self._lane = lane
        self._operation = operation

    def __getitem__(self, name: str) -> Any:
        return _Port("power", self._ports[name], self._lane, self._operation)

    def __contains__(self, name: object) -> bool:
        return name in self._ports

    def __iter__(self) -> Iterator[str]:
        return iter(self._ports)

    def __len__(self) -> int:
        return len(self._ports)
