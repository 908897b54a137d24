"""One connection to the broker, opened again when it is lost. The publisher's only home of pika: its exceptions
end here, as Lost (open it again), Unreachable (the time is up) or NotAllowed (it will never work).

What messages mean is not known here.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import pika
from pika import exceptions as amqp
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils.connection_workflow import AMQPConnectorException

from bmi_publish.delivery import Delivery
from bmi_publish.error import Lost, NotAllowed, PublishError, Unreachable
from bmi_publish.settings import Settings
from bmid.messages.envelope import CONTENT_TYPE, Envelope, encode

__all__ = ["COMMANDS", "QUERIES", "Connection"]

REPLIES = "amq.rabbitmq.reply-to"
COMMANDS, QUERIES, EVENTS = "bmi.commands", "bmi.queries", "bmi.events"
LONGEST_PAUSE = 30.0
WAITING = 10_000  # events kept for a subscriber that does something else; it catches up by queries
DENIED = (amqp.ProbableAuthenticationError, amqp.AuthenticationError, amqp.ProbableAccessDeniedError)


class Connection:
    """One BlockingConnection with one channel. Used by one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._parameters = pika.URLParameters(settings.address())
        self._parameters.heartbeat = 20
        self._parameters.blocked_connection_timeout = 30
        self._parameters.stack_timeout = 15
        self._parameters.socket_timeout = 10
        self._parameters.connection_attempts = 1
        self._connection: pika.BlockingConnection | None = None
        self._channel: BlockingChannel | None = None
        self._cancelled = False
        self._queue: str | None = None
        self._bound: tuple[str, ...] = ()
        self._keys: tuple[str, ...] = ()
        self._events: deque[Delivery] = deque()
        self._answers: deque[Delivery] = deque()
        self._failures = 0

    def ensure(self, deadline: float) -> bool:
        """Have it open before `deadline` (time.monotonic), with the subscription that was asked for. True if it was
        opened anew, so that events may have been missed. Raises Unreachable or NotAllowed."""
        if self._usable():
            self._pause(deadline)
            return False
        while True:
            self._pause(deadline)
            self._parameters.stack_timeout = max(1.0, min(15.0, deadline - time.monotonic()))
            try:
                self._open()
            except Lost as error:
                if time.monotonic() >= deadline:
                    raise _unreachable(self._settings.url, error) from error
            else:
                return True

    def subscribe(self, keys: tuple[str, ...]) -> None:
        """Hear the events with these routing keys, in a queue of our own; () to hear no more. The first key must be
        allowed; of the others, those that the broker refuses are left out. Raises Lost or NotAllowed."""
        self._keys = keys
        if self._usable():
            with self._translated():
                self._bind()
        if not keys:
            self._events.clear()

    def publish(self, exchange: str, envelope: Envelope, *, ask: bool = False, mandatory: bool = True) -> None:
        """Publish, and return when the broker has it. `ask`: answers are awaited. Raises Lost, Unreachable (nobody
        listens) or NotAllowed."""
        if self._channel is None:
            raise Lost("not connected")
        headers, body = encode(envelope)
        properties = pika.BasicProperties(
            content_type=CONTENT_TYPE,
            headers=headers,
            delivery_mode=1 if ask else 2,
            message_id=envelope.id,
            correlation_id=envelope.id if ask else envelope.correlationid,
            reply_to=REPLIES if ask else None,
            type=envelope.type,
            user_id=self._settings.user,
        )
        with self._translated():
            self._channel.basic_publish(exchange, envelope.type, body, properties, mandatory=mandatory)
        self._failures = 0

    def receive(self, timeout: float, *, events: bool = True) -> Delivery | None:
        """The next message, or None after `timeout` seconds. Without `events` only an answer: they are kept for later.
        Raises Lost."""
        if not (self._answers or (events and self._events)):
            # Looked at each time: a channel that the broker closes raises nothing below.
            if self._connection is None or not self._usable():
                raise Lost("not connected")
            with self._translated():
                self._connection.process_data_events(max(0.0, timeout))
        if self._answers:
            return self._answers.popleft()
        return self._events.popleft() if events and self._events else None

    def beat(self) -> None:
        """Keep it alive while its owner does something long; what comes is kept. A loss is noticed later."""
        if self._connection is not None and self._usable():
            with contextlib.suppress(Lost), self._translated():
                self._connection.process_data_events(0)

    def close(self) -> None:
        """Close it; quiet if it isn't open."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None and connection.is_open:
            with contextlib.suppress(amqp.AMQPError, OSError):
                connection.close()

    def _usable(self) -> bool:
        connected = self._connection is not None and self._connection.is_open
        return connected and self._channel is not None and self._channel.is_open and not self._cancelled

    def _pause(self, deadline: float) -> None:
        """Full jitter, growing with each failure in a row."""
        if not self._failures:
            return
        pause = random.uniform(0, min(LONGEST_PAUSE, 0.25 * 2 ** min(self._failures, 10)))  # noqa: S311
        pause = max(0.0, min(pause, deadline - time.monotonic()))
        if self._connection is not None and self._usable():
            with self._translated():
                self._connection.sleep(pause)
        else:
            time.sleep(pause)

    def _open(self) -> None:
        self.close()
        with self._translated():
            self._connection = pika.BlockingConnection(self._parameters)
            self._open_channel()
            self._bind()

    def _open_channel(self) -> BlockingChannel:
        if self._connection is None:
            raise Lost("not connected")
        channel = self._channel = self._connection.channel()
        self._queue, self._bound, self._cancelled = None, (), False
        channel.confirm_delivery()
        channel.add_on_cancel_callback(self._cancel)
        channel.basic_consume(REPLIES, self._take, auto_ack=True)
        return channel

    def _bind(self) -> None:
        """Make the bindings those that are wanted."""
        channel = self._channel or self._open_channel()
        for key in self._bound:
            if key not in self._keys:
                channel.queue_unbind(str(self._queue), EVENTS, key)
        self._bound = tuple(key for key in self._bound if key in self._keys)
        for key in self._keys:
            if key in self._bound:
                continue
            try:
                channel.queue_bind(self._queue or self._declare(channel), EVENTS, key)
            except amqp.ChannelClosedByBroker as error:
                if key == self._keys[0] or error.reply_code != 403:
                    raise
                self._keys = tuple(other for other in self._keys if other != key)
                self._open_channel()
                return self._bind()
            self._bound += (key,)
        return None

    def _declare(self, channel: BlockingChannel) -> str:
        limits = {"x-max-length": WAITING}
        declared = channel.queue_declare("", exclusive=True, auto_delete=True, arguments=limits)
        self._queue = str(declared.method.queue)
        channel.basic_consume(self._queue, self._take, auto_ack=True, exclusive=True)
        return self._queue

    def _cancel(self, _frame: object) -> None:
        self._cancelled = True

    def _take(self, _channel: object, method: Any, properties: Any, body: bytes) -> None:
        answers = None if method.exchange == EVENTS else properties.correlation_id
        came = self._events if answers is None else self._answers
        came.append(Delivery(answers, properties.content_type, properties.headers or {}, body))
        self._failures = 0

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """pika's exceptions as ours."""
        try:
            yield
        except DENIED as error:
            raise NotAllowed.of(
                "not-allowed",
                f"the broker at {self._settings.url} does not let {self._settings.user} in",
                "Check user, password and virtual host.",
            ) from error
        except amqp.UnroutableError as error:
            raise _nobody() from error
        except amqp.NackError as error:
            self._failures += 1
            raise Lost("the broker takes no more messages at the moment") from error
        except amqp.ChannelClosedByBroker as error:
            raise self._closed(error) from error
        except (amqp.AMQPError, AMQPConnectorException, OSError) as error:
            # A broker that takes the connection and says nothing ends in an exception that is no AMQPError.
            self._failures += 1
            self.close()
            raise Lost(_reason(error)) from error

    def _closed(self, error: amqp.ChannelClosedByBroker) -> Exception:
        self._failures += 1
        self.close()
        if error.reply_code == 403:
            todo = "Ask for the rights in the broker that this needs."
            return NotAllowed.of("not-allowed", f"the broker refuses this: {error.reply_text}", todo)
        return _nobody() if error.reply_code == 404 else Lost(error.reply_text)


def _nobody() -> PublishError:
    todo = "Start bmid on this broker, or check the URL's virtual host."
    return Unreachable.of("nobody-listens", "no bmid has ever listened on this broker", todo)


def _unreachable(url: str, error: Exception) -> PublishError:
    return Unreachable.of("unreachable", f"the broker at {url} can't be reached: {error}", "Is it running?")


def _reason(error: Exception) -> str:
    texts = [str(part) for part in error.args if str(part)]
    return (texts[-1] if texts else repr(error)).replace("\n", " ") if error.args else type(error).__name__
