"""Turns that wait for a BMC, or go on without it: slow ones, liars, dead ones, and nodes that nobody can switch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bmid.drivers.base import PowerAction, PowerState
from bmid.model.operation import Phase
from tests.support.bench import Bench

pytestmark = pytest.mark.usefixtures("quiet")
MAP = {"project": "p1", "node": "n1", "image": "debian"}
UNMAP = {"project": "p1", "node": "n1"}


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """A site with one image and two nodes."""
    site = Bench(tmp_path, blank=blank).open()
    site.furnish("n1", "n2")
    yield site
    site.close()


class SlowPower:
    """Switches on at once, and off so many seconds after it was first asked to, by the site's clock."""

    def __init__(self, bench: Bench, seconds: float) -> None:
        self.bench, self.seconds = bench, seconds
        self.off_at: dict[str, float] = {}
        bench.power.before = self.look

    def look(self, name: str, arguments: tuple[Any, ...]) -> None:
        now, address = self.bench.clock.moment.timestamp(), arguments[0].address
        switch = self.bench.power.switch(address)
        if name == "request":
            switch.lies = arguments[1] is PowerAction.OFF
            if switch.lies:
                self.off_at.setdefault(address, now + self.seconds)
        elif now >= self.off_at.get(address, now + 1):
            switch.state = PowerState.OFF
            del self.off_at[address]


def test_a_slow_bmc_is_waited_for_without_a_claim_and_others_stay_behind(bench: Bench) -> None:
    """The operation gives its claims back while it waits; a later one on the node doesn't overtake it."""
    bench.do("node.map", **MAP)
    SlowPower(bench, 30)
    unmap, again = bench.command("node.unmap", **UNMAP), bench.command("node.map", **MAP)
    other = bench.command("node.map", project="p1", node="n2", image="debian")
    worker = bench.worker()
    while worker.run_once():
        pass
    waiting = bench.find(unmap.id)
    assert (waiting.phase, waiting.why) == (Phase.RUNNING, "waits for the BMC to say that the node is off")
    assert bench.find(again.id).phase is Phase.PENDING
    assert bench.find(other.id).phase is Phase.SUCCEEDED
    began = bench.clock.moment
    bench.settle()
    assert bench.final(unmap.id)["data"]["power"] == "off"
    assert (bench.clock.moment - began).total_seconds() >= 30
    ends = ("bmi.node.mapped.v1", "bmi.node.unmapped.v1")
    done = [one["type"] for one in bench.events() if one["type"] in ends and one["data"]["node"] == "n1"]
    assert done == ["bmi.node.mapped.v1", "bmi.node.unmapped.v1", "bmi.node.mapped.v1"]


def test_a_bmc_that_lies_fails_the_unmap_and_leaves_the_node_mapped(bench: Bench) -> None:
    """After the deadline; nothing was taken from the node."""
    bench.do("node.map", **MAP)
    bench.power.switch("bmc-n1").lies = True
    began = bench.clock.moment
    event = bench.do("node.unmap", **UNMAP)
    assert event["problem"]["type"] == "urn:bmi:problem:deadline-passed"
    assert 120 <= (bench.clock.moment - began).total_seconds() < 130
    assert bench.view().node("n1").disk is not None
    assert bench.unexplained() == []


@pytest.mark.parametrize("fault", ["lies", "dead"])
def test_with_force_a_node_whose_bmc_is_no_use_is_cut_off(bench: Bench, fault: str) -> None:
    """Its target goes, and the event says that nobody knows whether it is off."""
    bench.do("node.map", **MAP)
    setattr(bench.power.switch("bmc-n1"), fault, True)
    event = bench.do("node.unmap", **UNMAP, force=True)
    assert event.get("power") == "unknown", event
    assert bench.unexplained() == []
    assert bench.view().disks() == []


def test_a_live_session_without_a_power_driver_is_refused_unless_forced(tmp_path: Path, blank: Path) -> None:
    """The refusal names node and disk, and the node goes on running."""
    bench = Bench(tmp_path, blank=blank).open()
    bench.furnish("n1", power=False)
    bench.do("node.map", **MAP)
    disk = bench.view().disks()[0]
    secret = bench.ports().secret(disk.id, disk.generation)
    bench.target.log_in(disk.shard, disk.number, address=disk.address, user=disk.id, secret=secret)
    bench.boot.answering[disk.address] = True
    event = bench.do("node.unmap", **UNMAP)
    assert event["refused"] is True
    assert event["problem"]["type"] == "urn:bmi:problem:session-live"
    assert "n1" in event["problem"]["detail"]
    assert disk.name in event["problem"]["detail"]
    assert bench.unexplained() == []
    assert bench.do("node.unmap", **UNMAP, force=True)["power"] == "unknown"
    assert bench.unexplained() == []
    bench.close()


def test_a_plan_that_runs_again_leaves_the_standing_target_alone(tmp_path: Path, blank: Path) -> None:
    """While the BMC is waited for, the node may have logged in already: its session survives, on any storage."""
    for owners in (True, False):
        folder = tmp_path / str(owners)
        folder.mkdir()
        bench = Bench(folder, blank=blank, owners=owners).open()
        bench.furnish("n1")
        made: list[int] = []
        bench.target.before = lambda name, arguments, made=made: made.append(1) if name == "create" else None
        bench.power.switch("bmc-n1").lies = True
        one = bench.command("node.map", **MAP)
        bench.settle(seconds=10)
        assert bench.find(one.id).why == "waits for the BMC to say that the node is on"
        bench.power.switch("bmc-n1").state = PowerState.ON
        bench.settle()
        assert bench.find(one.id).phase is Phase.SUCCEEDED
        assert len(made) == 1, f"owners={owners}"
        bench.close()
