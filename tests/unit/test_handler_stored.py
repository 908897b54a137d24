"""Plans are kept with their operations: what comes back from the database is what went in."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bmid.handlers import group
from bmid.handlers.map_node import MapNode
from bmid.model.entity import Seed
from bmid.steps.base import Plan, Step
from bmid.steps.trash import RestoreDisk, RestoreImage
from tests.support.plan import plan_of
from tests.support.view import FREE, ON, boot, context, disk, image, node, project

P1 = {"project": "p1"}
N1 = {**P1, "node": "n1"}
D1 = {**P1, "disk": "d1"}
IMAGE = {**P1, "image": "debian"}
NEW = {**P1, "image": "new"}
RBD = {"pool": "theirs", "image": "golden"}
SEEDED = (*ON[:3], disk(seed=Seed(("key",))))
ORPHAN = {**P1, "id": "x", "head": "h1", "name": "d"}
PLANS: list[tuple[str, dict[str, Any], tuple[Any, ...]]] = [
    ("node.map", {**N1, "image": "debian", "hostname": "web"}, (project(), image(), node())),
    ("node.map", {**N1, "disk": "d1"}, FREE),
    ("node.unmap", N1, SEEDED),
    ("node.unmap", {**N1, "disk": "park"}, (*ON[:2], node(disk="id-d1", power=None), disk())),
    ("node.rebuild", N1, SEEDED),
    ("node.snapshot", {**N1, "image": "new"}, ON),
    ("node.power", {**N1, "action": "on"}, ON),
    ("disk.create", {**D1, "image": "debian"}, (project(), image())),
    ("disk.snapshot", {**D1, "image": "new"}, FREE),
    ("disk.remove", D1, FREE),
    ("image.import", {**NEW, "source": {"upload": "0" * 64}}, (project(),)),
    ("image.import", {**NEW, "source": {"rbd": RBD}}, (project(),)),
    ("image.copy", {**IMAGE, "to": "copy"}, ON),
    ("image.export", {**IMAGE, "to": {"file": "a"}}, ON),
    ("image.export", {**IMAGE, "to": {"rbd": RBD}}, ON),
    ("image.remove", IMAGE, (image(),)),
    ("image.update", {**IMAGE, "description": "the one"}, (project(), image())),
    ("boot.retry", {"node": "n1", "disk": "id-d1"}, (*ON, boot())),
    (
        "portal.move",
        {"address": "10.0.0.1", "portals": ["10.0.0.1:3260"], "origin": "h1", "head": "h2", "why": "dead"},
        (),
    ),
    ("site.reconcile", {"head": "h1", "shared": True}, ()),
    ("orphan.remove", {**ORPHAN, "kind": "disk-orphaned", "details": {"metadata": "{}"}}, ()),
    ("orphan.remove", {**ORPHAN, "kind": "export-left"}, ()),
    ("orphan.remove", {**ORPHAN, "kind": "target-orphaned", "details": {"shard": "0", "number": "7"}}, ()),
    ("export.restore", {"node": "n1", "disk": "id-d1"}, SEEDED),
]
IDS = [f"{kind}-{number}" for number, (kind, _, _) in enumerate(PLANS)]


@pytest.mark.parametrize(("kind", "data", "rows"), PLANS, ids=IDS)
def test_a_plan_comes_back_as_it_went_in(kind: str, data: dict[str, Any], rows: tuple[Any, ...]) -> None:
    """All but its rows, which have been written by then."""
    plan = plan_of(kind, data, context(*rows))
    assert Plan.load(json.loads(json.dumps(plan.dump()))) == replace(plan, reserve=())


def test_every_step_is_in_one_of_them() -> None:
    """A new one fails here until there is a plan with it above."""
    plans = [plan_of(kind, data, context(*rows)) for kind, data, rows in PLANS]
    plans.append(group.plan(MapNode(project="p1", nodes=["n1"], image="debian"), context()))
    plans.append(Plan(stages=((RestoreImage(image="x"), RestoreDisk(disk="x", metadata={}, before={})),)))
    assert {step.kind for plan in plans for stage in plan.stages for step in stage} == set(Step.kinds)
