"""Many workers at once, on SQLite and on PostgreSQL: every node gets a disk of its own, and nobody is in the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bmid.errors import TransientError
from bmid.model.operation import Phase
from tests.support.bench import Bench

pytestmark = pytest.mark.usefixtures("quiet")
NODES = [f"n{number}" for number in range(1, 25)]


@pytest.fixture
def bench(url: str, tmp_path: Path) -> Iterator[Bench]:
    """A site with one image and 24 nodes."""
    site = Bench(tmp_path, url=url).open()
    site.furnish(*NODES)
    yield site
    site.close()


def work(bench: Bench, threads: int) -> list[str]:
    """Until everything has ended; what went wrong in a worker's thread."""
    faults: list[str] = []
    stop = threading.Event()

    def turn() -> None:
        worker = bench.worker()
        while not stop.is_set():
            try:
                if not worker.run_once():
                    stop.wait(0.005)
            except TransientError as error:
                faults.append(str(error))

    running = [threading.Thread(target=turn) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        for _ in range(3000):
            if all(one.ended_at for one in bench.view().operations(500)):
                break
            bench.clock.advance(0.05)
            stop.wait(0.01)
    finally:
        stop.set()
        for thread in running:
            thread.join()
    return faults


def test_24_maps_at_once_are_24_disks(bench: Bench) -> None:
    """Distinct addresses, numbers and targets; and no transaction had to be tried twice."""
    ours = [bench.command("node.map", project="p1", node=name, image="debian").id for name in NODES]
    assert work(bench, 8) == []
    ended = [bench.find(one) for one in ours]
    assert [(one.phase, one.attempts) for one in ended] == [(Phase.SUCCEEDED, 0)] * 24
    disks = bench.view().disks()
    assert len({disk.address for disk in disks}) == len({disk.number for disk in disks}) == 24
    loads = [[disk.shard for disk in disks].count(shard) for shard in ("0", "1")]
    assert loads == [12, 12]
    assert bench.unexplained() == []
    assert {bench.power.switch(f"bmc-{name}").starts for name in NODES} == {1}
    for name in NODES:
        bench.command("node.unmap", project="p1", node=name)
    assert work(bench, 8) == []
    assert bench.view().disks() == []
    assert bench.unexplained() == []


def test_one_node_wanted_by_many_is_given_to_the_first(bench: Bench) -> None:
    """The others are refused, naming its disk, or find what they asked for in place."""
    for number in range(8):
        bench.do("project.create", project=f"q{number}")
    ours = [bench.command("node.map", project=f"q{number}", node="n1", image="p1/debian").id for number in range(8)]
    assert work(bench, 8) == []
    first, *others = [bench.final(one) for one in ours]
    assert first["data"]["changed"] is True
    assert {one["data"]["problem"]["type"] for one in others} == {"urn:bmi:problem:disk-in-place"}
    assert len(bench.view().disks()) == 1
    assert bench.unexplained() == []
