"""Boots are watched, tried again and given up. On virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bmid.engine.boot_watch import BootWatch
from bmid.errors import TransientError
from bmid.model.entity import BootStage, Disk
from bmid.model.operation import Phase
from tests.support.bench import Bench

pytestmark = pytest.mark.usefixtures("quiet")
MAP = {"project": "p1", "node": "n1", "image": "debian"}


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """A site with a mapped node, just power cycled. Boots have 600 s, and two attempts."""
    site = Bench(tmp_path, blank=blank).open()
    site.furnish("n1")
    site.do("node.map", **MAP)
    yield site
    site.close()


def the_disk(bench: Bench) -> Disk:
    (one,) = bench.view().disks()
    return one  # type: ignore[no-any-return]


def log_in(bench: Bench, alias: str | None) -> int:
    """The node's firmware or system logs in at its target."""
    disk = the_disk(bench)
    secret = bench.ports().secret(disk.id, disk.generation)
    number = bench.target.log_in(disk.shard, disk.number, address=disk.address, user=disk.id, secret=secret)
    change(bench, number, alias=alias)
    return number


def change(bench: Bench, number: int, **values: Any) -> None:
    disk = the_disk(bench)
    sessions = bench.target._standing[disk.shard][disk.number].sessions
    sessions[:] = [replace(one, **values) if one.id == number else one for one in sessions]


def move(bench: Bench, number: int, read: int = 0, written: int = 0) -> None:
    disk = the_disk(bench)
    bench.target.move(disk.shard, disk.number, number, read, written)


def look(bench: Bench, watch: BootWatch, seconds: float = 0.5) -> None:
    bench.clock.advance(seconds)
    watch.run_once()


def boot(bench: Bench, watch: BootWatch) -> None:
    """From the firmware to a system that reads."""
    move(bench, log_in(bench, None), 26_000_000)
    look(bench, watch)
    system = log_in(bench, "n1")
    look(bench, watch)
    move(bench, system, 1_000_000, 4096)
    look(bench, watch)
    move(bench, system, 65536)
    look(bench, watch)


def boots(bench: Bench) -> list[dict[str, Any]]:
    return [one for one in bench.events() if one["type"].startswith("bmi.node.boot")]


def test_a_boot_is_told_once_with_its_evidence(bench: Bench) -> None:
    """With the operation and correlation of the map that it followed."""
    watch = bench.boot_watch()
    boot(bench, watch)
    for _ in range(5):
        look(bench, watch)
    (event,) = boots(bench)
    assert event["type"] == "bmi.node.booted.v1"
    assert event["data"]["node"] == "n1"
    assert event["data"]["attempt"] == 1
    assert event["data"]["seconds"] == 2.0
    assert {"firmware", "initramfs", "booted", "bytes_read"} <= set(event["data"]["evidence"])
    mapped = next(one for one in bench.events() if one["type"] == "bmi.node.mapped.v1")
    assert event["correlationid"] == mapped["correlationid"]
    assert watch.run_once() is False


def test_a_daemon_that_starts_anew_goes_on_watching(bench: Bench) -> None:
    """With what the rows know."""
    first = bench.boot_watch()
    log_in(bench, None)
    look(bench, first)
    second = bench.boot_watch()
    boot(bench, second)
    assert [one["type"] for one in boots(bench)] == ["bmi.node.booted.v1"]


def test_a_sighting_that_could_not_be_written_down_is_not_lost(bench: Bench) -> None:
    """The database was away at that moment."""
    watch = bench.boot_watch()
    system = log_in(bench, "n1")
    look(bench, watch)
    move(bench, system, 1_000_000, 4096)
    look(bench, watch)
    move(bench, system, 65536)
    bench.trip.armed, bench.trip.seen, bench.trip.at = True, [], 0

    def away() -> None:
        raise TransientError("database-away", "not now")

    bench.trip.strike = away
    look(bench, watch)
    assert boots(bench) == []
    for _ in range(6):
        move(bench, system, 65536)
        look(bench, watch)
    assert [one["type"] for one in boots(bench)] == ["bmi.node.booted.v1"]


def test_a_late_boot_is_tried_again_and_then_given_up(bench: Bench) -> None:
    """One more power cycle with a deadline of its own; then node.boot-failed with the last step seen."""
    watch = bench.boot_watch()
    assert bench.power.switch("bmc-n1").starts == 1
    log_in(bench, None)
    look(bench, watch, 599)
    look(bench, watch, 2)
    look(bench, watch)
    assert [one.type for one in bench.view().operations()].count("bmi.boot.retry.v1") == 1
    bench.settle(seconds=5)
    assert bench.power.switch("bmc-n1").starts == 2
    watched = bench.view().boot(the_disk(bench).id)
    assert (watched.stage, watched.attempt, watched.base) == (BootStage.WAITING, 2, 1)
    look(bench, watch, 500)
    assert boots(bench) == []
    look(bench, watch, 101)
    look(bench, watch, 1000)
    (event,) = boots(bench)
    assert event["type"] == "bmi.node.boot-failed.v1"
    assert (event["data"]["stage"], event["data"]["attempt"]) == ("waiting", 2)
    assert event["data"]["todo"]
    assert bench.power.switch("bmc-n1").starts == 2


def test_a_retry_that_fails_was_an_attempt(bench: Bench) -> None:
    """Else another one would be made at once, and for ever."""
    watch = bench.boot_watch()
    node = bench.view().node("n1")
    power = {"driver": "gone", "address": "bmc-n1"}
    bench.do("node.register", node="n1", macs=list(node.macs), power=power)
    look(bench, watch, 601)
    for _ in range(5):
        bench.settle(seconds=5)
        look(bench, watch)
    assert [one.type for one in bench.view().operations()].count("bmi.boot.retry.v1") == 1
    look(bench, watch, 601)
    (event,) = boots(bench)
    assert (event["type"], event["data"]["attempt"]) == ("bmi.node.boot-failed.v1", 2)


def test_a_retry_whose_power_cycle_is_not_heard_of_leaves_the_node_to_others(bench: Bench) -> None:
    """Nothing is taken from the node, so nothing has to be undone at a BMC that is out of reach."""
    watch = bench.boot_watch()

    def away(call: str, arguments: tuple[Any, ...]) -> None:
        if call == "request":
            raise TransientError("bmc-away", "not now")

    bench.power.before = away
    look(bench, watch, 601)
    bench.settle(seconds=8 * 3600)
    bench.power.before = None
    one = next(one for one in bench.view().operations() if one.type == "bmi.boot.retry.v1")
    assert one.phase is Phase.FAILED
    bench.do("node.unmap", project="p1", node="n1", force=True)
    assert bench.view().node("n1").disk is None


def test_the_second_attempt_may_succeed_beside_the_first_ones_dead_session(bench: Bench) -> None:
    """What the first one left at the target is not taken for a sign of life."""
    watch = bench.boot_watch()
    dead = log_in(bench, "n1")
    move(bench, dead, 2_000_000, 4096)
    look(bench, watch)
    look(bench, watch, 601)
    bench.settle(seconds=5)
    look(bench, watch)
    assert bench.view().boot(the_disk(bench).id).stage is BootStage.WAITING
    boot(bench, watch)
    (event,) = boots(bench)
    assert (event["type"], event["data"]["attempt"]) == ("bmi.node.booted.v1", 2)


def test_a_node_that_was_unmapped_is_not_watched(bench: Bench) -> None:
    """No failure is told of a boot that nobody waits for."""
    watch = bench.boot_watch()
    bench.do("node.unmap", project="p1", node="n1")
    look(bench, watch, 1000)
    assert boots(bench) == []


def test_a_node_whose_power_is_somebody_elses_has_no_deadline(tmp_path: Path, blank: Path) -> None:
    """It is watched for as long as it takes."""
    bench = Bench(tmp_path, blank=blank).open()
    bench.furnish("n1")
    bench.do("node.map", **MAP, power="none")
    watch = bench.boot_watch()
    look(bench, watch, 100_000)
    assert boots(bench) == []
    system = log_in(bench, "n1")
    for _ in range(5):
        move(bench, system, 65536, 4096)
        look(bench, watch, 3.1)  # such nodes are looked at now and then
    assert [one["type"] for one in boots(bench)] == ["bmi.node.booted.v1"]
    bench.close()


def test_a_shard_that_is_down_fails_no_boot_it_cannot_see(bench: Bench) -> None:
    """The node may have booted: nobody can tell."""
    watch = bench.boot_watch()
    bench.target.down.add(the_disk(bench).shard)
    look(bench, watch, 2000)
    assert boots(bench) == []
