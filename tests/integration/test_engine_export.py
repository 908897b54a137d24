"""Targets that were forgotten are put back, and whoever had a disk before is cut off. On virtual time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bmid.errors import TransientError
from bmid.handlers.restore_export import RestoreExport
from bmid.model.entity import Disk
from bmid.model.operation import Phase
from bmid.store import operations, portals
from tests.support.bench import Bench

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """A site with a mapped node."""
    site = Bench(tmp_path, blank=blank).open()
    site.furnish("n1")
    site.do("node.map", project="p1", node="n1", image="debian")
    yield site
    site.close()


def the_disk(bench: Bench) -> Disk:
    (one,) = [one for one in bench.view().disks() if one.name.startswith("n1")]
    return one  # type: ignore[no-any-return]


def down(name: str, arguments: tuple[Any, ...]) -> None:
    """A boot server that fails."""
    raise TransientError("boot-down", "nobody is there")


def test_forgotten_targets_are_put_back(tmp_path: Path, blank: Path) -> None:
    """All of them, by operations that wait for their node's turn; pointers too; nobody is power cycled."""
    bench = Bench(tmp_path, blank=blank).open()
    names = ("n1", "n2", "n3")
    bench.furnish(*names)
    for name in names:
        bench.do("node.map", project="p1", node=name, image="debian")
    watch = bench.export_watch()
    assert watch.run_once() == 0
    for shard in bench.target.shards:
        bench.target.restart(shard)
    assert watch.run_once() == 3
    watch.run_once()
    assert [one.type for one in bench.view().operations()].count("bmi.export.restore.v1") == 3
    bench.settle()
    assert bench.unexplained() == []
    assert watch.run_once() == 0
    assert [bench.power.switch(f"bmc-{name}").starts for name in names] == [1, 1, 1]
    assert {disk.owner for disk in bench.view().disks()} == {client for _, client in bench.target.clients.values()}
    bench.close()


def test_a_running_node_gets_its_target_back_before_what_waits_in_its_line(bench: Bench) -> None:
    """A rebuild of it stands behind a removal of its image, which stands behind a map that fails for half an hour."""
    bench.register("n2")
    bench.boot.before = down
    first = bench.command("node.map", project="p1", node="n2", image="debian")
    bench.settle(seconds=60)
    bench.boot.before = None
    with bench.database.write() as tx:
        operations.change(tx, first.id, due_at=tx.now + timedelta(minutes=30))
    behind = [
        bench.command("image.remove", project="p1", image="debian"),
        bench.command("node.rebuild", project="p1", node="n1", image="debian"),
    ]
    bench.target.restart(the_disk(bench).shard)
    bench.export_watch().run_once()
    bench.settle(seconds=60)
    ended = {one.type: one.phase for one in bench.view().operations() if one.type == "bmi.export.restore.v1"}
    assert ended == {"bmi.export.restore.v1": Phase.SUCCEEDED}
    assert [bench.find(one.id).phase for one in behind] == [Phase.PENDING, Phase.PENDING]


def test_the_client_that_exported_it_before_is_cut_off(bench: Bench) -> None:
    """A daemon that was thought dead can't write to the disk any more."""
    disk = the_disk(bench)
    before = disk.owner
    bench.target.restart(disk.shard)
    assert bench.storage.has_open(disk.id, before)
    bench.export_watch().run_once()
    bench.settle()
    assert not bench.storage.has_open(disk.id, before)
    assert bench.storage.has_open(disk.id, the_disk(bench).owner)


def test_members_that_have_not_begun_wait_and_are_hastened(bench: Bench) -> None:
    """While all owners are cut off at once, they don't do it one by one."""
    one = bench.submit(RestoreExport(node="n1", disk=the_disk(bench).id, moved=True))
    with bench.database.write() as tx:
        operations.change(tx, one.id, parent="group")
        portals.hasten(tx, "group", 3.0)
    assert not bench.worker().run_once()
    with bench.database.write() as tx:
        portals.hasten(tx, "group")
    assert bench.worker().run_once()


def test_a_target_of_before_its_disk_was_at_another_head_is_made_anew(bench: Bench) -> None:
    """It stands there, and its client was cut off when the disk went. Who was noted is the other head's, and has to be
    cut off now that it comes back."""
    disk = the_disk(bench)
    stale, other = disk.owner, "10.0.0.9:0/1"
    bench.storage.fence(disk.id, [stale])
    bench.storage.open(disk.id, other)
    with bench.database.write() as tx:
        operations.note_owner(tx, disk.id, other)
    bench.submit(RestoreExport(node="n1", disk=disk.id, moved=True))
    bench.settle()
    owner = the_disk(bench).owner
    assert owner not in (stale, other)
    assert bench.target.clients[disk.number] == (disk.id, owner)
    assert bench.storage.has_open(disk.id, owner)
    assert not bench.storage.has_open(disk.id, other)


def test_a_shard_that_does_not_answer_is_no_reason_to_restore(bench: Bench) -> None:
    """It may stand there with all its sessions."""
    bench.target.down.add("0")
    assert bench.export_watch().run_once() == 0
    assert "bmi.export.restore.v1" not in [one.type for one in bench.view().operations()]


def test_what_is_being_unmapped_is_not_put_back(bench: Bench) -> None:
    """The unmap has the node."""
    bench.power.switch("bmc-n1").lies = True
    bench.command("node.unmap", project="p1", node="n1")
    bench.worker().run_once()
    bench.target.restart("0")
    bench.export_watch().run_once()
    assert "bmi.export.restore.v1" not in [one.type for one in bench.view().operations()]


def test_a_target_that_is_gone_again_is_put_back_although_the_clock_went_back_meanwhile(bench: Bench) -> None:
    """It was put back a moment ago by the old time, which lies an hour ahead now."""
    watch = bench.export_watch()
    for _ in range(2):
        bench.target.restart(the_disk(bench).shard)
        assert watch.run_once() == 1
        bench.settle(seconds=1)
        exports = bench.target.exports(the_disk(bench).shard or "")
        assert [one.number for one in exports if one.open] == [the_disk(bench).number]
        bench.clock.advance(-3600)
