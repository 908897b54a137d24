"""The operator's ways out on real parts: abandoning, breaking a claim, taking back what was set aside."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bmid.handlers.list_nodes import ListNodes
from bmid.handlers.list_operations import ListOperations
from bmid.handlers.maintain_node import MaintainNode
from bmid.handlers.map_node import MapNode
from bmid.handlers.show_node import ShowNode
from bmid.handlers.unmap_node import UnmapNode
from tests.support.bmid import Builder, House

SECRET = "s3cret-of-a-cloud-config"
DEAF = {"driver": "redfish", "address": "http://127.0.0.1:9/redfish/v1/Systems/1", "credential": None}


def run(house: House, *words: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    """A command as it is typed."""
    command = [str(Path(sys.executable).parent / "bmid"), "--config", str(house.bmid.config), *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, input=answer, timeout=120)


def printed(house: House, *words: str) -> Any:
    done = run(house, *words, "-o", "json")
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


ENGINE = {"engine": {"give_up_after": 1.0, "set_aside_after": 2, "reconcile_every": 0.0}}


@pytest.fixture
def house(builder: Builder) -> House:
    """A head that gives up soon, and sets aside at the second failure."""
    return builder.house(ceph=False, postgresql=False, settings=ENGINE)


@pytest.fixture(params=["directory", "rbd"])
def any_house(request: pytest.FixtureRequest, builder: Builder) -> House:
    """The same, in a folder and in Ceph."""
    ceph = request.param == "rbd"
    return builder.house(ceph=ceph, postgresql=ceph, settings=ENGINE)


def stuck(house: House) -> str | None:
    """The operation that is stuck, when there is one."""
    rows = house.query(ListOperations(phase="stuck"))["operations"]
    return rows[0]["operation"] if rows else None


def test_what_abandon_says_is_what_fsck_finds(any_house: House) -> None:
    """A map that can be neither finished nor undone: a folder lies where its script belongs. It is cleared away."""
    house = any_house
    project = house.project()
    image, node = house.image(project), house.node(address="127.1.0.77")
    assert printed(house, "fsck")["findings"] == []
    script = house.parts.tftp / "127.1.0.77" / "boot.ipxe"
    script.mkdir(parents=True)
    house.ask(
        MapNode(
            project=project, node=node, image=image, power="none", user_data=f"#cloud-config\npassword: {SECRET}\n"
        ),
        1,
    )
    one = _shown(house)
    if house.parts.ceph_conf is None:  # the way back is the same there, and takes its time
        _tried_again(house, one)
    script.rmdir()
    told = printed(house, "operations", "abandon", one, "--reason", "a folder lay there")
    [thing], [disk] = told["left"], house.disks()
    assert (thing["kind"], thing["subject"], told["unseen"]) == ("disk-unfinished", disk.id, {})
    target = f"target {disk.number} at shard s0 of {disk.head}"
    assert thing["parts"] == [f"disk {disk.id} in the storage", target, f"seed {disk.id}"]
    found = printed(house, "fsck")["findings"]
    assert [(row["kind"], row["subject"]) for row in found] == [
        (each["kind"], each["subject"]) for each in told["left"]
    ]
    assert run(house, "fsck").returncode == 1
    assert "abandoned" in run(house, "operations", "list", "--all").stdout
    assert run(house, "operations", "abandon", one, "--reason", "again").returncode == 65
    assert house.did(UnmapNode(project=project, node=node, force=True))["changed"]
    assert printed(house, "fsck")["findings"] == []
    assert run(house, "fsck").returncode == 0


def _shown(house: House) -> str:
    """The operation that is stuck: listed, and shown without what may be secret."""
    house.until(lambda: stuck(house), seconds=90)
    one = str(stuck(house))
    [row] = printed(house, "operations", "list")
    assert (row["operation"], row["phase"]) == (one, "stuck")
    shown = json.loads(run(house, "operations", "show", one).stdout)
    assert shown["plan"]["stages"]
    assert SECRET not in json.dumps(shown)
    return one


def _tried_again(house: House, one: str) -> None:
    """It is stuck again, since nothing was mended."""
    retried = run(house, "operations", "retry", one, "--reason", "perhaps now")
    assert (retried.returncode, "is reverting" in retried.stdout) == (0, True)
    house.until(lambda: stuck(house) is None, seconds=30)
    house.until(lambda: stuck(house), seconds=90)


def test_a_broken_claim_is_taken_again(house: House) -> None:
    """Of a head that lives: only after a warning."""
    house.project()
    house.until(lambda: [row for row in printed(house, "claims", "list") if row["key"].startswith("role:")])
    role = next(row for row in printed(house, "claims", "list") if row["key"].startswith("role:"))
    assert role["alive"]
    asked = run(house, "claims", "break", role["key"], "--reason", "a test", answer="n\n")
    assert asked.returncode == 1
    assert "is alive" in asked.stderr
    assert run(house, "claims", "break", role["key"], "--reason", "a test", "--yes").returncode == 0
    assert run(house, "claims", "break", "node:none", "--reason", "a test").returncode == 65

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
