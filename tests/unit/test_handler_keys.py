"""Which keys each command takes, in which order, and commands that find their work done."""

from __future__ import annotations

from typing import Any

import pytest

from bmid.handlers import (
    register_node,
    remove_image,
    remove_node,
    remove_project,
)
from bmid.handlers.registry import discover
from bmid.model.claim import ORDER
from tests.support.plan import handler_of
from tests.support.view import context, disk, node

COMMANDS: dict[str, dict[str, Any]] = {
    "bmi.project.create.v1": {"project": "p1"},
    "bmi.project.remove.v1": {"project": "p1"},
    "bmi.image.import.v1": {"project": "p1", "image": "i", "source": {"file": "a"}},
    "bmi.image.remove.v1": {"project": "p1", "image": "i"},
    "bmi.image.copy.v1": {"project": "p1", "image": "p2/i", "to": "j", "to_project": "p3"},
    "bmi.image.export.v1": {"project": "p1", "image": "i", "to": {"file": "a"}},
    "bmi.image.update.v1": {"project": "p1", "image": "i", "no_default": True},
    "bmi.image.maintenance.v1": {"project": "p1", "image": "i", "action": "off"},
    "bmi.node.maintenance.v1": {"node": "n1", "action": "off"},
    "bmi.node.register.v1": {"node": "n1", "macs": ["52:54:00:00:00:01"]},
    "bmi.node.remove.v1": {"node": "n1"},
    "bmi.node.map.v1": {"project": "p1", "node": "n1", "image": "p2/i"},
    "bmi.node.unmap.v1": {"project": "p1", "node": "n1"},
    "bmi.node.snapshot.v1": {"project": "p1", "node": "n1", "image": "i"},
    "bmi.node.rebuild.v1": {"project": "p1", "node": "n1", "image": "p2/i"},
    "bmi.node.power.v1": {"project": "p1", "node": "n1", "action": "on"},
    "bmi.disk.create.v1": {"project": "p1", "disk": "d", "image": "p2/i"},
    "bmi.disk.remove.v1": {"project": "p1", "disk": "d"},
    "bmi.disk.snapshot.v1": {"project": "p1", "disk": "d", "image": "i"},
    "bmi.disk.restore.v1": {"project": "p1", "disk": "e", "name": "d"},
    "bmi.image.restore.v1": {"project": "p1", "image": "j", "name": "i"},
    "bmi.boot.retry.v1": {"node": "n1", "disk": "d"},
    "bmi.export.restore.v1": {"node": "n1", "disk": "d"},
    "bmi.site.reconcile.v1": {"head": "h1", "shared": True},
    "bmi.orphan.remove.v1": {"kind": "disk-orphaned", "id": "x", "head": "", "project": "p1", "name": "d"},
    "bmi.portal.move.v1": {
        "address": "10.0.0.1",
        "portals": ["10.0.0.1:3260"],
        "origin": "h1",
        "head": "h2",
        "why": "dead",
    },
}


SHARED = {"bmi.node.map.v1": {"project:p1", "image:p2/i"}, "bmi.node.unmap.v1": {"project:p1"},
          "bmi.node.rebuild.v1": {"project:p1", "image:p2/i"}, "bmi.disk.create.v1": {"project:p1", "image:p2/i"},
          **{f"bmi.{kind}.v1": {"project:p1"} for kind in ("node.snapshot", "node.power", "disk.remove",
                                                           "disk.snapshot", "disk.restore", "image.restore")},
          "bmi.image.import.v1": {"project:p1"}, "bmi.image.remove.v1": {"project:p1"},
          "bmi.image.copy.v1": {"project:p1", "project:p2", "project:p3", "image:p2/i"},
          "bmi.image.export.v1": {"project:p1", "image:p1/i"}, "bmi.image.update.v1": {"project:p1"},
          "bmi.image.maintenance.v1": {"project:p1"}}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(discover().commands))
def test_keys_come_in_the_one_order(kind: str) -> None:
    """Project, image, disk, node: so nobody ever waits in a circle. What is only used is shared."""
    handler = discover().commands[kind]
    keys = handler.keys(handler.command.model_validate(COMMANDS[kind]))
    places = [ORDER.index(key.name.partition(":")[0]) for key in keys]
    assert places == sorted(places)
    assert keys
    assert {key.name for key in keys if not key.exclusive} == SHARED.get(kind, set())


def test_a_map_of_a_parked_disk_holds_disk_and_node() -> None:
    """So that nobody removes what is on its way to a node. What is on a node is under the node's key alone."""
    handler = handler_of("node.map")
    keys = handler.keys(handler.command.model_validate({"project": "p1", "node": "n1", "disk": "d"}))
    assert [key.name for key in keys if key.exclusive] == ["disk:p1/d", "node:n1"]
    snapshot = handler_of("node.snapshot")
    keys = snapshot.keys(snapshot.command.model_validate({"project": "p1", "node": "n1", "image": "i"}))
    assert [key.name for key in keys if key.exclusive] == ["image:p1/i", "node:n1"]


def test_registering_the_same_again_changes_nothing() -> None:
    """Other values replace the old ones; id, disk and generation stay."""
    command = register_node.RegisterNode(
        node="n1",
        macs=["52-54-00-00-00-01"],
        power={"driver": "redfish", "address": "http://bmc1/1", "credential": "lab"},
    )
    known = node(disk="id-d1", generation=3)
    same = register_node.plan(command, context(known, disk()))
    assert same.memo == {"changed": False}
    assert register_node.finish(command, context(known, disk()), same, {}).changes == ()
    other = register_node.RegisterNode(node="n1", macs=["52:54:00:00:00:01"], firmware="uefi")
    plan = register_node.plan(other, context(known, disk()))
    (change,) = register_node.finish(other, context(known, disk()), plan, {}).changes
    kept = change.entity
    assert (kept.id, kept.disk, kept.generation, kept.power) == ("id-n1", "id-d1", 3, None)  # type: ignore[union-attr]


def test_removing_what_is_not_there_changes_nothing() -> None:
    """Each of the three succeeds."""
    assert remove_project.plan(remove_project.RemoveProject(project="p1"), context()).memo == {"changed": False}
    assert remove_image.plan(remove_image.RemoveImage(project="p1", image="i"), context()).memo == {"changed": False}
    assert remove_node.plan(remove_node.RemoveNode(node="n1"), context()).memo == {"changed": False}
