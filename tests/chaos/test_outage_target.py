"""A target daemon that dies forgets all; bmid puts everything back, and systems that run from it go on."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from typing import Any

import pytest

from bmid.handlers.map_node import MapNode
from bmid.handlers.unmap_node import UnmapNode
from tests.support.bmid import Builder, House
from tests.support.running import Running
from tests.support.traffic import require_told, require_world


def mapped(house: House, count: int) -> tuple[str, list[dict[str, Any]]]:
    project = house.project()
    image, client = house.image(project), house.client()
    maps = [client.ticket(MapNode(project=project, node=house.node(), image=image)) for _ in range(count)]
    results = client.wait_all(maps, 90)
    return project, [result.event.data for result in results if result.event is not None and result.ok]


@pytest.mark.parametrize(("on_ceph", "targets"), [(False, 20), (True, 50)], ids=["folder", "ceph"])
def test_all_targets_come_back_and_running_systems_go_on(
    builder: Builder, on_ceph: bool, targets: int, capsys: pytest.CaptureFixture[str]
) -> None:
    house = builder.house(ceph=on_ceph, postgresql=on_ceph)
    project, events = mapped(house, targets)
    with ExitStack() as stack:
        running = []
        for number, event in enumerate(events[:3], start=1):
            one = Running(stack.enter_context(house.initiator(event)), number)
            stack.callback(one.end)
            one.write()
            running.append(one)
        before = {export.iqn: export.addresses for export in house.ports.target.exports("s0")}
        house.tgtd.kill()
        house.tgtd.start()
        began = time.monotonic()

        def back() -> bool:
            return {one.iqn: one.addresses for one in house.ports.target.exports("s0") if one.open} == before

        house.until(back, 60)
        took = time.monotonic() - began
        for one in running:
            one.read()
        went_on = time.monotonic() - began
    assert took < 30
    require_world([house])
    with house.initiator(events[-1]) as other:
        assert other.enters()
    with house.initiator(events[-1], address=events[0]["address"]) as stranger:
        assert not stranger.enters()
    disks = house.disks()
    assert len(disks) == targets
    if on_ceph:
        assert {disk.owner for disk in disks} == {house.ports.storage.owner(disk.id) for disk in disks}
    client = house.client()
    unmaps = [client.ticket(UnmapNode(project=project, node=event["node"], force=True)) for event in events]
    assert all(result.ok for result in client.wait_all(unmaps, 90))
    assert not house.ports.target.exports("s0")
    require_world([house])
    with capsys.disabled():
        sys.stdout.write(f"\n{targets} targets back after {took:.1f} s, running systems after {went_on:.1f} s\n")


def test_a_node_is_unmapped_although_its_target_daemon_has_just_died(builder: Builder) -> None:
    house = builder.house(ceph=True, postgresql=False)
    project, [event] = mapped(house, 1)
    house.tgtd.kill()
    ticket = house.ticket(UnmapNode(project=project, node=event["node"], force=True))
    house.client().publish(ticket)
    time.sleep(0.5)
    house.tgtd.start()
    assert house.client().wait(ticket, 90).ok
    assert not house.ports.target.exports("s0")
    assert not house.disks()
    require_told(house, [ticket])
    require_world([house])
