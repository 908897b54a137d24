"""A subscriber that keeps every event it hears, as bytes and as envelopes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import pika
from pika.exceptions import AMQPError

from bmid.messages.envelope import Envelope, decode


class Listener:
    """Hears everything on bmi.events from the moment it is entered."""

    def __init__(self, url: str) -> None:
        self.heard: list[Envelope] = []
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._channel.exchange_declare("bmi.events", "topic", durable=True)
        queue = self._channel.queue_declare("", exclusive=True).method.queue
        self._channel.queue_bind(queue, "bmi.events", "#")
        self._channel.basic_consume(queue, self._hear, auto_ack=True)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._ended.set()
        with suppress(AMQPError):
            self._connection.add_callback_threadsafe(lambda: None)  # so that it looks whether it has ended
        self._thread.join(10)
        with suppress(AMQPError):
            self._connection.close()

    def of(self, message: str, kind: str | None = None) -> list[Envelope]:
        """What was heard of a command, every copy of it."""
        return [one for one in list(self.heard) if one.causationid == message and kind in (None, one.type)]

    def until(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Wait until the condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"not within {seconds} s; heard {[one.type for one in self.heard[-20:]]}"
            time.sleep(0.02)

    def _hear(self, _channel: Any, _method: Any, properties: Any, body: bytes) -> None:
        self.heard.append(decode(properties.content_type, properties.headers, body))

    def _run(self) -> None:
        with suppress(AMQPError):
            while not self._ended.is_set():
                self._connection.process_data_events(0.1)
