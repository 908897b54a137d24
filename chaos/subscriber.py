"""Somebody who hears every event: a durable queue, acknowledged after it was kept, on a connection that comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import AMQPError

from bmid.messages.envelope import Envelope, decode

__all__ = ["Subscriber"]

QUEUE = "chaos"


class Subscriber:
    """Keeps each event once, with the time (time.monotonic) at which it came first; `copies` counts the others. `hear`
    is told of each new one, in the subscriber's thread."""

    def __init__(self, url: Callable[[], str], hear: Callable[[Envelope], None]) -> None:
        self.events: dict[str, Envelope] = {}
        self.at: dict[str, float] = {}
        self.copies = 0
        self._url = url
        self._hear = hear
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="subscriber", daemon=True)

    def start(self) -> None:
        """Bind first, so that nothing is missed; then listen."""
        self._connect().close()
        self._thread.start()

    def stop(self) -> None:
        """Leave."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(20)

    def _connect(self) -> pika.BlockingConnection:
        parameters = pika.URLParameters(self._url())
        parameters.heartbeat = 10
        parameters.socket_timeout = parameters.stack_timeout = 5
        connection = pika.BlockingConnection(parameters)
        channel = connection.channel()
        channel.exchange_declare("bmi.events", "topic", durable=True)
        channel.queue_declare(QUEUE, durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(QUEUE, "bmi.events", "#")
        channel.basic_qos(prefetch_count=200)
        channel.basic_consume(QUEUE, self._take)
        return connection

    def _take(self, channel: Any, method: Any, properties: Any, body: bytes) -> None:
        event = decode(properties.content_type, properties.headers, body)
        if event.id in self.events:
            self.copies += 1
        else:
            self.events[event.id] = event
            self.at[event.id] = time.monotonic()
            self._hear(event)
        channel.basic_ack(method.delivery_tag)

    def _run(self) -> None:
        while not self._ended.is_set():
            connection = None
            try:
                connection = self._connect()
                while not self._ended.is_set():
                    connection.process_data_events(0.2)
            except (AMQPError, AMQPConnectorException, OSError):
                self._ended.wait(0.5)
            finally:
                if connection is not None and connection.is_open:
                    with suppress(AMQPError, OSError):
                        connection.close()
