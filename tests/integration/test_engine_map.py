"""A node is put on an image and taken off it: the whole engine on memory twins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bmid.drivers.base import PowerState
from tests.support.bench import Bench


@pytest.fixture(params=[True, False], ids=["owners", "no-owners"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """A site with one image and one node; on a storage that knows its clients, and on one that doesn't."""
    site = Bench(tmp_path, blank=blank, owners=request.param).open()
    site.furnish("n1")
    yield site
    site.close()


def test_a_map_leads_the_node_to_its_own_disk(bench: Bench) -> None:
    """Clone, target, pointer and power are there, and the event says where."""
    event = bench.do("node.map", project="p1", node="n1", image="debian")
    node = bench.view().node("n1")
    disk = bench.view().disk(node.disk)
    assert event["changed"] is True
    assert (event["address"], event["disk"], event["power"]) == (disk.address, disk.name, "cycle")
    assert bench.power.switch("bmc-n1").state is PowerState.ON
    assert bench.power.switch("bmc-n1").starts == 1
    assert bench.boot.pointer(disk.address).disk == disk.id
    assert (disk.owner is not None) is bench.storage.capabilities.owners
    assert bench.unexplained() == []


def test_map_and_unmap_leave_nothing(bench: Bench) -> None:
    """Neither in the twins nor in the rows."""
    bench.do("node.map", project="p1", node="n1", image="debian")
    event = bench.do("node.unmap", project="p1", node="n1")
    assert (event["changed"], event["power"]) == (True, "off")
    assert bench.view().disks() == []
    assert bench.view().node("n1").disk is None
    assert bench.unexplained() == []
    assert [one for one in bench.storage.inventory() if one.kind == "disk"] == []
    assert bench.target.clients == {}


def test_the_same_map_again_changes_nothing(bench: Bench) -> None:
    """It succeeds, says so, and the node isn't disturbed."""
    first = bench.do("node.map", project="p1", node="n1", image="debian")
    again = bench.do("node.map", project="p1", node="n1", image="debian")
    assert again["changed"] is False
    assert again["disk"] == first["disk"]
    assert bench.power.switch("bmc-n1").starts == 1
    assert bench.unexplained() == []
