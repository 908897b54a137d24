"""Publishers: each sends its commands as a service would, again until the broker has them, one in ten twice."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from bmi_publish import Client, Ticket
from bmi_publish.error import PublishError
from chaos.choice import Choice

__all__ = ["Publisher"]

TWICE = 0.1


class Publisher:
    """One thread with one client. `sent` are the commands that the broker has taken, by id, with the time
    (time.monotonic) at which it had; `wait` says whether there are enough on their way."""

    def __init__(
        self, name: str, client: Client, choice: Choice, chance: random.Random, wait: Callable[[], bool], pace: float
    ) -> None:
        self.sent: dict[str, tuple[float, Ticket]] = {}
        self.duplicates = 0
        self._client = client
        self._choice = choice
        self._chance = chance
        self._wait = wait
        self._pace = pace
        self._ended = threading.Event()
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def finish(self) -> None:
        """No new commands; returns when the last one is with the broker."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(180)

    def stop(self) -> None:
        """Now."""
        self._given_up.set()
        self.finish()

    def _run(self) -> None:
        try:
            while not self._ended.wait(self._chance.expovariate(1 / self._pace)):
                if self._wait():
                    continue
                ticket = self._client.ticket(self._choice.next())
                self._publish(ticket)
                if self._chance.random() < TWICE:
                    self._again(ticket)
        finally:
            self._client.close()

    def _again(self, ticket: Ticket) -> None:
        """At once, or an earlier one."""
        self.duplicates += 1
        later = self._chance.random() < 0.5
        self._publish(self._chance.choice(list(self.sent.values()))[1] if later else ticket)

    def _publish(self, ticket: Ticket) -> None:
        """Until the broker says that it has it; that it is sent again after a lost answer makes no second one."""
        while not self._given_up.is_set():
            try:
                self._client.publish(ticket, timeout=10)
            except PublishError:
                self._given_up.wait(0.5)
            else:
                self.sent.setdefault(ticket.id, (time.monotonic(), ticket))
                return
