"""Looks at the world: what is missing comes back, what nobody knows goes in its time, what isn't ours stays."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from bmid.drivers.base import Backing, Export
from bmid.errors import PermanentError, TransientError
from bmid.handlers.reconcile_site import ReconcileSite
from bmid.model.finding import Kind
from bmid.store import findings, schema
from tests.support.bench import SITE, Bench
from tests.support.recipe_site import ORPHAN, look, orphan

pytestmark = pytest.mark.usefixtures("quiet")
DAY = 86400.0
N1 = {"project": "p1", "node": "n1"}


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """A site with one image and a node that is mapped to it, with a seed."""
    site = Bench(tmp_path, blank=blank, quarantine=DAY).open()
    site.furnish("n1")
    site.do("node.map", **N1, image="debian", user_data="#!/bin/sh\n")
    yield site
    site.close()


def noted(bench: Bench) -> Counter[str]:
    """The findings that are kept."""
    with bench.database.read() as tx:
        return Counter(one.finding.kind.value for one in findings.noted(tx))


def test_a_site_that_is_as_its_rows_say_has_no_findings(bench: Bench) -> None:
    told = look(bench)
    assert (told["findings"], told["mended"], told["failed"], told["silent"]) == ({}, 0, 0, {})


def test_what_a_mapped_disk_needs_is_put_back_at_the_first_look(bench: Bench) -> None:
    """All of it by one operation."""
    bench.target.restart("0")
    bench.target.restart("1")
    bench.boot.entries.clear()
    bench.seeds.volumes.clear()
    told = look(bench)
    assert told["findings"] == {"pointer-missing": 1, "seed-missing": 1, "target-missing": 1}
    assert (told["mended"], told["failed"]) == (1, 0)
    assert bench.unexplained() == []
    assert look(bench)["findings"] == {}
    assert noted(bench) == {}


def test_a_pointer_to_the_disk_of_another_is_set_right(bench: Bench) -> None:
    (address, entry), *_ = bench.boot.entries.items()
    bench.boot.entries[address] = replace(entry, disk="e" * 32)
    assert look(bench)["findings"] == {"pointer-astray": 1}
    assert bench.boot.entries[address].disk == entry.disk
    assert bench.unexplained() == []


def test_a_disk_that_somebody_else_opened_is_fenced_when_a_second_look_sees_it(bench: Bench) -> None:
    (disk,) = bench.view().disks()
    bench.storage.open(disk.id, "10.9.9.9:0/1")
    assert look(bench)["mended"] == 0
    assert look(bench)["mended"] == 1
    assert bench.storage.owner(disk.id) == bench.view().disks()[0].owner
    assert not bench.storage.has_open(disk.id, "10.9.9.9:0/1")


def test_nobody_tries_to_export_a_disk_that_is_gone(bench: Bench) -> None:
    """It would take an hour to give up."""
    (disk,) = bench.view().disks()
    bench.storage.discard(disk.id, {})
    bench.target.restart(disk.shard)
    assert look(bench)["findings"] == {"disk-missing": 1, "target-missing": 1, "owner-astray": 1}
    told = look(bench)
    assert (told["mended"], told["failed"]) == (0, 0)


def orphans(bench: Bench) -> None:
    """One of each kind, and the disk that they all belong to."""
    orphan(bench)
    (disk,) = bench.view().disks()
    image = "a" * 32
    bench.storage.create_image(image, 512)
    bench.storage.seal_image(image, {"kind": "image", "site": SITE, "id": image, "project": "p1", "image": "gone"})
    iqn = bench.site.target(ORPHAN)
    bench.target.create("0", Export(99, iqn, Backing("rdwr", f"memory:{ORPHAN}"), "10.77.0.99", ORPHAN, "secret"))
    entry = next(iter(bench.boot.entries.values()))
    bench.boot.entries["10.77.0.99"] = replace(entry, address="10.77.0.99", disk=ORPHAN)
    bench.seeds.volumes[ORPHAN] = {}
    bench.storage.freeze(disk.id, "b" * 32)
    (bench.exports / f".{'c' * 32}.part").write_bytes(b"x")


ORPHANS = {"disk-orphaned", "image-orphaned", "target-orphaned", "pointer-orphaned", "seed-orphaned",
           "snapshot-orphaned", "export-left"}  # fmt: skip


def test_orphans_go_after_two_looks_and_the_quarantine_and_not_before(bench: Bench) -> None:
    """A disk, and what leads to it, after its target, since a node may use it until then. What is in the storage goes
    to the trash."""
    orphans(bench)
    assert set(look(bench)["findings"]) == ORPHANS
    bench.clock.advance(DAY - 60)
    assert look(bench)["mended"] == 0
    assert set(noted(bench)) == ORPHANS
    bench.clock.advance(120)
    told = look(bench)
    assert (told["mended"], told["failed"]) == (len(ORPHANS) - 3, 0)
    assert set(look(bench)["findings"]) == {"disk-orphaned", "pointer-orphaned", "seed-orphaned"}
    assert bench.unexplained() == []
    assert {(one.kind, one.id) for one in bench.storage.trash()} == {("disk", ORPHAN), ("image", "a" * 32)}
    assert look(bench)["findings"] == {}


def test_one_look_is_never_enough_however_long_ago_it_was(bench: Bench) -> None:
    orphan(bench)
    bench.site = replace(bench.site, quarantine=0.0)
    assert look(bench)["mended"] == 0
    assert look(bench)["mended"] == 1


def test_an_orphan_that_was_gone_meanwhile_begins_its_quarantine_anew(bench: Bench) -> None:
    orphan(bench)
    look(bench)
    bench.storage.discard(ORPHAN, {})
    look(bench)
    orphan(bench)
    bench.clock.advance(2 * DAY)
    assert look(bench)["mended"] == 0


@pytest.mark.parametrize("clients", [1, 2])
def test_a_disk_that_no_row_knows_and_somebody_uses_stays(bench: Bench, clients: int) -> None:
    """One, or several."""
    orphan(bench)
    for number in range(clients):
        bench.storage.open(ORPHAN, f"10.9.9.9:0/{number}")
    look(bench)
    bench.clock.advance(2 * DAY)
    told = look(bench)
    assert (told["mended"], told["failed"]) == (0, 1)
    assert bench.storage.has_open(ORPHAN, "10.9.9.9:0/0")


def test_a_target_that_no_row_knows_is_not_taken_from_a_node_that_has_logged_in(bench: Bench) -> None:
    """The database may be an old one, and the node at work."""
    orphan(bench)
    backing = Backing("rdwr", f"memory:{ORPHAN}")
    export = Export(99, bench.site.target(ORPHAN), backing, "10.77.0.99", ORPHAN, "secret")
    bench.target.create("0", export)
    bench.target.admit("0", export)
    bench.target.log_in("0", 99, address="10.77.0.99", user=ORPHAN, secret="secret")
    entry = next(iter(bench.boot.entries.values()))
    bench.boot.entries["10.77.0.99"] = replace(entry, address="10.77.0.99", disk=ORPHAN)
    look(bench)
    bench.clock.advance(2 * DAY)
    told = look(bench)
    assert (told["mended"], told["failed"]) == (0, 1)
    assert bench.target.status("0", 99) is not None
    assert "10.77.0.99" in bench.boot.entries, "it is led there when it boots again"


def test_strangers_are_told_of_and_never_touched(bench: Bench) -> None:
    (image,) = bench.view().images()
    bench.storage.clone(image.id, "theirs", {"owner": "somebody"})
    bench.target.create("1", Export(98, "iqn.2000-01.other:x", Backing("rdwr", "memory:theirs"), "10.1.1.1", "u", "s"))
    for _ in range(3):
        assert look(bench)["findings"] == {"stranger": 2}
        bench.clock.advance(30 * DAY)
    assert bench.target.status("1", 98) is not None
    assert any(one.id == "theirs" for one in bench.storage.inventory())


def test_what_is_asked_for_alone_is_mended_alone(bench: Bench) -> None:
    bench.boot.entries.clear()
    with bench.database.write() as tx:
        tx.execute(update(schema.claim).values(holder="h9/i9", operation="ended", expires_at=tx.now))
    assert look(bench, only=(Kind.CLAIM_LEFT,))["findings"].keys() == {"claim-left", "pointer-missing"}
    assert look(bench)["findings"] == {"pointer-missing": 1}
    assert bench.unexplained() == []


@pytest.mark.parametrize("error", [TransientError("down", "no answer"), PermanentError("gone", "not there")])
def test_a_part_that_gives_no_answer_is_named_and_what_was_found_there_is_kept(bench: Bench, error: Exception) -> None:
    """Nothing is mended by silence, and no quarantine begins anew."""
    orphan(bench)
    look(bench)

    def fail(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "inventory":
            raise error

    bench.storage._before = fail
    assert look(bench)["silent"] == {"storage": str(error)}
    bench.storage._before = lambda name, arguments: None
    assert noted(bench) == {"disk-orphaned": 1}
    bench.clock.advance(2 * DAY)
    assert look(bench)["mended"] == 1


def test_a_node_that_is_just_being_mapped_is_no_finding(bench: Bench) -> None:
    """Its operation waits; what it has made so far is neither missing nor left."""

    def fail(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "point":
            raise TransientError("boot-folder", "no space")

    bench.register("n2")
    bench.boot.before = fail
    bench.command("node.map", project="p1", node="n2", image="debian")
    bench.settle(seconds=5)
    one = bench.submit(ReconcileSite(head="h1", shared=True))
    bench.settle(seconds=5)
    assert bench.final(one.id)["data"]["findings"] == {}


def test_rows_of_what_has_none_any_more_go(bench: Bench) -> None:
    """The database sees to it by itself, unless somebody writes to it who doesn't ask it to."""
    with closing(sqlite3.connect(bench.folder / "bmid.db")) as raw:
        raw.execute("INSERT INTO upload (operation, token_sha256, size_limit) VALUES ('gone', 'x', 1)")
        raw.execute("UPDATE boot SET disk = 'gone'")
        raw.commit()
    assert look(bench)["findings"] == {"boot-left": 1, "upload-left": 1}
    assert look(bench)["findings"] == {}
