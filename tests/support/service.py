"""Real services for tests, each started when the first test asks for it and stopped by its pid at the end.

A service that can't be started fails the test that wants it. A test that breaks a shared one mends it again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

import pytest

from lab.ceph import Ceph
from lab.postgresql import PostgreSQL
from lab.process import free_port
from lab.rabbitmq import RabbitMQ
from lab.tgtd import Tgtd


class Service(Protocol):
    folder: Path

    def start(self) -> None: ...

    def stop(self) -> None: ...


S = TypeVar("S", bound=Service)


@contextmanager
def running(service: S, request: pytest.FixtureRequest) -> Iterator[S]:
    """Start it and stop it in any case; its folder (logs, data) stays only where a test has failed."""
    try:
        service.start()
        yield service
    finally:
        service.stop()
        if not request.session.testsfailed:
            shutil.rmtree(service.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[RabbitMQ]:
    """A private broker for the whole run."""
    with running(RabbitMQ(tmp_path_factory.mktemp("rabbitmq")), request) as service:
        yield service


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Ceph]:
    """A private cluster with one BlueStore OSD for the whole run."""
    with running(Ceph(tmp_path_factory.mktemp("ceph")), request) as service:
        yield service


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[PostgreSQL]:
    """A private database server for the whole run; tests make databases of their own in it."""
    with running(PostgreSQL(tmp_path_factory.mktemp("postgresql")), request) as service:
        yield service


@pytest.fixture
def tgtd(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Tgtd]:
    """A private target daemon for one test: it takes 40 ms, and tests kill and freeze it."""
    with running(Tgtd(tmp_path / "tgtd", portal_port=free_port()), request) as service:
        yield service
