"""The operator's ways out on real parts: abandoning, breaking a claim, taking back what was set aside."""

from __future__ import annotations

import json
from typing import Any

import pytest
import structlog
from click.testing import CliRunner, Result

from bmid.cli import main
from bmid.handlers.list_nodes import ListNodes
from bmid.handlers.list_operations import ListOperations
from bmid.handlers.maintain_node import MaintainNode
from bmid.handlers.map_node import MapNode
from bmid.handlers.show_node import ShowNode
from bmid.handlers.unmap_node import UnmapNode
from tests.support.bmid import Builder, House

DEAF = {"driver": "redfish", "address": "http://127.0.0.1:9/redfish/v1/Systems/1", "credential": None}


def run(house: House, *words: str, answer: str = "") -> Result:
    """A command as it is typed."""
    try:
        return CliRunner().invoke(main, ["--config", str(house.bmid.config), *words], input=answer)
    finally:
        structlog.reset_defaults()


def printed(house: House, *words: str) -> Any:
    done = run(house, *words, "-o", "json")
    assert done.stdout, (done.stderr, done.exception)
    return json.loads(done.stdout)


@pytest.fixture
def house(builder: Builder) -> House:
    """A head that gives up soon, and sets aside at the second failure."""
    engine = {"give_up_after": 1.0, "set_aside_after": 2, "reconcile_every": 0.0}
    return builder.house(ceph=False, postgresql=False, settings={"engine": engine})


def stuck(house: House) -> str | None:
    """The operation that is stuck, when there is one."""
    rows = house.query(ListOperations(phase="stuck"))["operations"]
    return rows[0]["operation"] if rows else None


def test_what_abandon_says_is_what_fsck_finds_and_a_broken_claim_is_taken_again(house: House) -> None:
    """A map that can be neither finished nor undone: a folder lies where its script belongs. It is cleared away."""
    project = house.project()
    image, node = house.image(project), house.node(address="127.1.0.77")
    assert printed(house, "fsck")["findings"] == []
    script = house.parts.tftp / "127.1.0.77" / "boot.ipxe"
    script.mkdir(parents=True)
    house.ask(MapNode(project=project, node=node, image=image, power="none"), 1)
    house.until(lambda: stuck(house), seconds=90)
    script.rmdir()
    told = printed(house, "operations", "abandon", str(stuck(house)), "--reason", "a folder lay there")
    [thing], [disk] = told["left"], house.disks()
    assert (thing["kind"], thing["subject"]) == ("disk-unfinished", disk.id)
    assert thing["parts"] == [f"disk {disk.id} in the storage", f"target {disk.number} at shard s0 of {disk.head}"]
    found = printed(house, "fsck")["findings"]
    assert [(row["kind"], row["subject"]) for row in found] == [
        (each["kind"], each["subject"]) for each in told["left"]
    ]
    assert house.did(UnmapNode(project=project, node=node, force=True))["changed"]
    assert printed(house, "fsck")["findings"] == []
    _break_a_role(house)


def _break_a_role(house: House) -> None:
    """Of a head that lives: only after a warning, and it is had again."""
    house.until(lambda: [row for row in printed(house, "claims", "list") if row["key"].startswith("role:")])
    role = next(row for row in printed(house, "claims", "list") if row["key"].startswith("role:"))
    assert role["alive"]
    asked = run(house, "claims", "break", role["key"], "--reason", "a test", answer="n\n")
    assert asked.exit_code == 1
    assert "is alive" in asked.stderr
    assert run(house, "claims", "break", role["key"], "--reason", "a test", "--yes").exit_code == 0
    assert run(house, "claims", "break", "node:none", "--reason", "a test").exit_code == 69

    def again() -> bool:
        rows = {row["key"]: row["epoch"] for row in printed(house, "claims", "list")}
        return bool(rows.get(role["key"], 0) > role["epoch"])

    house.until(again, seconds=60)


def test_a_node_whose_bmc_is_deaf_is_set_aside_and_comes_back(house: House) -> None:
    """By two maps that failed for one reason."""
    project = house.project()
    image, node = house.image(project), house.node(power=DEAF)
    for _ in range(2):
        house.ask(MapNode(project=project, node=node, image=image, power="cycle"), seconds=90)
    aside = house.query(ShowNode(node=node))["node"]["aside"]
    assert (aside["state"], aside["failures"]) == ("quarantine", 2)
    refusal = house.refusal(MapNode(project=project, node=node, image=image, power="none"))
    assert refusal.slug == "node-set-aside"
    assert [row["node"] for row in house.query(ListNodes(aside="quarantine"))["nodes"]] == [node]
    assert house.did(MaintainNode(node=node, action="off"))["before"] == "quarantine"
    assert house.did(MapNode(project=project, node=node, image=image, power="none"))["changed"]
