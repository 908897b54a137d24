"""When the database is gone, its rows come back from what the storage says of itself; on memory twins."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bmid.care.rebuild import Rebuild, shape
from bmid.errors import Misconfigured, Refused
from bmid.model.entity import Disk, DiskState, Node, Seed
from bmid.settings import Settings
from bmid.store import dump, heads, portals
from bmid.store.outbox import take_number
from tests.support.bench import Bench

pytestmark = pytest.mark.usefixtures("quiet")
KEYS = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH0yG3Vt0zqVb0gD6M3b1b0m1Uu0n2m1b0m1Uu0n2m1b me"]


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """Two projects; images imported, copied, made of a disk; nodes mapped, parked, discarded, moved on."""
    folder = tmp_path / "site"
    folder.mkdir()
    one = Bench(folder, blank=blank).open()
    one.furnish("n1", "n2")
    one.do("project.create", project="p2")
    for name in ("n3", "n4", "n5"):
        one.register(name, labels={"rack": "r1"}, hil_name=f"hil-{name}")
    one.do("image.update", project="p1", image="debian", labels={"os": "debian"}, description="the one")
    one.do("image.copy", project="p1", image="debian", to="copy", to_project="p2")
    one.do("image.copy", project="p1", image="debian", to="whole", flatten=True)
    for project, node, image in (
        ("p1", "n1", "debian"), ("p2", "n2", "copy"), ("p1", "n3", "debian"), ("p1", "n4", "whole"),
    ):  # fmt: skip
        one.do("node.map", project=project, node=node, image=image, hostname=f"host-{node}")
    one.do("node.unmap", project="p1", node="n3", disk="park")
    parked = next(disk for disk in one.view().disks() if disk.state is DiskState.PARKED)
    one.do("disk.snapshot", project="p1", disk=parked.name, image="snap")
    one.do("node.map", project="p1", node="n5", disk=parked.name)
    one.do("node.rebuild", project="p1", node="n1")
    one.do("node.unmap", project="p1", node="n4")
    one.do("node.unmap", project="p2", node="n2")
    one.do("node.map", project="p2", node="n2", image="copy")
    one.do("disk.create", project="p2", disk="data", image="copy")
    one.do("image.copy", project="p1", image="snap", to="gone", flatten=True)
    one.do("image.remove", project="p1", image="gone")
    yield one
    one.close()


@pytest.fixture
def fresh(bench: Bench, tmp_path: Path, blank: Path) -> Settings:
    """The settings of the site, whose database is gone; a new one is there."""
    bench.close()
    shutil.copy(bench.folder / "bmid.db", tmp_path / "before.db")
    for left in bench.folder.glob("bmid.db-*"):
        left.unlink()
    shutil.copy(blank, bench.folder / "bmid.db")
    head = {"name": "h1", "state_folder": bench.folder / "state"}
    return Settings(database={"url": f"sqlite:///{bench.folder}/bmid.db"}, head=head)


def rebuild(bench: Bench, settings: Settings, **options: Any) -> Any:
    return Rebuild(settings, lambda done, total: None, bench.storage).run(**options)


def rows(bench: Bench) -> dict[str, Any]:
    """All rows that describe the site, by id or name."""
    view = bench.view()
    return {
        "projects": {one.name for one in view.projects()},
        "images": {one.id: one for one in view.images()},
        "disks": {one.id: one for one in view.disks()},
        "nodes": {one.name: one for one in view.nodes()},
        "trash": {one.id: one for project in ("p1", "p2") for one in view.trashed(project)},
    }


def without(thing: Any, *fields: str) -> dict[str, Any]:
    return {name: value for name, value in dataclasses.asdict(thing).items() if name not in fields}


def test_every_row_comes_back_field_by_field(bench: Bench, fresh: Settings, tmp_path: Path) -> None:
    """But for recorded owners, the words of seeds, powers, and nodes that the storage never heard of."""
    shutil.copy(bench.folder / "bmid.db", tmp_path / "empty.db")
    bench.close()
    shutil.copy(tmp_path / "before.db", bench.folder / "bmid.db")
    was = rows(bench)
    bench.close()
    shutil.copy(tmp_path / "empty.db", bench.folder / "bmid.db")
    made = rebuild(bench, fresh)
    assert made.doubts == []
    is_now = rows(bench)
    assert is_now["projects"] == was["projects"] == {"p1", "p2"}
    assert is_now["images"] == was["images"]
    assert len(was["images"]) == 4
    assert is_now["disks"].keys() == was["disks"].keys()
    for identifier, disk in was["disks"].items():
        assert without(is_now["disks"][identifier], "owner", "seed") == without(disk, "owner", "seed")
        assert is_now["disks"][identifier].seed == (Seed() if disk.seed else None)
    mapped = {name: one for name, one in was["nodes"].items() if one.disk}
    assert set(is_now["nodes"]) == set(mapped) == {"n1", "n2", "n5"}
    for name, node in mapped.items():
        assert without(is_now["nodes"][name], "power") == without(node, "power")
    assert is_now["trash"].keys() == was["trash"].keys()
    assert len(was["trash"]) == 4
    for identifier, gone in was["trash"].items():
        lost = ("removed_at", "expires_at", "operation", "row")
        assert without(is_now["trash"][identifier], *lost) == without(gone, *lost)
        now, before = is_now["trash"][identifier].row, gone.row
        assert {**now, "seed": None, "ready": True} == {**before, "seed": None, "ready": True}


def test_nothing_in_the_world_moves_and_what_is_torn_down_comes_back(bench: Bench, fresh: Settings) -> None:
    """With the seed's volume and the secret that its node knows."""
    exports = [bench.target.exports(shard) for shard in bench.target.shards]
    volumes, pointers = dict(bench.seeds.volumes), bench.boot.pointers()
    rebuild(bench, fresh)
    bench.open()
    watch = bench.export_watch()
    assert watch.run_once() == 0
    bench.settle()
    assert [bench.target.exports(shard) for shard in bench.target.shards] == exports
    assert (bench.seeds.volumes, bench.boot.pointers()) == (volumes, pointers)
    disk = next(one for one in bench.view().disks() if one.node == "n1")
    secret = bench.boot.pointer(disk.address)
    bench.target.remove(disk.shard, disk.number, disk.id)
    assert watch.run_once() == 1
    bench.settle()
    assert [bench.target.exports(shard) for shard in bench.target.shards] == exports
    assert bench.boot.pointer(disk.address) == secret
    assert bench.unexplained() == []


def test_a_new_target_gets_a_number_that_none_has(bench: Bench, fresh: Settings) -> None:
    """Nor a disk that was purged meanwhile."""
    highest = max(disk.number for disk in bench.view().disks()) if bench.view().disks() else 0
    made = rebuild(bench, fresh)
    with bench.database.write() as tx:
        assert take_number(tx, "target") == made.number + dump.LEAP + 1 > highest


def test_a_rehearsal_writes_nothing(bench: Bench, fresh: Settings) -> None:
    """And says the same."""
    made = rebuild(bench, fresh, rehearse=True)
    with bench.database.read() as tx:
        assert not any(dump.counts(tx).values())
    assert shape(made) == shape(rebuild(bench, fresh))


def test_what_is_there_is_never_written_over(bench: Bench, fresh: Settings) -> None:
    """Neither rows, nor those of a bmid that is at work."""
    rebuild(bench, fresh)
    with pytest.raises(Refused, match="not empty"):
        rebuild(bench, fresh)


def test_targets_of_another_name_are_refused(bench: Bench, fresh: Settings) -> None:
    """They would be put back under names that no node asks for."""
    other = fresh.model_copy(update={"target": fresh.target.model_copy(update={"iqn_prefix": "iqn.2020-01.org.x"})})
    with pytest.raises(Misconfigured, match="nodes were told"):
        rebuild(bench, other)


def test_a_node_on_two_disks_stays_on_the_one_that_is_in_use(bench: Bench, fresh: Settings) -> None:
    """A rebuild was under way: the other disk is kept, parked."""
    disk = next(one for one in bench.storage.inventory() if one.metadata.get("node") == "n1" and one.kind == "disk")
    second = {**disk.metadata, "id": "f" * 32, "name": "second", "number": 900}
    second["iqn"] = bench.site.target("f" * 32)
    bench.storage.clone(str(disk.metadata["image"]), "f" * 32, second)
    made = rebuild(bench, fresh, rehearse=True)
    assert made.nodes["n1"].disk == disk.id
    assert (made.disks["f" * 32].state, made.disks["f" * 32].address) == (DiskState.PARKED, None)
    assert [doubt.what for doubt in made.doubts] == ["node n1 is on another disk, too: this one is parked"]
    for client in bench.storage._disks[disk.id].owners:
        bench.storage.release(disk.id, client)
    bench.storage.open("f" * 32, "a-target")
    made = rebuild(bench, fresh)
    assert made.nodes["n1"].disk == "f" * 32
    assert (made.disks[disk.id].state, made.number) == (DiskState.PARKED, 900)


def test_an_unreadable_thing_is_named_and_all_others_come_back(bench: Bench, fresh: Settings) -> None:
    """Also what an earlier version wrote, which said less."""
    stored = {one.id: one for one in bench.storage.inventory() if one.kind == "disk"}
    broken, old = sorted(one for one in stored if stored[one].metadata["state"] == "mapped")[:2]
    bench.storage.describe(broken, {"kind": "disk", "id": broken})
    less = ("created_at", "seeded", "portal")
    told = {k: v for k, v in stored[old].metadata.items() if k not in less and not k.startswith("node_")}
    bench.storage.describe(old, told)
    bench.storage.create_image("e" * 32, 1 << 20)
    made = rebuild(bench, fresh)
    assert set(made.disks) == set(stored) - {broken}
    row = made.disks[old]
    assert (row.state, row.portal, row.generation) == (DiskState.MAPPED, None, stored[old].metadata["generation"])
    lost = {doubt.id: doubt.what for doubt in made.doubts if doubt.lost}
    assert set(lost) == {broken, "e" * 32}
    assert "can't be read" in lost[broken]
    assert "never finished" in lost["e" * 32]


def test_a_removed_disk_has_its_time_again(bench: Bench, fresh: Settings) -> None:
    """And can be restored: its address was told, too."""
    made = rebuild(bench, fresh)
    now = bench.database.now()
    assert all(one.expires_at > now + timedelta(days=6) for one in made.trash.values())
    bench.open()
    name = next(one.name for one in made.trash.values() if one.kind == "disk" and one.name.startswith("n4-"))
    assert bench.do("disk.restore", project="p1", disk=name)["changed"]
    row = next(one for one in bench.view().disks() if one.name == name)
    assert isinstance(row, Disk)
    assert row.state is DiskState.PARKED
    assert bench.unexplained() == []


def test_heads_that_are_not_there_yet_do_not_count_as_dead(bench: Bench, fresh: Settings) -> None:
    """Whoever is started first would take their nodes over."""
    rebuild(bench, fresh)
    with bench.database.read() as tx:
        assert [(one.name, one.stopped) for one in heads.every(tx)] == [("h1", True)]
        told = {disk.portal for disk in bench.view().disks() if disk.portal}
        assert {one.portal for one in portals.every(tx)} == told
    assert isinstance(bench.view().node("n1"), Node)
