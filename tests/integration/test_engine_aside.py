"""What is set aside: nodes and images whose operations fail too often, or that an operator keeps out of use."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from bmid.errors import PermanentError, TransientError
from bmid.handlers.list_images import ListImages
from bmid.handlers.list_nodes import ListNodes
from bmid.handlers.show_image import ShowImage
from bmid.handlers.show_node import ShowNode
from bmid.messages.base import Query
from bmid.store import schema
from bmid.store.view import StoreView
from tests.support.bench import Bench

pytestmark = pytest.mark.usefixtures("quiet")
MAP = {"project": "p1", "image": "debian"}
IMAGE = {"project": "p1", "image": "debian"}
ON = {"action": "on", "reason": "a fan is loud"}


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """A site where three failures in a row are enough, with an image and nodes."""
    site = Bench(tmp_path, blank=blank)
    site.identity = dataclasses.replace(site.identity, set_aside_after=3)
    site.open()
    site.furnish("n1", "n2", "n3", "n4")
    yield site
    site.close()


def broken(bench: Bench, part: str, name: str, slug: str, kind: type[Exception] = PermanentError) -> None:
    """A driver's call that fails."""

    def fail(called: str, arguments: tuple[Any, ...]) -> None:
        if called == name:
            raise kind(slug, "it is broken")

    bench.storage._before = fail if part == "storage" else bench.storage._before
    bench.power.before = fail if part == "power" else bench.power.before


def mended(bench: Bench) -> None:
    bench.power.before = None
    bench.storage._before = lambda name, arguments: None


def slug(bench: Bench, kind: str, **data: Any) -> str:
    """The problem of a command that fails."""
    return str(bench.do(kind, **data)["problem"]["type"]).rpartition(":")[2]


def ask(bench: Bench, query: Query) -> dict[str, Any]:
    with bench.database.read() as tx:
        return bench.registry.queries[query.type].answer(query, StoreView(tx, 1e9))


def told(bench: Bench, kind: str) -> list[dict[str, Any]]:
    return [one["data"] for one in bench.events() if one["type"] == kind]


def count(bench: Bench, node: str) -> Any:
    with bench.database.read() as tx:
        return tx.execute(select(schema.node.c.failures).where(schema.node.c.name == node)).scalar_one()


def test_a_node_that_fails_too_often_for_one_reason_is_set_aside_and_comes_back(bench: Bench) -> None:
    """With an event that says why; shown, refused for maps, and free again by one command."""
    broken(bench, "power", "boot_from_network_once", "bmc-cannot")
    for _ in range(3):
        assert told(bench, "bmi.node.set-aside.v1") == []
        assert slug(bench, "node.map", node="n1", **MAP) == "bmc-cannot"
    [event] = told(bench, "bmi.node.set-aside.v1")
    assert (event["node"], event["failures"]) == ("n1", 3)
    assert event["problem"]["type"] == "urn:bmi:problem:bmc-cannot"
    mended(bench)
    refused = bench.do("node.map", node="n1", **MAP)
    assert refused["refused"]
    assert refused["problem"]["todo"].endswith("bmi-publish node maintenance n1 --action off")
    assert slug(bench, "node.map", node="n1", **MAP) == "node-set-aside"
    aside = ask(bench, ShowNode(node="n1"))["node"]["aside"]
    assert (aside["state"], aside["problem"], aside["failures"]) == ("quarantine", "bmc-cannot", 3)
    assert [one["node"] for one in ask(bench, ListNodes(aside="quarantine"))["nodes"]] == ["n1"]
    assert [one["node"] for one in ask(bench, ListNodes(aside="none"))["nodes"]] == ["n2", "n3", "n4"]
    assert bench.do("node.map", node="n2", **MAP)["changed"]
    back = bench.do("node.maintenance", node="n1", action="off")
    assert (back["before"], back["state"], back["changed"]) == ("quarantine", "in-use", True)
    assert bench.do("node.map", node="n1", **MAP)["changed"]
    assert ask(bench, ListNodes(aside="quarantine"))["nodes"] == []
    assert bench.unexplained() == []


def test_only_failures_in_a_row_for_one_problem_count(bench: Bench) -> None:
    """Another problem begins the count anew, and so does a success."""
    for problem in ("bmc-cannot", "bmc-cannot", "bmc-boot-device", "bmc-cannot", "bmc-cannot"):
        broken(bench, "power", "boot_from_network_once", problem)
        assert slug(bench, "node.map", node="n1", **MAP) == problem
    assert count(bench, "n1") == {"p1": {"problem": "bmc-cannot", "count": 2}}
    mended(bench)
    bench.do("node.map", node="n1", **MAP)
    assert count(bench, "n1") is None
    assert told(bench, "bmi.node.set-aside.v1") == []


def test_refusals_and_what_is_wrong_with_the_site_count_for_nobody(bench: Bench) -> None:
    """A full pool, or a command that makes no sense, says nothing of a node or an image."""
    broken(bench, "storage", "clone", "pool-full", TransientError)
    for _ in range(4):
        assert slug(bench, "node.map", node="n1", **MAP) == "pool-full"
    mended(bench)
    for _ in range(4):
        assert slug(bench, "node.rebuild", project="p1", node="n1") == "node-not-mapped"
    assert count(bench, "n1") is None
    assert told(bench, "bmi.node.set-aside.v1") == told(bench, "bmi.image.set-aside.v1") == []


def test_another_projects_commands_neither_raise_nor_reset_the_count(bench: Bench) -> None:
    """Whether they fail or succeed, at the same node or with the same image."""
    bench.do("project.create", project="p2")
    theirs = {"project": "p2", "image": "p1/debian"}
    broken(bench, "power", "boot_from_network_once", "bmc-cannot")
    for who in (MAP, MAP, theirs, theirs):
        assert slug(bench, "node.map", node="n1", **who) == "bmc-cannot"
    assert told(bench, "bmi.node.set-aside.v1") == []
    broken(bench, "power", "boot_from_network_once", "bmc-boot-device")
    assert slug(bench, "node.map", node="n1", **theirs) == "bmc-boot-device"
    mended(bench)
    bench.do("node.map", node="n1", **theirs)
    bench.do("node.unmap", node="n1", project="p2", force=True)
    assert count(bench, "n1") == {"p1": {"problem": "bmc-cannot", "count": 2}}
    broken(bench, "power", "boot_from_network_once", "bmc-cannot")
    assert slug(bench, "node.map", node="n1", **MAP) == "bmc-cannot"
    assert [event["node"] for event in told(bench, "bmi.node.set-aside.v1")] == ["n1"]


@pytest.mark.parametrize(("part", "call"), [("target", "create"), ("boot", "point")])
def test_what_fails_with_a_disk_or_a_file_speaks_against_no_node(bench: Bench, part: str, call: str) -> None:
    """Whoever has a broken disk would set every node aside that it is put on."""
    bench.do("disk.create", project="p1", disk="d1", image="debian")

    def fail(name: str, arguments: tuple[Any, ...]) -> None:
        if name == call:
            raise PermanentError("storage-missing", "there is no disk")

    getattr(bench, part).before = fail
    for _ in range(4):
        assert slug(bench, "node.map", project="p1", disk="d1", node="n1") == "storage-missing"
    assert count(bench, "n1") is None
    assert told(bench, "bmi.node.set-aside.v1") == told(bench, "bmi.image.set-aside.v1") == []


def test_an_image_that_cant_be_read_is_set_aside_and_not_the_nodes(bench: Bench) -> None:
    """Whichever nodes it failed on; disks that there are go on, and reading it once more is an operator's word away."""
    bench.do("node.map", node="n4", **MAP)
    broken(bench, "storage", "clone", "image-missing")
    for name in ("n1", "n2", "n3"):
        assert slug(bench, "node.map", node=name, **MAP) == "image-missing"
    mended(bench)
    [event] = told(bench, "bmi.image.set-aside.v1")
    assert (event["project"], event["image"], event["failures"]) == ("p1", "debian", 3)
    assert told(bench, "bmi.node.set-aside.v1") == []
    refused = bench.do("node.map", node="n1", **MAP)
    assert refused["problem"]["todo"].endswith("bmi-publish image maintenance debian --project p1 --action off")
    assert slug(bench, "node.map", node="n1", **MAP) == "image-set-aside"
    assert slug(bench, "node.rebuild", project="p1", node="n4") == "image-set-aside"
    assert slug(bench, "disk.create", disk="d1", **IMAGE) == "image-set-aside"
    assert ask(bench, ShowImage(**IMAGE))["image"]["aside"]["state"] == "quarantine"
    assert ask(bench, ListImages(aside="none"))["images"] == []
    assert bench.do("node.unmap", project="p1", node="n4")["changed"]
    assert bench.do("image.maintenance", action="off", **IMAGE)["before"] == "quarantine"
    assert bench.do("node.map", node="n1", **MAP)["changed"]


def test_a_node_in_maintenance_is_neither_mapped_nor_rebuilt_and_can_be_unmapped_and_switched(bench: Bench) -> None:
    """What was accepted before goes on; the reason is told to whoever is refused; the same again changes nothing."""
    before = bench.command("node.map", node="n1", **MAP)
    on = bench.do("node.maintenance", node="n1", **ON)
    assert bench.final(before.id)["data"]["changed"]
    assert (on["before"], on["state"], on["changed"]) == ("in-use", "maintenance", True)
    assert bench.do("node.maintenance", node="n1", **ON)["changed"] is False
    assert slug(bench, "node.rebuild", project="p1", node="n1") == "node-set-aside"
    assert bench.do("node.power", project="p1", node="n1", action="off")["changed"]
    bench.register("n1", labels={"rack": "7"})
    assert bench.do("node.unmap", project="p1", node="n1")["changed"]
    refused = bench.do("node.map", node="n1", **MAP)["problem"]
    assert "a fan is loud" in refused["detail"]
    assert refused["extra"]["state"] == "maintenance"
    assert bench.do("node.maintenance", node="n1", action="off")["changed"]
    assert bench.do("node.maintenance", node="n1", action="off")["changed"] is False
    assert bench.do("node.map", node="n1", **MAP)["changed"]


def test_maintenance_of_many_nodes_is_one_command_and_needs_a_reason(bench: Bench) -> None:
    """A rack at a time."""
    done = bench.do("node.maintenance", nodes=["n1", "n2"], **ON)
    assert (done["succeeded"], done["failed"]) == (2, 0)
    assert [one["node"] for one in ask(bench, ListNodes(aside="maintenance"))["nodes"]] == ["n1", "n2"]
    bench.send("bmi.node.maintenance.v1", {"node": "n3", "action": "on"})
    assert "reason" in bench.events()[-1]["data"]["reasons"][0]


def test_an_image_in_maintenance_stays_so_in_the_trash(bench: Bench) -> None:
    """And is so when it is restored."""
    assert bench.do("image.maintenance", action="on", reason="it panics", **IMAGE)["changed"]
    bench.do("image.update", labels={"a": "b"}, **IMAGE)
    bench.do("image.remove", **IMAGE)
    assert bench.do("image.restore", **IMAGE)["changed"]
    assert ask(bench, ShowImage(**IMAGE))["image"]["aside"]["reason"] == "it panics"
    assert slug(bench, "node.map", node="n1", **MAP) == "image-set-aside"
