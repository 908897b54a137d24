"""bmi-publish as somebody leaves it running in a terminal or a pipe, and somebody who says events to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import pika
from pika.exceptions import UnroutableError

from bmid.messages.envelope import CONTENT_TYPE, Envelope, encode

__all__ = ["Follower", "Speaker"]


class Follower:
    """`bmi-publish WORDS`, whose lines are collected while it runs; interrupted at the end."""

    def __init__(self, url: str, *words: str, stdout: int = subprocess.PIPE, **environment: str) -> None:
        self.lines: list[str] = []
        self.told: list[str] = []
        program = str(Path(sys.executable).with_name("bmi-publish"))
        self._command = [program, *words]
        self._environment = {**os.environ, "BMI_URL": url, "XDG_CONFIG_HOME": "/nowhere", **environment}
        self._stdout = stdout

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self._command, env=self._environment, stdout=self._stdout, stderr=subprocess.PIPE, text=True
        )
        pairs = ((self.process.stdout, self.lines), (self.process.stderr, self.told))
        self._threads = [threading.Thread(target=_collect, args=pair) for pair in pairs if pair[0] is not None]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self.interrupt()

    def interrupt(self) -> int:
        """Ctrl-C; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        for thread in self._threads:
            thread.join(10)
        return code

    def until(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Wait until the condition holds."""
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, (self.lines[-10:], self.told)
            time.sleep(0.02)


class Speaker:
    """Publishes events, as bmid would. Each is sent until a queue takes it, and so is heard once."""

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._channel.exchange_declare("bmi.events", "topic", durable=True)
        self._channel.confirm_delivery()

    def close(self) -> None:
        """Say no more."""
        self._connection.close()

    def say(self, kind: str, subject: str, data: Mapping[str, Any], *, heard: bool = True) -> str:
        """An event; its id. `heard` False: perhaps nobody wants it."""
        event = Envelope(
            id=str(uuid4()), source="/bmid/test", type=kind, time=datetime.now(UTC), subject=subject, data=dict(data)
        )
        headers, body = encode(event)
        properties = pika.BasicProperties(content_type=CONTENT_TYPE, headers=headers)
        key = f"{kind}.{data.get('project') or '-'}"
        end = time.monotonic() + 30
        while True:
            try:
                self._channel.basic_publish("bmi.events", key, body, properties, mandatory=heard)
            except UnroutableError:
                assert time.monotonic() < end, f"nobody has subscribed to {key}"
                self._connection.sleep(0.1)
            else:
                return event.id


def _collect(stream: Any, lines: list[str]) -> None:
    for line in stream:
        lines.append(line.rstrip("\n"))
