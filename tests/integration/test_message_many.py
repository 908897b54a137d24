"""Many nodes at once: each gets a disk of its own, and afterwards nothing is left."""

from __future__ import annotations

import sys
import time

import pytest

from bmid.handlers.map_node import MapNode
from bmid.handlers.unmap_node import UnmapNode
from tests.support.bmid import House

NODES = 24


def test_24_nodes_mapped_at_once_are_24_disks_and_unmapped_at_once_leave_nothing(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    project = house.project()
    image = house.image(project)
    nodes = [house.node() for _ in range(NODES)]
    client = house.client()
    with house.nothing_left():
        began = time.monotonic()
        results = client.wait_all([client.ticket(MapNode(project=project, node=n, image=image)) for n in nodes], 120)
        took = time.monotonic() - began
        assert [result.state.value for result in results] == ["done"] * NODES
        events = [result.event.data for result in results if result.event]
        for part in ("disk", "address", "target"):
            assert len({event[part] for event in events}) == NODES, part
        disks = house.disks()
        mine = [disk for disk in disks if disk.project == project]
        assert len({disk.number for disk in mine}) == len(mine) == NODES
        exports = {one.iqn: one for one in house.ports.target.exports("s0")}
        assert all(exports[event["target"]].addresses == (event["address"],) for event in events)
        assert all(house.ports.boot.pointer(event["address"]) for event in events)
        if house.ceph:
            owners = {house.ports.storage.owner(disk.id) for disk in mine}
            assert len(owners) == NODES
            assert owners == {disk.owner for disk in mine}
        began = time.monotonic()
        results = client.wait_all([client.ticket(UnmapNode(project=project, node=node)) for node in nodes], 120)
        assert [result.state.value for result in results] == ["done"] * NODES
        back = time.monotonic() - began
    with capsys.disabled():
        sys.stdout.write(f"\n{NODES} nodes mapped in {took:.2f} s, unmapped in {back:.2f} s\n")
