"""Snapshots, rebuilds and power where something goes wrong in the middle, on memory twins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bmid.drivers.base import Errand, PowerState
from bmid.drivers.isolation.none import NoIsolation
from bmid.errors import PermanentError, TransientError
from tests.support.accident import Killed
from tests.support.bench import LEASE, Bench

pytestmark = pytest.mark.usefixtures("quiet")
N1 = {"project": "p1", "node": "n1"}


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """A site with a mapped node."""
    site = Bench(tmp_path, blank=blank).open()
    site.furnish("n1")
    site.do("node.map", **N1, image="debian")
    yield site
    site.close()


def log_in(bench: Bench) -> None:
    """The node begins to use its disk."""
    (disk,) = bench.view().disks()
    secret = bench.ports().secret(disk.id, disk.generation)
    bench.target.log_in(disk.shard, disk.number, address=disk.address, user=disk.id, secret=secret)
    bench.boot.answering[disk.address] = True


def slug(end: dict[str, Any]) -> str:
    return str(end["problem"]["type"]).rpartition(":")[2]


def test_a_node_that_starts_while_its_disk_is_copied_spoils_the_copy_where_storage_can_not_freeze(bench: Bench) -> None:
    """It is noticed after the copy, and nothing is left. Where the storage can freeze, the start doesn't matter."""
    started: list[str] = []

    def start(name: str, _arguments: tuple[object, ...]) -> None:
        if name == "duplicate" and not started:
            started.append(name)
            log_in(bench)

    freezes = bench.storage.capabilities
    bench.storage.capabilities = type(freezes)(cow=False, shared=True, live_snapshot=False, owners=True)
    bench.storage._before = start
    end = bench.do("node.snapshot", **N1, image="snap")
    assert (slug(end), end["refused"], started) == ("session-live", True, ["duplicate"])
    assert bench.unexplained() == []
    assert slug(bench.do("node.snapshot", **N1, image="snap", crash_consistent=True)) == "live-snapshot-unsupported"
    bench.storage.capabilities = freezes
    assert bench.do("node.snapshot", **N1, image="snap", crash_consistent=True)["image"] == "snap"
    assert bench.unexplained() == []


def test_a_storage_that_copies_at_once_needs_no_child(bench: Bench) -> None:
    """Then the image is whole in the same turn."""
    bench.storage._errands = False
    assert bench.do("node.snapshot", **N1, image="snap")["firmware"] == ["bios"]
    assert bench.unexplained() == []


def test_a_snapshot_into_a_full_pool_leaves_nothing_and_the_next_one_works(bench: Bench) -> None:
    """Tried until there is no more sense in it."""
    works = bench.imaging._run

    def full(_errand: Errand) -> None:
        raise TransientError("pool-full", "the pool is full")

    bench.imaging._run = full
    end = bench.do("node.snapshot", **N1, image="snap")
    assert (slug(end), end["refused"]) == ("pool-full", False)
    assert bench.unexplained() == []
    bench.imaging._run = works
    assert bench.do("node.snapshot", **N1, image="snap")["image"] == "snap"


def test_who_has_begun_to_discard_the_old_disk_is_never_led_back_to_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node was taken away meanwhile, which forbids a rebuild, but this one is too far."""
    (old,) = bench.view().disks()
    one = bench.command("node.rebuild", **N1)

    def strike(name: str, _arguments: tuple[object, ...]) -> None:
        if name == "discard":
            bench.storage._before = lambda _name, _rest: None
            bench.storage.discard(old.id, {})
            raise Killed

    bench.storage._before = strike
    with pytest.raises(Killed):
        bench.settle()
    monkeypatch.setattr(NoIsolation, "allows", lambda *_: False)
    bench.die()
    bench.clock.advance(LEASE + 1)
    bench.settle()
    end = bench.final(one.id)["data"]
    assert (end["node"], end["changed"]) == ("n1", True)
    assert [disk.name for disk in bench.view().disks()] == [end["disk"]] != [old.name]
    assert bench.unexplained() == []


def test_a_rebuild_that_cannot_be_exported_ends_on_the_old_disk(bench: Bench) -> None:
    """With its target, its pointer and its name; the node is on, as it was."""
    (old,) = bench.view().disks()

    def fail(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "create" and arguments[1].number != old.number:
            raise PermanentError("target-broken", "this target can't be made")

    bench.target.before = fail
    end = bench.do("node.rebuild", **N1)
    assert slug(end) == "target-broken"
    bench.target.before = None
    assert bench.unexplained() == []
    (now,) = bench.view().disks()
    assert (now.id, now.address, now.node) == (old.id, old.address, "n1")
    assert bench.do("node.power", **N1, action="on")["changed"] is False
    assert bench.view().boot(old.id).deadline is not None


def test_a_bmc_that_does_nothing_fails_the_command_and_the_node_is_left_as_it_is(bench: Bench) -> None:
    """Each after its deadline; nothing is claimed that was not read back."""
    switch = bench.power.switch("bmc-n1")
    switch.lies = True
    assert slug(bench.do("node.power", **N1, action="off")) == "deadline-passed"
    switch.state = PowerState.OFF
    assert slug(bench.do("node.power", **N1, action="on")) == "deadline-passed"
    asked: list[object] = []
    bench.power.before = lambda name, arguments: asked.append(arguments[1]) if name == "request" else None
    assert slug(bench.do("node.power", **N1, action="cycle")) == "deadline-passed"
    assert asked == ["cycle"], "it is not switched off for that"
    switch.lies = False
    assert bench.do("node.power", **N1, action="on") | {"operation": ""} == {
        "operation": "", "project": "p1", "node": "n1", "action": "on", "power": "on", "changed": True,
    }  # fmt: skip


def test_the_boot_after_a_power_on_is_from_the_network_and_the_commands_own(bench: Bench) -> None:
    """What the dead system left at the target is no sign of it."""
    log_in(bench)
    bench.do("node.power", **N1, action="off")
    seen: list[bool] = []
    switch = bench.power.switch("bmc-n1")
    bench.power.before = lambda name, _: seen.append(switch.network_once) if name == "request" else None
    one = bench.command("node.power", **N1, action="on")
    bench.settle()
    assert seen == [True]
    (disk,) = bench.view().disks()
    boot = bench.view().boot(disk.id)
    assert (boot.operation, boot.correlation, boot.base) == (one.id, one.correlation, 1)
