"""Undo, as who sends commands sees it: what was removed comes back, whole, for as long as the event said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bmid.errors import PermanentError
from bmid.handlers.list_trash import ListTrash
from bmid.model.entity import DiskState, Seed
from bmid.scheduler.purge import Purge
from tests.support.bench import Bench

pytestmark = pytest.mark.usefixtures("quiet")
DAY = 86400.0
P1 = {"project": "p1"}
N1 = {"project": "p1", "node": "n1"}


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, blank=blank).open()
    made.furnish("n1", "n2")
    yield made
    assert made.unexplained() == []
    made.close()


def refused(final: dict[str, Any], slug: str) -> dict[str, Any]:
    problem: dict[str, Any] = final["problem"]
    assert (problem["type"], final["refused"]) == (f"urn:bmi:problem:{slug}", True)
    return problem


def purged(bench: Bench) -> None:
    Purge(bench.database, bench.identity.holder, bench.storage, 5.0).run_once()


def test_a_disk_that_was_discarded_by_mistake_is_parked_again_and_goes_on_as_it_was(bench: Bench) -> None:
    bench.do("node.map", **N1, image="debian", hostname="web", user_data="#!/bin/sh\n")
    [before] = bench.view().disks()
    bench.storage.write(f"memory:{before.id}", 0, b"dear work")
    event = bench.do("node.unmap", **N1)
    assert (event["disk"], event["parked"]) == (before.name, False)
    assert event["restorable_until"] == "2026-11-28T08:00:00Z"
    assert bench.view().disks() == []
    restored = bench.do("disk.restore", **P1, disk=before.name)
    assert (restored["id"], restored["address"]) == (before.id, before.address)
    [disk] = bench.view().disks()
    assert (disk.state, disk.node, disk.head, disk.hostname) == (DiskState.PARKED, None, None, "web")
    assert disk.seed == Seed((), "#!/bin/sh\n")
    mapped = bench.do("node.map", project="p1", node="n2", disk=before.name)
    assert (mapped["resumed"], mapped["address"], mapped["hostname"]) == (True, before.address, "web")
    assert bench.storage.read(f"memory:{before.id}", 0, 9) == b"dear work"
    assert bench.view().disks()[0].generation == before.generation + 1
    assert bench.view().trashed("p1") == []


def test_the_disk_of_before_a_rebuild_comes_back_without_the_address_that_the_new_one_has(bench: Bench) -> None:
    bench.do("node.map", **N1, image="debian")
    [old] = bench.view().disks()
    bench.do("node.rebuild", **N1)
    restored = bench.do("disk.restore", **P1, disk=old.name)
    assert (restored["id"], restored.get("address")) == (old.id, None)
    again = bench.do("node.map", project="p1", node="n2", disk=old.name)
    assert again["address"] not in (None, old.address)


def test_an_address_that_a_node_wishes_for_is_not_kept_from_it(bench: Bench) -> None:
    bench.register("n3", address="10.77.0.77")
    bench.do("node.map", project="p1", node="n3", image="debian")
    [disk] = bench.view().disks()
    bench.do("node.unmap", project="p1", node="n3")
    assert bench.do("disk.restore", **P1, disk=disk.name).get("address") is None
    assert bench.do("node.map", project="p1", node="n3", disk=disk.name)["address"] == "10.77.0.77"


def test_a_removed_image_is_what_it_was_but_nobodys_default(bench: Bench) -> None:
    bench.do("image.update", **P1, image="debian", labels={"a": "b"}, default_for={"os": "debian"})
    before = bench.view().image("p1", "debian")
    assert bench.do("image.remove", **P1, image="debian")["restorable_until"]
    bench.do("image.restore", **P1, image="debian")
    assert bench.view().image("p1", "debian") == before
    assert bench.view().trashed("p1") == []
    assert bench.view().default_image("p1", {"os": "debian"}) is None
    assert bench.do("node.map", **N1, image="debian")["changed"]


def test_a_name_that_was_taken_meanwhile_is_refused_and_another_one_is_not(bench: Bench) -> None:
    bench.do("disk.create", **P1, disk="d1", image="debian")
    bench.do("disk.remove", **P1, disk="d1")
    bench.do("disk.create", **P1, disk="d1", image="debian")
    refused(bench.do("disk.restore", **P1, disk="d1"), "disk-exists")
    assert bench.do("disk.restore", **P1, disk="d1", name="d2")["disk"] == "d2"
    for name in ("d1", "d2"):
        bench.do("disk.remove", **P1, disk=name)
    bench.do("image.remove", **P1, image="debian")
    bench.do("image.import", **P1, image="debian", source={"file": "debian.raw"})
    refused(bench.do("image.restore", **P1, image="debian"), "image-exists")
    assert bench.do("image.restore", **P1, image="debian", name="old")["image"] == "old"
    [told] = [one for one in bench.storage.inventory() if one.kind == "image" and one.metadata["image"] == "old"]
    assert told.id == bench.view().image("p1", "old").id


def test_a_disk_comes_back_after_its_image_and_the_refusal_says_so(bench: Bench) -> None:
    bench.do("disk.create", **P1, disk="d1", image="debian")
    bench.do("disk.remove", **P1, disk="d1")
    assert bench.do("image.remove", **P1, image="debian")["changed"], "only things in the trash hang on it"
    problem = refused(bench.do("disk.restore", **P1, disk="d1"), "parent-in-trash")
    assert "bmi-publish image restore debian --project p1 --id" in problem["todo"]
    bench.do("image.restore", **P1, image="debian", name="again")
    assert bench.do("disk.restore", **P1, disk="d1")["image"] == "p1/again"


def test_an_image_of_an_image_comes_back_after_it(bench: Bench) -> None:
    bench.do("image.copy", **P1, image="debian", to="copy")
    for name in ("copy", "debian"):
        bench.do("image.remove", **P1, image=name)
    refused(bench.do("image.restore", **P1, image="copy"), "parent-in-trash")
    for name in ("debian", "copy"):
        assert bench.do("image.restore", **P1, image=name)["changed"]
    refused(bench.do("image.remove", **P1, image="debian"), "image-in-use")


def test_of_several_of_one_name_the_last_is_meant_or_the_one_of_the_id(bench: Bench) -> None:
    ids = []
    for _ in range(3):
        bench.do("disk.create", **P1, disk="d1", image="debian")
        ids.append(bench.view().disk_named("p1", "d1").id)
        bench.do("disk.remove", **P1, disk="d1")
        bench.clock.advance(1)
    listed = bench.registry.queries[ListTrash.type].answer(ListTrash(project="p1"), bench.view())["trash"]
    assert [one["id"] for one in listed] == ids
    assert bench.do("disk.restore", **P1, disk="d1", id=ids[0], name="first")["id"] == ids[0]
    assert bench.do("disk.restore", **P1, disk="d1")["id"] == ids[2]
    refused(bench.do("disk.restore", **P1, disk="d1", id=ids[2], name="d3"), "trash-unknown")
    refused(bench.do("disk.restore", **P1, disk="none"), "trash-unknown")


def test_what_has_expired_is_refused_also_before_it_is_gone(bench: Bench) -> None:
    bench.do("disk.create", **P1, disk="d1", image="debian")
    bench.do("disk.remove", **P1, disk="d1")
    bench.clock.advance(7 * DAY - 1)
    purged(bench)
    assert bench.do("disk.restore", **P1, disk="d1")["changed"]
    bench.do("disk.remove", **P1, disk="d1")
    bench.clock.advance(7 * DAY)
    refused(bench.do("disk.restore", **P1, disk="d1"), "trash-expired")
    bench.clock.advance(61)
    purged(bench)
    refused(bench.do("disk.restore", **P1, disk="d1"), "trash-unknown")
    assert not list(bench.storage.trash())


def test_a_site_may_keep_nothing(tmp_path: Path, blank: Path) -> None:
    bench = Bench(tmp_path, blank=blank, trash_days=0.0).open()
    bench.furnish("n1")
    bench.do("node.map", **N1, image="debian")
    event = bench.do("node.unmap", **N1)
    assert "restorable_until" not in event
    refused(bench.do("disk.restore", **P1, disk=event["disk"]), "trash-expired")
    bench.clock.advance(61)
    purged(bench)
    assert (list(bench.storage.trash()), bench.view().trashed("p1")) == ([], [])
    bench.close()


def test_an_unfinished_image_or_disk_is_not_kept(bench: Bench) -> None:
    final = bench.do("image.import", **P1, image="new", source={"file": "absent.raw"})
    assert not final["refused"]
    refused(bench.do("image.restore", **P1, image="new"), "trash-unknown")
    assert bench.view().trashed("p1") == []


def test_whoever_takes_a_removed_projects_name_gets_nothing_of_it(bench: Bench) -> None:
    bench.do("project.create", project="p2")
    bench.do("image.import", project="p2", image="secret", source={"file": "debian.raw"})
    bench.do("image.remove", project="p2", image="secret")
    bench.do("project.remove", project="p2")
    bench.do("project.create", project="p2")
    refused(bench.do("image.restore", project="p2", image="secret"), "trash-unknown")
    bench.clock.advance(61)
    purged(bench)
    assert not list(bench.storage.trash())


def test_a_removal_that_fails_after_the_bytes_moved_brings_them_back(bench: Bench) -> None:
    def struck(image: str) -> None:
        type(bench.storage).remove_image(bench.storage, image)
        raise PermanentError("accident", "this will never work")

    bench.storage.remove_image = struck
    assert bench.do("image.remove", **P1, image="debian")["problem"]["type"] == "urn:bmi:problem:accident"
    del bench.storage.remove_image
    assert bench.do("node.map", **N1, image="debian")["changed"]
