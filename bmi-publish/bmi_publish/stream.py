"""Events for as long as somebody listens: a subscription that is opened again whenever it is lost. What events mean is
not known here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from bmi_publish.connection import Connection
from bmi_publish.error import Lost, Unreachable
from bmi_publish.settings import Settings
from bmid.messages.envelope import Envelope

__all__ = ["Stream"]

REACH = 15.0  # seconds for one attempt to connect


class Stream:
    """Hears the events with these routing keys. `opened` counts how often the connection was opened: what came while
    there was none is missed. `tell` gets a line for people whenever it is lost, or back. Left without ever having been
    open, it raises Unreachable."""

    def __init__(self, settings: Settings, keys: Sequence[str], tell: Callable[[str], None]) -> None:
        self.opened = 0
        self._connection = Connection(settings)
        self._connection.subscribe(tuple(keys))
        self._tell = tell
        self._trouble: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._connection.close()
        if kind is None and not self.opened:
            raise Unreachable.of("unreachable", str(self._trouble), "Is it running?")

    def receive(self, timeout: float, reach: float = REACH) -> Envelope | None:
        """The next event, or None where there is none within about `timeout` seconds, or no connection, which may take
        `reach` seconds to be opened. Raises NotAllowed."""
        deadline = time.monotonic() + max(0.0, timeout)
        try:
            if self._connection.ensure(max(deadline, time.monotonic() + min(reach, REACH))):
                self._back()
            delivery = self._connection.receive(max(0.0, deadline - time.monotonic()))
        except Lost as error:
            self._lost(f"the connection is lost: {error}")
            return None
        except Unreachable as error:
            self._lost(error.problem.detail)
            return None
        return delivery.envelope() if delivery and not delivery.answers else None

    def _back(self) -> None:
        self.opened += 1
        if self.opened > 1:
            self._tell("connected again; events of the time between are missed")
        self._trouble = None

    def _lost(self, trouble: str) -> None:
        if self._trouble is None:
            self._tell(f"{trouble}; trying again")
        self._trouble = trouble
