"""Simulated nodes on twins of the drivers, with time in the test's hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from bmid.drivers.base import Backing, BootEntry, Export, PowerAction, Session
from bmid.drivers.boot.memory import MemoryBoot
from bmid.drivers.power.memory import MemoryPower
from bmid.drivers.target.memory import MemoryTarget
from bmid.engine.evidence import Watch
from bmid.model.entity import Boot, BootStage, Firmware, Node, PowerAddress
from bmid.sandbox.node import Nodes

NOW = datetime(2026, 11, 21, tzinfo=UTC)
BMC = PowerAddress("redfish", "https://bmc1")
ENTRY = BootEntry(
    node="n1",
    disk="d1",
    generation=1,
    mac="02:00:00:00:00:01",
    address="10.77.0.10",
    hostname="n1",
    firmware=Firmware.ANY,
    portal=("127.0.0.1", 3260),
    iqn="iqn.2026-11.test:d1",
    initiator="iqn.2026-11.test:node.n1",
    user="d1",
    secret="secret-of-d1",
)
EXPORT = Export(7, ENTRY.iqn, Backing("rdwr", "memory:d1"), ENTRY.address, "d1", "secret-of-d1")


class Rack:
    """One node n1 that is led to a disk which is exported to it."""

    def __init__(self) -> None:
        self.now = 100.0
        self.target, self.boot, self.power = MemoryTarget(("s0",)), MemoryBoot(), MemoryPower()
        self.node = Node("i1", "n1", (ENTRY.mac,), ENTRY.mac, Firmware.ANY, NOW, power=BMC)
        self.attempt: Boot | None = None
        self.nodes = Nodes(self.target, self.boot, self.power, self.look, 2.0, lambda: self.now)
        self.target.create("s0", EXPORT)
        self.target.admit("s0", EXPORT)
        self.boot.point(ENTRY)

    def look(self, wanted: Mapping[str, str]) -> Mapping[str, tuple[Node | None, Boot | None]]:
        """The rows."""
        return dict.fromkeys(wanted, (self.node, self.attempt))

    def cycle(self) -> None:
        """By its BMC."""
        self.power.request(BMC, PowerAction.CYCLE)

    def sessions(self) -> tuple[Session, ...]:
        """At the target."""
        status = self.target.status("s0", EXPORT.number)
        return status.sessions if status else ()

    def watched(self, seconds: float, watch: Watch, every: float = 0.1) -> list[BootStage]:
        """The stages that a watch sees meanwhile."""
        seen: list[BootStage] = []
        for _ in range(round(seconds / every)):
            self.now += every
            self.nodes.run_once()
            seen += [one.stage for one in watch.look(self.sessions(), ENTRY.address, self.now)]
        return seen


@pytest.fixture
def rack() -> Rack:
    return Rack()


@pytest.mark.parametrize("every", [0.1, 1.0])
def test_a_node_that_is_powered_on_is_seen_to_boot_stage_by_stage(rack: Rack, every: float) -> None:
    """However rarely somebody looks; and not before its delay is over."""
    watch = Watch(0)
    rack.cycle()
    assert BootStage.BOOTED not in rack.watched(1.9, watch)
    rack.watched(3.0, watch, every)
    assert watch.stage is BootStage.BOOTED


def test_a_node_that_is_off_stays_dark(rack: Rack) -> None:
    """A pointer alone boots nobody."""
    rack.watched(5, Watch(0))
    assert rack.sessions() == ()


def test_power_off_ends_its_sessions_and_power_on_boots_it_anew(rack: Rack) -> None:
    """The new sessions have new ids."""
    rack.cycle()
    rack.watched(4, Watch(0))
    before = max(one.id for one in rack.sessions())
    rack.power.request(BMC, PowerAction.OFF)
    rack.watched(0.1, Watch(0))
    assert rack.sessions() == ()
    assert rack.boot.answers(ENTRY.address) is False
    rack.power.request(BMC, PowerAction.ON)
    watch = Watch(before)
    rack.watched(4, watch)
    assert watch.stage is BootStage.BOOTED


def test_a_power_cycle_is_noticed_though_it_was_on_before_and_after(rack: Rack) -> None:
    """The old system's sessions go."""
    rack.cycle()
    rack.watched(4, Watch(0))
    old = {one.id for one in rack.sessions()}
    rack.cycle()
    rack.watched(4, Watch(0))
    assert old.isdisjoint(one.id for one in rack.sessions())
    assert rack.sessions()


def test_without_power_driver_it_boots_by_itself_and_answers_while_it_runs(rack: Rack) -> None:
    """As if somebody had switched it on."""
    rack.node = replace(rack.node, power=None)
    watch = Watch(0)
    rack.watched(4, watch)
    assert watch.stage is BootStage.BOOTED
    assert rack.boot.answers(ENTRY.address) is True


def test_a_node_whose_pointer_is_gone_leaves_and_one_whose_target_is_late_waits(rack: Rack) -> None:
    """It comes when there is something to come to."""
    rack.cycle()
    rack.watched(4, Watch(0))
    rack.boot.clear(ENTRY.address, ENTRY.disk)
    rack.watched(0.1, Watch(0))
    assert rack.sessions() == ()
    rack.target.remove("s0", EXPORT.number, "d1")
    rack.boot.point(ENTRY)
    rack.watched(4, Watch(0))
    rack.target.create("s0", EXPORT)
    rack.target.admit("s0", EXPORT)
    rack.watched(4, Watch(0))
    assert rack.sessions()


def test_a_target_that_was_lost_and_put_back_is_logged_in_to_again(rack: Rack) -> None:
    """As the initiator of a running system does."""
    rack.cycle()
    rack.watched(4, Watch(0))
    rack.target.create("s0", EXPORT)
    rack.target.admit("s0", EXPORT)
    assert rack.sessions() == ()
    rack.watched(4, Watch(0))
    assert rack.sessions()


def test_labels_keep_it_from_booting_or_change_how_long_that_takes(rack: Rack) -> None:
    """For ever, for the first attempt, or for some seconds."""
    rack.node = replace(rack.node, labels={"sandbox.fail": "boot-never:transient", "sandbox.boot-delay": "0"})
    rack.cycle()
    rack.watched(5, Watch(0))
    assert rack.sessions() == ()
    rack.attempt = Boot("d1", "n1", "p1", "o1", "c1", BootStage.WAITING, 2, NOW, None)
    rack.watched(1.2, Watch(0))
    assert rack.sessions()
