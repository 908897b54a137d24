"""The publisher's side and a bmid that does as it is told: what tests of bmi-publish share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bmi_publish import Client
from lab.rabbitmq import RabbitMQ
from tests.support.command_line import Run, command_line
from tests.support.fake_bmid import FakeBmid


@pytest.fixture
def bmid(rabbitmq: RabbitMQ) -> Iterator[FakeBmid]:
    """Answers as the test tells it."""
    with FakeBmid(rabbitmq) as fake:
        yield fake


@pytest.fixture
def client(rabbitmq: RabbitMQ, bmid: FakeBmid) -> Iterator[Client]:
    """alice's, from Python."""
    with Client(rabbitmq.url("alice"), source="/test") as one:
        yield one


@pytest.fixture
def run(rabbitmq: RabbitMQ, tmp_path: Path) -> Run:
    """bmi-publish as alice types it."""
    return command_line(rabbitmq, tmp_path)
