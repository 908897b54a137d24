"""What tests share: the publisher's side and a bmid that does as it is told; sites on memory twins."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmi_publish import Client
from lab.postgresql import PostgreSQL
from lab.rabbitmq import RabbitMQ
from tests.support.bench import Bench
from tests.support.command_line import Run, command_line
from tests.support.fake_bmid import FakeBmid
from tests.support.succession import Twins


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


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Bench:
    """A site with an image and a node. Tests that need another one make their own."""
    folder = tmp_path / "site"
    folder.mkdir()
    made = Bench(folder, blank=blank).open()
    made.furnish("n1")
    return made


@pytest.fixture
def server_twins(tmp_path: Path, postgresql: PostgreSQL, blank_postgresql: str) -> Iterator[Twins]:
    """Two heads with a node each, on a server, where transactions run side by side."""
    name = f"t{secrets.token_hex(6)}"
    made = Twins(tmp_path, url=postgresql.create_database(name, template=blank_postgresql))
    made.furnish("n1", "n2")
    yield made
    made.close()
    postgresql.drop_database(name)
