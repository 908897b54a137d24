"""A head's own troubles: its disk is full, or it stands still for longer than its claims last and goes on then."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmi_publish import State
from bmid.handlers.import_image import ImportImage
from bmid.handlers.map_node import MapNode
from bmid.handlers.unmap_node import UnmapNode
from lab.ceph import Ceph
from lab.postgresql import PostgreSQL
from lab.rabbitmq import RabbitMQ
from tests.support.bmid import building
from tests.support.full import filled, small
from tests.support.image import bios_disk
from tests.support.pair import Pair, pair
from tests.support.traffic import Busy, require_told, require_world

__all__ = ["pair"]
LEASE = "3"
NODES = 16


@pytest.fixture
def site(rabbitmq: RabbitMQ, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Busy, Path]]:
    """A busy house that keeps its database, state, seeds and staged files on a file system of their own."""
    disk = tmp_path / "disk"
    houses = tmp_path / "houses"
    for folder in (disk, houses):
        folder.mkdir()
    settings: dict[str, dict[str, object]] = {
        "head": {"state_folder": disk / "state"},
        "database": {"url": f"sqlite:///{disk}/bmid.db"},
        "images": {"staging_folder": disk / "staging"},
        "seed": {"folder": disk / "seeds"},
        "boot": {"tftp_root": disk / "tftp", "hosts_dir": disk / "hosts"},
    }
    with small(disk, "64m"), building(houses, request) as made:
        house = made.house(ceph=False, postgresql=False, settings=settings)
        house.bmid.staging = disk / "staging"
        yield Busy(house), disk


def test_a_full_disk_of_the_head_is_waited_for(site: tuple[Busy, Path]) -> None:
    """Nothing can be accepted nor written down; what is running waits, and what is sent waits in its queue."""
    busy, disk = site
    house = busy.house
    with busy.going_on(90), filled(disk):
        house.until(lambda: "SQLITE_FULL" in house.bmid.process.log.read_text(), 90)
        time.sleep(2)
        assert house.bmid.process.alive()
    assert list((disk / "staging").glob("*")) == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims of heads that start from here on last for three seconds."""
    monkeypatch.setenv("BMID_ENGINE__CLAIM_LEASE", LEASE)


def test_a_head_that_was_frozen_for_longer_than_its_claims_finds_that_they_have_passed_on(
    rabbitmq: RabbitMQ, ceph: Ceph, postgresql: PostgreSQL, impatient: None, request: pytest.FixtureRequest
) -> None:
    """In the middle of maps and imports, which the other head carries on where it may. Woken, it touches nothing that
    isn't its own any more, and finishes what still is."""
    heads: Pair = request.getfixturevalue("pair")
    house = heads.a
    project = house.project()
    image, nodes = house.image(project), [house.node() for _ in range(NODES)]
    client = house.client()
    source = house.file(bios_disk())
    commands = [MapNode(project=project, node=node, image=image) for node in nodes]
    commands += [ImportImage(project=project, image=f"other{number}", source=source) for number in range(6)]
    tickets = [client.ticket(command) for command in commands]
    for ticket in tickets:
        client.publish(ticket)
    time.sleep(0.5)
    house.bmid.freeze()
    time.sleep(2.5 * float(LEASE))
    house.bmid.thaw()
    results = client.wait_all(tickets, 90)
    assert {result.state for result in results} == {State.DONE}, [one.problem for one in results if not one.ok]
    assert [line for line in house.bmid.told() if line["event"] == "head.stood_still"]
    require_told(house, tickets)
    require_world([heads.a, heads.b])
    unmaps = [client.ticket(UnmapNode(project=project, node=node, force=True)) for node in nodes]
    assert all(result.ok for result in client.wait_all(unmaps, 90))
    require_world([heads.a, heads.b])
