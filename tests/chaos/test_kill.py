"""kill -9 of bmid while 24 nodes are being mapped: all of them are mapped in the end, and nothing twice."""

from __future__ import annotations

import random
import sys
import time
from collections import defaultdict
from dataclasses import dataclass

import pytest

from bmi_publish import Ticket
from bmid.handlers.map_node import MapNode
from bmid.handlers.unmap_node import UnmapNode
from bmid.messages.operation import OperationAccepted
from tests.support.bmid import Builder, House
from tests.support.listener import Listener

NODES = 24
SEED = 20261121


@dataclass
class Site:
    """A house with an image and nodes, and somebody who has heard every event from the first one on."""

    house: House
    heard: Listener
    project: str
    image: str
    nodes: list[str]

    def publish(self, kind: type[MapNode] | type[UnmapNode]) -> list[Ticket]:
        """One command a node, back to back."""
        more = {"image": self.image} if kind is MapNode else {}
        tickets = [self.house.ticket(kind(project=self.project, node=node, **more)) for node in self.nodes]
        for ticket in tickets:
            self.house.client().publish(ticket)
        return tickets

    def wait(self, tickets: list[Ticket], outcome: str) -> None:
        """Until each has ended by itself; none is sent again."""
        names = {ticket.id for ticket in tickets}
        self.heard.until(
            lambda: names <= {one.causationid for one in self.heard.heard if one.type == outcome}, seconds=90
        )

    def undisturbed(self) -> float:
        """How long it takes to map them all."""
        began = time.monotonic()
        self.wait(self.publish(MapNode), "bmi.node.mapped.v1")
        took = time.monotonic() - began
        self.wait(self.publish(UnmapNode), "bmi.node.unmapped.v1")
        return took

    def kill_after(self, seconds: float) -> None:
        """SIGKILL after that long, and a new start."""
        time.sleep(seconds)
        self.house.bmid.kill()
        self.house.bmid.process.start()


def require_one_of_each(site: Site) -> None:
    """24 rows, clones, targets and pointers, each with an address and a number of its own."""
    house = site.house
    disks = house.disks()
    assert sorted(disk.node or "" for disk in disks) == sorted(site.nodes)
    assert len({disk.number for disk in disks}) == len({disk.address for disk in disks}) == NODES
    stored = [one.id for one in house.ports.storage.inventory(metadata=False) if one.kind == "disk"]
    assert sorted(stored) == sorted(disk.id for disk in disks)
    exports = house.ports.target.exports("s0")
    assert sorted(one.number for one in exports) == sorted(disk.number for disk in disks)
    assert all(one.open for one in exports)
    pointers = house.ports.boot.pointers()
    assert sorted(one.disk for one in pointers) == sorted(disk.id for disk in disks)
    assert all(one.complete for one in pointers)


def require_none(site: Site) -> None:
    """No row, target or pointer, and no clone but in the trash, where a killed client's stays for half a minute."""
    house = site.house
    assert house.disks() == []

    def gone() -> bool:
        """What was killed in the middle of its move into the trash stands in the list until the move is finished."""
        house.empty_trash()
        return not [one for one in house.ports.storage.inventory(metadata=False) if one.kind == "disk"]

    house.until(gone, 100)
    assert house.ports.target.exports("s0") == ()
    assert list(house.ports.boot.pointers()) == []


def require_one_end(site: Site, tickets: list[Ticket]) -> None:
    """One accepted event and one end for each command; copies have the same id."""
    for ticket in tickets:
        events = site.heard.of(ticket.id)
        accepted = {one.id for one in events if one.type == OperationAccepted.type}
        ends = {(one.id, one.type) for one in events if one.type != OperationAccepted.type}
        assert len(accepted) == 1, ticket.id
        assert len(ends) == 1, ends


def require_no_gaps(heard: Listener) -> None:
    """Events count without a hole: by subject in `sequence`, all together in `position`."""
    events = {one.id: one for one in heard.heard}
    sequences: dict[str, list[int]] = defaultdict(list)
    for one in events.values():
        sequences[one.subject or ""].append(int(one.sequence or 0))
    for subject, found in sequences.items():
        assert sorted(found) == list(range(1, len(found) + 1)), subject
    positions = sorted(one.position or 0 for one in events.values())
    assert positions == list(range(1, len(positions) + 1))


def survive(builder: Builder, postgresql: bool, moments: int, seed: int) -> list[str]:
    """One round of 24 maps for each moment; what was tried, in a line each."""
    chance = random.Random(seed)  # noqa: S311 - a seed that can be run again
    house = builder.house(ceph=True, postgresql=postgresql, start=False)
    told = []
    with house.listener() as heard:
        house.bmid.start()
        project = house.project()
        image = house.image(project)
        site = Site(house, heard, project, image, [house.node() for _ in range(NODES)])
        usual = site.undisturbed()
        before = house.traces()
        for number in range(moments):
            moment = usual * (number + chance.random()) / moments  # spread over the whole of it
            tickets = site.publish(MapNode)
            began = time.monotonic()
            site.kill_after(moment)
            site.wait(tickets, "bmi.node.mapped.v1")
            told.append(
                f"killed after {moment:.2f} s of {usual:.2f} s, all done {time.monotonic() - began:.1f} s later"
            )
            require_one_of_each(site)
            require_one_end(site, tickets)
            unmaps = site.publish(UnmapNode)
            if chance.random() < 0.5:
                site.kill_after(chance.uniform(0, usual))
            site.wait(unmaps, "bmi.node.unmapped.v1")
            require_one_end(site, unmaps)
            require_none(site)
        require_no_gaps(heard)
        house.require(before, 60)
    return told


@pytest.mark.parametrize("server", [False, True], ids=["sqlite", "postgresql"])
def test_a_few_kills_lose_nothing_and_double_nothing(
    builder: Builder, server: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    told = survive(builder, server, moments=2, seed=SEED)
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(told) + "\n")


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("server", [False, True], ids=["sqlite", "postgresql"])
def test_twenty_kills_lose_nothing_and_double_nothing(
    builder: Builder, server: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.randrange(1 << 32)  # noqa: S311 - printed, so that it can be run again
    with capsys.disabled():
        sys.stdout.write(f"\nseed {seed}\n")
    told = survive(builder, server, moments=20, seed=seed)
    with capsys.disabled():
        sys.stdout.write("\n".join(told) + "\n")
