"""What no row knows is taken away by the step that fits it, unless a row knows it by now."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bmid.handlers.remove_orphan import RemoveOrphan, keys
from bmid.model.entity import DiskState, Seed
from bmid.model.finding import Kind, Remedy
from bmid.model.operation import Operation, Phase
from tests.support.plan import kinds, plan_of
from tests.support.view import NOW, context, disk, image

DETAILS = {
    "disk-orphaned": {"metadata": '{"id": "x", "state": "mapped"}'},
    "snapshot-orphaned": {"snapshot": "op"},
    "target-orphaned": {"shard": "0", "number": "7"},
    "pointer-orphaned": {"address": "10.77.0.9"},
}
STEPS = {
    "disk-orphaned": "discard-orphan",
    "image-orphaned": "remove-image",
    "snapshot-orphaned": "thaw-disk",
    "target-orphaned": "remove-stray",
    "pointer-orphaned": "clear-boot",
    "seed-orphaned": "remove-seed",
    "export-left": "remove-partial",
}
STORED = ("disk-orphaned", "image-orphaned", "snapshot-orphaned")


def command(kind: str, identifier: str) -> dict[str, Any]:
    head = "" if kind in STORED else "h1"
    return {"kind": kind, "id": identifier, "head": head, "details": DETAILS.get(kind, {})}


def test_each_kind_that_is_removed_has_its_step() -> None:
    assert set(STEPS) == {kind.value for kind in Kind if kind.about.remedy is Remedy.REMOVE}


@pytest.mark.parametrize("kind", STEPS)
def test_what_no_row_knows_is_removed_where_it_is(kind: str) -> None:
    plan = plan_of("orphan.remove", command(kind, "x"), context())
    assert kinds(plan) == [[STEPS[kind]]]
    assert plan.home == (None if kind in STORED else "h1")
    assert plan.memo == {"changed": True}


def running(identifier: str) -> Operation:
    return Operation(identifier, 1, "t", {}, "u", "s", "m", "c", Phase.RUNNING, NOW, NOW)


@pytest.mark.parametrize("kind", STEPS)
def test_what_a_row_knows_by_now_stays(kind: str) -> None:
    """A database that was put back may bring rows back, and a disk may have come here meanwhile."""
    known = replace(disk(), head="h1", state=DiskState.MAPPED)
    rows: dict[str, tuple[str, Any]] = {
        "image-orphaned": (image().id, image()),
        "export-left": ("op", running("op")),
    }
    identifier, row = rows.get(kind, (known.id, known))
    if kind == "seed-orphaned":
        row = replace(known, seed=Seed())
    given = context(row, running("op")) if kind == "snapshot-orphaned" else context(row)
    plan = plan_of("orphan.remove", command(kind, identifier), given)
    assert (kinds(plan), plan.memo) == ([], {"changed": False})


def test_what_is_here_of_a_disk_that_is_elsewhere_goes() -> None:
    elsewhere = replace(disk(), head="h2", state=DiskState.MAPPED)
    for kind in ("target-orphaned", "pointer-orphaned", "seed-orphaned"):
        assert kinds(plan_of("orphan.remove", command(kind, elsewhere.id), context(elsewhere)))


def test_it_holds_the_keys_of_what_it_may_have_belonged_to() -> None:
    """So nobody gives its name to the world again while it goes."""
    one = RemoveOrphan(kind=Kind.DISK_ORPHANED, id="x", head="", project="p1", name="d", node="n1")
    assert [key.name for key in keys(one)] == ["disk:p1/d", "node:n1", "look:disk-orphaned/x"]
