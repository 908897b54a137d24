"""The database loses its connections, is stopped, frozen or full, or its clock jumps, while commands go on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bmid.errors import TransientError
from bmid.store import bounded
from lab.place import drop_short_folder, short_folder
from lab.postgresql import PostgreSQL
from lab.rabbitmq import RabbitMQ
from tests.support.bmid import House, building
from tests.support.clock import Clock
from tests.support.full import filled, small
from tests.support.service import running
from tests.support.traffic import Busy

HOUR = 3600
SETTINGS: dict[str, dict[str, object]] = {"engine": {"claim_lease": 6.0}, "broker": {"ping_every": 1.0}}


class Site(Busy):
    """A busy house with a database server of its own, on a small file system."""

    server: PostgreSQL
    disk: Path

    def lines(self, event: str) -> list[dict[str, Any]]:
        """What the log says of this."""
        return [one for one in self.house.bmid.told() if one["event"] == event]


@contextmanager
def server_on(folder: Path, request: pytest.FixtureRequest, clock: Clock) -> Iterator[tuple[PostgreSQL, Path]]:
    """A server with that clock whose data are on a small file system."""
    folder.mkdir()
    with small(short_folder(folder), "400m"), running(PostgreSQL(folder, before=clock.before), request) as server:
        yield server, short_folder(folder)


@pytest.fixture(scope="module")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clock]:
    """That of bmid and its database, in a place that the server's account may read."""
    folder = tmp_path_factory.mktemp("clock")
    yield Clock(short_folder(folder))
    drop_short_folder(folder)


@pytest.fixture(scope="module")
def site(
    rabbitmq: RabbitMQ, clock: Clock, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Site]:
    """One for all outages of this module."""
    # Apart: the houses' folder goes before the server is stopped, which is known by its own.
    folders = tmp_path_factory.mktemp("server") / "postgresql", tmp_path_factory.mktemp("site")
    with server_on(folders[0], request, clock) as (server, disk), building(folders[1], request) as made:
        house = made.house(ceph=False, postgresql=True, server=server, settings=SETTINGS, start=False)
        with clock.within():
            house.start()
        site = Site(house)
        site.server, site.disk = server, disk
        yield site


def cut_sessions(house: House) -> int:
    """Have the server end each of bmid's sessions; how many."""
    name = house.parts.database and house.parts.database.rpartition("/")[2]
    url = str(house.parts.database).replace("postgresql+psycopg", "postgresql").rpartition("/")[0]
    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        words = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        return len(connection.execute(words, (name,)).fetchall())


def test_connections_that_are_cut_in_the_middle_cost_nothing(site: Site) -> None:
    with site.going_on():
        cut = 0
        for _ in range(5):
            cut += cut_sessions(site.house)
            time.sleep(0.3)
    assert cut > 5


@pytest.mark.long
def test_a_database_that_was_stopped_for_a_while_finds_all_that_waited(site: Site) -> None:
    with site.going_on(90):
        site.server.kill()
        time.sleep(3)
        site.server.restart()


def test_a_full_disk_of_the_database_is_waited_for(site: Site) -> None:
    """The server may end for it, and is then started again by whoever made room."""
    with site.going_on(120):
        with filled(site.disk):
            site.house.until(lambda: "DiskFull" in site.house.bmid.process.log.read_text() or not up(site.server), 40)
            time.sleep(1)
        if not up(site.server):
            site.server.restart()


def up(server: PostgreSQL) -> bool:
    """Whether it lets anybody in."""
    try:
        psycopg.connect(server.url.replace("postgresql+psycopg", "postgresql"), connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def test_a_clock_that_goes_an_hour_forward_and_back_loses_nothing(site: Site, clock: Clock) -> None:
    """What waits for a moment that is an hour away now is looked at within a heartbeat, not within an hour."""
    with site.going_on(120):
        clock.set(HOUR)
        site.house.until(lambda: [one for one in site.lines("head.stood_still") if one["seconds"] >= HOUR], 40)
    with site.going_on(120):
        clock.set(0)
        site.house.until(lambda: site.lines("clock.went_back"), 40)


@pytest.mark.long  # tests/integration/test_store_clock.py promises the same, on a clock of its own
def test_what_a_killed_head_held_is_free_although_the_clock_went_back(site: Site, clock: Clock) -> None:
    clock.set(0)
    with site.going_on(120):
        site.house.bmid.kill()
        clock.set(-HOUR)
        with clock.within():
            site.house.start()
    clock.set(0)


@pytest.mark.long  # tests/integration/test_store_bounded.py promises the same, without commands meanwhile
def test_a_database_that_is_frozen_keeps_nobody_for_ever(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its kernel still says that everything arrives: only a limit of our own ends the wait."""
    monkeypatch.setattr(bounded, "LIMIT", 0.5)
    assert site.house.database.now()
    with site.going_on():
        site.server.freeze()
        try:
            began = time.monotonic()
            with pytest.raises(TransientError, match="ConnectionTimeout"):
                site.house.database.now()
            assert time.monotonic() - began < 5
        finally:
            site.server.thaw()
    assert site.house.database.now()
