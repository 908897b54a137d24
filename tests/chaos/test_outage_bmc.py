"""BMCs that hang, lie about power or say for ever that they are at it: only their own nodes wait, and not for ever."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from bmi_publish import State
from bmid.handlers.map_node import MapNode
from bmid.handlers.unmap_node import UnmapNode
from lab.place import write_private
from lab.rabbitmq import RabbitMQ
from tests.support.bmid import building
from tests.support.power_peer import PASSWORD, LabPeer
from tests.support.traffic import Busy, require_told, require_world

# Those who ask hang for as long as the test: only what is left of the workers can do anything.
SETTINGS: dict[str, dict[str, object]] = {
    "power": {"drivers": ["redfish"], "timeout": 8.0, "per_bmc": 16, "off_deadline": 4.0, "verify": False}
}
NODES = 12


class Site(Busy):
    """A busy house, and more nodes behind BMCs that do as a test says."""

    bmcs: LabPeer
    powered: list[str]

    def outcome(self, command: MapNode | UnmapNode, seconds: float = 60) -> Any:
        """The end of one command about such a node."""
        return self.house.ask(command, seconds)


@pytest.fixture(scope="module")
def site(
    rabbitmq: RabbitMQ, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Site]:
    """One for all of this module."""
    with ExitStack() as stack:
        made = stack.enter_context(building(tmp_path_factory.mktemp("site"), request))
        site = Site(made.house(ceph=False, postgresql=False, settings=SETTINGS))
        site.bmcs = LabPeer(stack)
        write_private(site.house.bmid.folder / "credentials/lab", f"admin\n{PASSWORD}\n")
        power = {"driver": "redfish", "address": site.bmcs.bmc.address, "credential": "lab"}
        site.powered = [site.house.node(power=power) for _ in range(NODES)]
        yield site


def test_bmcs_that_hang_hold_up_their_own_nodes_alone(site: Site) -> None:
    """More of them than there are workers. The others are mapped and unmapped meanwhile; these, when they answer."""
    client = site.house.client()
    maps = [client.ticket(MapNode(project=site.project, node=node, image=site.image)) for node in site.powered]
    site.bmcs.fault(hang=60)
    for ticket in maps:
        client.publish(ticket)
    with site.going_on(45, alone=False):
        time.sleep(6)
    assert not [disk for disk in site.house.disks() if disk.node in site.powered and disk.state == "mapped"]
    site.bmcs.fault()
    assert all(result.ok for result in client.wait_all(maps, 90))
    assert [
        line for line in site.house.bmid.told() if line["event"] == "call.waits" and line["call"].startswith("power.")
    ]
    require_told(site.house, maps)
    require_world([site.house])


def test_a_bmc_that_says_for_ever_that_it_is_at_it_fails_the_unmap_in_time(site: Site) -> None:
    """202, and nothing happens: the node stays mapped, and with force it is cut off."""
    node = site.powered[0]
    site.bmcs.fault(accept_for_ever=True)
    try:
        result = site.outcome(UnmapNode(project=site.project, node=node))
        assert (result.state, result.problem.slug) == (State.FAILED, "deadline-passed")
        require_world([site.house])
        forced = site.outcome(UnmapNode(project=site.project, node=node, force=True))
        assert forced.ok
        assert forced.event.data["power"] == "unknown"
    finally:
        site.bmcs.fault()


def test_a_node_whose_bmc_lies_is_cut_off_all_the_same(site: Site) -> None:
    """It says off and leaves the machine on. What reads the disk is cut off; nobody else gets what it may still have
    in mind to write."""
    node = site.powered[1]
    event = next(disk for disk in site.house.disks() if disk.node == node)
    site.bmcs.fault(lie=True)
    try:
        assert site.outcome(UnmapNode(project=site.project, node=node)).ok
    finally:
        site.bmcs.fault()
    assert site.bmcs.node.alive
    assert event.number not in {one.number for one in site.house.ports.target.exports("s0")}
    require_world([site.house])
