"""One connection to the broker for one thread: opened, watched, translated, opened again. The only user of
BlockingConnection, and the table of pika's errors. Nothing here knows what is published or consumed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import structlog
from pika import BlockingConnection
from pika.adapters.blocking_connection import BlockingChannel
from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import (
    AMQPError,
    AMQPHeartbeatTimeout,
    AuthenticationError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from bmid.amqp.broker import Broker
from bmid.errors import BmiError, Misconfigured, Problem, TransientError
from bmid.model.retry import backoff

__all__ = ["Link", "check", "translate"]

log = structlog.get_logger(__name__)

CALL_TIMEOUT = 15.0  # a round trip to a broker that is alive takes milliseconds
CLOSE_TIMEOUT = 2.0
RECONNECT_BASE = 0.5
RECONNECT_CAP = 30.0
SETTLED = 10.0  # a connection that lasted so long starts the back-off anew


class Link:
    """A connection with one channel, for one thread; only `reopen` may be called from another.

    `prepare` declares and subscribes on the fresh channel. Nothing here sleeps: `ensure` returns how long to wait.
    """

    def __init__(
        self,
        broker: Broker,
        name: str,
        prepare: Callable[[BlockingChannel], None],
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.problem: Problem | None = None
        self.hurry = False  # whether the next failure, and only that, is followed by a short wait
        self._broker = broker
        self._prepare = prepare
        self._chance = chance
        self._connection: BlockingConnection | None = None
        self._channel: BlockingChannel | None = None
        self._failures = 0
        self._opened = 0.0
        self._next = 0.0
        self._reopen = False

    @property
    def is_open(self) -> bool:
        """Whether a channel is there; the broker may be gone all the same."""
        return self._channel is not None

    @property
    def channel(self) -> BlockingChannel:
        """The open channel. TransientError where there is none: the broker may close it at any time."""
        if self._channel is None or not self._channel.is_open:
            raise self.closed()
        return self._channel

    def closed(self) -> TransientError:
        """That no channel is open."""
        return TransientError("broker-away", f"{self.name}: the channel is closed", todo=_AWAY)

    def gone(self, queue: str) -> TransientError:
        """That the queue which is consumed here is no more."""
        todo = "bmid declares it anew by itself. See who deletes queues: what was in it is lost."
        return TransientError("consumer-cancelled", f"{self.name}: the queue {queue} has gone", todo=todo)

    def ensure(self) -> float:
        """Open it where it isn't; 0 when it is open, else the seconds until the next attempt. Never raises for a
        broker that is away or refuses: `problem` says what is wrong."""
        if self._reopen:
            self._reopen = False
            self.close()
        if self._channel is not None:
            return 0.0
        wait = self._next - time.monotonic()
        if wait > 0:
            return wait
        try:
            with self.guard():
                self.open()
        except BmiError as error:
            return self.failed(error)
        log.info("broker.connected", connection=self.name)
        self.problem = None
        return 0.0

    def failed(self, error: BmiError) -> float:
        """Give the connection up because of `error`, and return the seconds until the next attempt."""
        if self.hurry or (self._channel is not None and time.monotonic() - self._opened > SETTLED):
            self._failures = 0
        self.hurry = False
        self.close()
        self._failures += 1
        wait = backoff(self._failures, self._chance(), base=RECONNECT_BASE, cap=RECONNECT_CAP)
        self._next = time.monotonic() + wait
        self.problem = error.problem
        problem = error.problem
        say = log.error if isinstance(error, Misconfigured) else log.warning
        say("broker.lost", connection=self.name, reason=problem.detail, todo=problem.todo, retry_in=round(wait, 1))
        return wait

    @contextmanager
    def guard(self, idle: float = 0.0) -> Iterator[None]:
        """Translate pika's errors, and cut the connection where the broker doesn't answer for 15 s; `idle` are
        seconds in which it need not say anything."""
        impl = self._connection and self._connection._impl
        # BlockingConnection waits for an answer without any limit of its own but the heartbeat's, and the timers
        # of its public interface do not fire meanwhile. Those of the connection inside it do.
        silent = AMQPHeartbeatTimeout("it doesn't answer")
        stop = impl and impl._adapter_call_later(idle + CALL_TIMEOUT, lambda: impl._terminate_stream(silent))
        try:
            yield
        except (AMQPError, AMQPConnectorException, OSError) as error:
            raise translate(error, self._broker, self.name) from error
        except Exception:
            # Whatever state pika is in now, a new connection has none of it.
            self._reopen = True
            raise
        finally:
            if stop:
                stop.cancel()

    def pump(self, seconds: float) -> None:
        """Let pika work for at most `seconds`: deliveries, heartbeats, timers. Raises BmiError."""
        with self.guard(seconds):
            if self._connection is not None:
                self._connection.process_data_events(time_limit=seconds)
            # A channel that the broker has closed raises nothing above.
            if self._channel is not None and not self._channel.is_open:
                reason = self._channel._closing_reason
                raise reason if isinstance(reason, AMQPError) else AMQPError("the channel was closed")

    def reopen(self) -> None:
        """Have the next turn open a new connection. May be called from any thread."""
        self._reopen = True

    def close(self) -> None:
        """Say good-bye for at most 2 s, then just go."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is None or not connection.is_open:
            return
        impl = connection._impl
        impl._adapter_call_later(CLOSE_TIMEOUT, lambda: impl._terminate_stream(AMQPHeartbeatTimeout("close")))
        with suppress(AMQPError, OSError):
            connection.close()

    def open(self) -> None:
        """Open and prepare it now. Raises BmiError, or pika's errors outside of `guard`."""
        connection = BlockingConnection(self._broker.parameters(self.name))
        self._connection = connection
        with self.guard():
            channel = connection.channel()
            self._prepare(channel)
        self._channel = channel
        self._opened = time.monotonic()


def check(broker: Broker, prepare: Callable[[BlockingChannel], None]) -> None:
    """Connect once, `prepare`, and leave. Raises Misconfigured or TransientError with what to do."""
    link = Link(broker, "bmid check", prepare)
    try:
        with link.guard():
            link.open()
    finally:
        link.close()


_REFUSED = (AuthenticationError, ProbableAuthenticationError, ProbableAccessDeniedError)
_AWAY = "Look at RabbitMQ and its log; bmid connects again by itself."
_RIGHTS = 'rabbitmqctl set_permissions -p VHOST USER ".*" ".*" ".*" (or the narrower rights of the manual)'
_DIFFERS = "its arguments can't be changed: drain and delete it (rabbitmqctl delete_queue), and it is made anew"


def translate(error: Exception, broker: Broker, name: str) -> BmiError:
    """What pika or the network says, as one of our errors: Misconfigured where only a person can help."""
    where = f"{broker.host}:{broker.port}"
    if isinstance(error, _REFUSED):
        todo = "check user, password file and the rights in the virtual host"
        return Misconfigured(f"the broker at {where} refuses {broker.user} in {broker.vhost!r}", todo=todo)
    if isinstance(error, ChannelClosedByBroker | ConnectionClosedByBroker):
        text = f"{name}: the broker at {where} says {error.reply_code} {error.reply_text}"
        if error.reply_code in (403, 530):
            return Misconfigured(text, todo=_RIGHTS.replace("VHOST", broker.vhost).replace("USER", broker.user))
        if error.reply_code == 406 and "inequivalent" in error.reply_text:
            return Misconfigured(text, todo=_DIFFERS)
        return TransientError("broker-away", text, todo=_AWAY)
    reason: Any = next((part for part in reversed(error.args) if part), type(error).__name__)
    todo = "see whether RabbitMQ runs, and whether this head reaches it; nothing else needs to be done"
    return TransientError("broker-away", f"{name}: the broker at {where} can't be reached ({reason})", todo=todo)
