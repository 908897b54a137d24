"""Real parts that integration tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.rabbitmq import RabbitMQ


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    """A private broker for the whole run."""
    broker = RabbitMQ(tmp_path_factory.mktemp("rabbitmq"))
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
