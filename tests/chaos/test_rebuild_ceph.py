"""The database of a site on Ceph is deleted, and its rows come back from the pool while nodes run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import cycle
from typing import Any

import pytest

from bmid.handlers.copy_image import CopyImage
from bmid.handlers.create_project import CreateProject
from bmid.handlers.map_node import MapNode
from bmid.handlers.register_node import RegisterNode
from bmid.handlers.unmap_node import UnmapNode
from bmid.messages.base import Command
from bmid.model.entity import Disk
from bmid.store.view import StoreView
from lab.ceph import Ceph
from lab.rabbitmq import RabbitMQ
from tests.support.bmid import building
from tests.support.house import House

AWAY = 3  # disks that are parked, and as many that are discarded
LOST = ("owner", "seed", "power", "removed_at", "expires_at", "operation", "row")


@pytest.fixture
def house(
    rabbitmq: RabbitMQ, ceph: Ceph, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[House]:
    """One of its own: its database goes."""
    with building(tmp_path_factory.mktemp("rebuild"), request) as made:
        yield made.house(ceph=True, postgresql=False)


def all_done(house: House, *commands: Command) -> list[dict[str, Any]]:
    """Their outcomes."""
    client = house.client()
    results = client.wait_all([client.ticket(command) for command in commands], 120)
    assert all(result.ok for result in results), results
    return [result.event.data for result in results if result.event]


def furnished(house: House, count: int) -> tuple[list[str], list[dict[str, Any]]]:
    """Three projects with an image each, `count` nodes on them, disks parked and in the trash; names of the projects,
    and where each node was led."""
    projects = ["red", "green", "blue"]
    all_done(house, *(CreateProject(project=name) for name in projects))
    image = house.image("red", description="the first")
    all_done(house, *(CopyImage(project="red", image=image, to=image, to_project=name) for name in projects[1:]))
    nodes = [f"node{number}" for number in range(count + 2 * AWAY)]
    macs = [f"52:54:00:01:{number >> 8:02x}:{number & 255:02x}" for number in range(len(nodes))]
    all_done(house, *(RegisterNode(node=n, macs=(m,), labels={"n": n}) for n, m in zip(nodes, macs, strict=True)))
    pairs = list(zip(cycle(projects), nodes, strict=False))
    mapped = all_done(house, *(MapNode(project=p, node=n, image=image, hostname=f"host-{n}") for p, n in pairs))
    parked, gone = pairs[count : count + AWAY], pairs[count + AWAY :]
    all_done(house, *(UnmapNode(project=p, node=n, disk="park", force=True) for p, n in parked))
    all_done(house, *(UnmapNode(project=p, node=n, force=True) for p, n in gone))
    return projects, mapped[:count]


def rows(house: House, projects: list[str]) -> dict[str, dict[str, Any]]:
    """All rows of the site by their ids, without what only a backup holds."""
    with house.database.read() as tx:
        view = StoreView(tx, 60)
        trash = [one for project in projects for one in view.trashed(project)]
        things = {
            "project": [one.name for one in view.projects()],
            "image": [_plain(one) for one in view.images()],
            "disk": [_plain(one) for one in view.disks()],
            "node": [_plain(one) for one in view.nodes() if one.disk],
            "trash": [_plain(one) for one in trash],
        }
    return {kind: {str(one): one for one in found} for kind, found in things.items()}


def _plain(thing: Any) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(thing).items() if name not in LOST}


def exports(house: House) -> list[tuple[int, str]]:
    """All targets."""
    found = [one for shard in house.ports.target.shards for one in house.ports.target.exports(shard)]
    return sorted((one.number, one.iqn) for one in found)


def forget(house: House) -> None:
    """Nobody has the database any more: a new one is made in its place."""
    house.bmid.stop()
    house.__dict__.pop("database").close()
    for left in house.bmid.folder.glob("bmid.db*"):
        left.unlink()
    house.bmid.run("migrate")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [6, pytest.param(100, marks=pytest.mark.long)])
def test_a_site_comes_back_while_its_nodes_run(house: House, count: int) -> None:
    """Row by row, field by field; a running system reads on, and a target that is taken away by hand comes back."""
    projects, mapped = furnished(house, count)
    before, stood = rows(house, projects), exports(house)
    assert {kind: len(found) for kind, found in before.items()} == {
        "project": 3, "image": 3, "disk": count + AWAY, "node": count, "trash": AWAY,
    }  # fmt: skip
    with ExitStack() as stack:
        node = stack.enter_context(house.initiator(mapped[0]))
        other = stack.enter_context(house.initiator(mapped[1]))
        node.write(4096, 4096, 0x5A)
        stack.enter_context(node.running())
        owners = {disk.id: house.ports.storage.owner(disk.id) for disk in house.disks() if disk.node}
        forget(house)
        said = json.loads(house.bmid.run("rebuild", "--from-storage", "-o", "json"))
        assert said["doubts"] == []
        assert rows(house, projects) == before
        house.start()
        assert exports(house) == stood
        assert {disk: house.ports.storage.owner(disk) for disk in owners} == owners
        torn = next(disk for disk in house.disks() if disk.node == mapped[1]["node"])
        house.ports.target.remove(torn.shard or "", torn.number, torn.id)
        house.until(lambda: exports(house) == stood and _owner(house, torn), 30)
        assert other.read(0, 512) == node.read(0, 512)
        assert node.read(4096, 512) == b"\x5a" * 512
        assert {one: house.ports.storage.owner(one) for one in owners if one != torn.id} == {
            one: owner for one, owner in owners.items() if one != torn.id
        }
    last = mapped[-1]
    assert house.did(UnmapNode(project=last["project"], node=last["node"], force=True))["changed"]
    again = house.did(MapNode(project=last["project"], node=last["node"], image=last["image"]))
    assert house.disk(again).number > stood[-1][0]


def _owner(house: House, disk: Disk) -> str | None:
    """Who is noted to export it: nobody, until it was put back."""
    return next(one.owner for one in house.disks() if one.id == disk.id)
