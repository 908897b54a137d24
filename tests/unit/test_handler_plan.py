"""Plans are pure: what is done, in which order, from the command and the rows alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bmid.handlers import (
    golden,
    import_image,
    map_node,
    restore_export,
    retry_boot,
    unmap_node,
)
from bmid.model.change import Drop, Put
from bmid.model.entity import BootStage, DiskState
from bmid.model.site import Site
from bmid.steps.base import Plan
from bmid.steps.boot import ClearBoot, PointBoot
from bmid.steps.disk import CloneDisk, DiscardDisk
from bmid.steps.image import CopyImage, DigestFile, InspectFile, ReceiveUpload, SealImage, TidyStaging
from bmid.steps.isolation import RequireAllocated
from bmid.steps.power import BootFromNetwork, CyclePower, PowerOff
from bmid.steps.target import ExportDisk, NoteSessions, RemoveExport, RequireQuiet
from tests.support.plan import kinds
from tests.support.view import BMC, NOW, OPERATION, Shard, boot, context, disk, image, node, project

IQN = f"iqn.2026-11.org.example.bmi:{OPERATION}"


def map_command(**values: Any) -> map_node.MapNode:
    return map_node.MapNode(**{"project": "p1", "node": "n1", "image": "debian", **values})


def unmap_command(**values: Any) -> unmap_node.UnmapNode:
    return unmap_node.UnmapNode(**{"project": "p1", "node": "n1", **values})


def test_a_map_is_clone_export_pointer_power() -> None:
    """First it is asked whether that is allowed; the visible step comes last."""
    plan = map_node.plan(map_command(), context(project(), image(), node()))
    bmc = vars(BMC)
    given = disk(portal="10.77.0.1:3260", number=1, state=DiskState.MAKING)
    made = replace(given, id=OPERATION, name=f"n1-{OPERATION[-12:]}")
    clone = plan.stages[1][0]
    assert isinstance(clone, CloneDisk)
    assert (clone.image, clone.disk) == ("id-debian", OPERATION)
    assert plan.stages == (
        (RequireAllocated(project="p1", node="n1"),),
        (clone, BootFromNetwork(**bmc)),
        (ExportDisk(disk=OPERATION, shard="0", number=1, iqn=IQN, address="10.77.0.10", generation=1),),
        (
            PointBoot(
                node="n1", disk=OPERATION, shard="0", generation=1, mac="52:54:00:00:00:01", address="10.77.0.10",
                hostname="n1", firmware="any", iqn=IQN, initiator="iqn.2026-11.org.example.bmi:node.n1",
                    portal="10.77.0.1:3260",
            ),
        ),
        (CyclePower(**bmc),),
    )  # fmt: skip
    assert plan.reserve == (Put(made), Put(node(disk=OPERATION, generation=1)))
    assert plan.home == "h1"
    assert plan.memo == {"changed": True, "disk": OPERATION, "power": "cycle", "resumed": False}


def test_the_metadata_beside_the_disk_says_whose_it_is() -> None:
    """Enough to know without a database."""
    plan = map_node.plan(map_command(), context(project(), image(), node()))
    clone = plan.stages[1][0]
    assert isinstance(clone, CloneDisk)
    said = clone.metadata
    assert said.items() >= {
        "project": "p1", "image": "id-debian", "image_name": "p1/debian", "node": "n1", "firmware": "any",
        "macs": ["52:54:00:00:00:01"], "network": "default", "address": "10.77.0.10", "head": "h1", "shard": "0",
        "iqn": IQN, "generation": 1, "state": "mapped", "number": 1,
    }.items()  # fmt: skip


@pytest.mark.parametrize(("power", "bmc"), [("none", BMC), (None, None), ("none", None)])
def test_power_is_left_alone_where_it_is_said_or_there_is_none(power: str | None, bmc: Any) -> None:
    """Clone, export, pointer."""
    plan = map_node.plan(map_command(power=power), context(project(), image(), node(power=bmc)))
    assert kinds(plan) == [["require-allocated"], ["clone-disk"], ["export-disk"], ["point-boot"]]
    assert plan.memo["power"] == "none"


def test_the_same_map_again_plans_nothing() -> None:
    """And finishes with the disk in place."""
    rows = (project(), image(), node(disk="id-d1"), disk())
    command, given = map_command(), context(*rows)
    plan = map_node.plan(command, given)
    assert plan == Plan(memo={"changed": False, "disk": "id-d1", "power": "untouched"})
    outcome = map_node.finish(command, given, plan, {})
    assert outcome.changes == ()
    assert outcome.event.payload()["changed"] is False
    assert outcome.event.payload()["disk"] == "d1"


def test_a_mapped_disk_is_in_use_and_its_boot_is_watched() -> None:
    """With a deadline where we have cycled it, without one where somebody else does."""
    for power, deadline in (("cycle", NOW + timedelta(seconds=600)), ("none", None)):
        making = replace(disk(), id=OPERATION, state=DiskState.MAKING)
        given = context(project(), image(), node(disk=OPERATION), making)
        outcome = map_node.finish(
            map_command(), given, Plan(memo={"changed": True, "disk": OPERATION, "power": power}), {}
        )
        mapped, watched = outcome.changes
        assert mapped.entity.state is DiskState.MAPPED  # type: ignore[union-attr]
        assert watched.entity.deadline == deadline  # type: ignore[union-attr]
        assert watched.entity.stage is BootStage.WAITING  # type: ignore[union-attr]


def test_a_map_that_failed_leaves_node_and_name_free() -> None:
    """Both rows."""
    made = replace(disk(), id=OPERATION)
    plan = Plan(memo={"disk": OPERATION})
    undone = map_node.undo(map_command(), context(node(disk=OPERATION, generation=1), made), plan, {})
    assert undone == (Put(node(generation=1)), Drop(made))


def test_the_emptiest_shard_is_chosen() -> None:
    """By load, then by name."""
    shards = (Shard("h2", "0", 3), Shard("h1", "1", 1), Shard("h1", "0", 2))
    plan = map_node.plan(map_command(), context(project(), image(), node(), shards=shards))
    assert plan.home == "h1"
    assert plan.reserve[0].entity.shard == "1"  # type: ignore[union-attr]


def test_an_unmap_is_power_pointer_target_disk() -> None:
    """The way in, backwards: a node never boots a half-removed disk."""
    plan = unmap_node.plan(unmap_command(), context(project(), image(), node(disk="id-d1"), disk()))
    discard = plan.stages[3][0]
    assert isinstance(discard, DiscardDisk)
    assert discard.metadata["state"] == "discarded"
    assert plan.stages == (
        (PowerOff(**vars(BMC), deadline=120.0, force=False),),
        (ClearBoot(disk="id-d1", address="10.77.0.10"),),
        (RemoveExport(disk="id-d1", shard="0", number=7),),
        (discard,),
    )
    assert plan.reserve == (Put(disk(state=DiskState.REMOVING)),)
    assert plan.home == "h1"


def test_without_a_power_driver_the_disk_must_be_quiet_unless_forced() -> None:
    """With force nobody looks, and nobody claims to know that the node is off."""
    rows = (project(), image(), node(disk="id-d1", power=None), disk())
    plan = unmap_node.plan(unmap_command(), context(*rows))
    assert plan.stages[0] == (RequireQuiet(node="n1", disk="d1", shard="0", number=7, address="10.77.0.10"),)
    forced = unmap_node.plan(unmap_command(force=True), context(*rows))
    assert kinds(forced) == [["clear-boot"], ["remove-export"], ["discard-disk"]]
    assert forced.memo["power"] == "unknown"


def test_unmapping_a_free_node_changes_nothing() -> None:
    """It succeeds."""
    given = context(project(), node())
    plan = unmap_node.plan(unmap_command(), given)
    assert plan == Plan(memo={"changed": False, "disk": None, "power": "untouched"})
    assert unmap_node.finish(unmap_command(), given, plan, {}).changes == ()


def test_an_unmap_that_failed_leaves_the_node_its_disk() -> None:
    """The row says mapped again."""
    removing = disk(state=DiskState.REMOVING)
    assert unmap_node.undo(unmap_command(), context(removing), Plan(memo={"disk": "id-d1"}), {}) == (Put(disk()),)


def test_an_unmap_that_failed_half_way_leaves_the_disk_on_its_way_out() -> None:
    """Its pointer may be gone: nobody shall put the rest of it back."""
    undone = unmap_node.undo(
        unmap_command(), context(disk(state=DiskState.REMOVING)), Plan(memo={"disk": "id-d1"}), {"removing": True}
    )
    assert undone == ()


def test_an_import_receives_looks_copies_seals_and_tidies_up() -> None:
    """From a file: without the first step."""
    source = {"upload": "0" * 64}
    command = import_image.ImportImage(project="p1", image="new", source=source, format="qcow2", sha256="0" * 64)
    plan = import_image.plan(command, context(project()))
    metadata = golden.described(plan.reserve[0].entity, Site())  # type: ignore[arg-type]
    assert plan.stages == (
        (ReceiveUpload(deadline=NOW + timedelta(seconds=3600)),),
        (InspectFile(file=None, format="qcow2", sha256="0" * 64),),
        (CopyImage(image=OPERATION, file=None), DigestFile(file=None, sha256="0" * 64)),
        (SealImage(image=OPERATION, metadata=metadata),),
        (TidyStaging(),),
    )
    (reserved,) = plan.reserve
    assert reserved.entity.ready is False  # type: ignore[union-attr]
    file = import_image.ImportImage(project="p1", image="new", source={"file": "a.raw"})
    assert kinds(import_image.plan(file, context(project())))[0] == ["inspect-file"]


def test_a_boot_is_tried_again_with_its_old_sessions_noted_first() -> None:
    """Then power; nothing at all if it has booted or the disk has gone."""
    command = retry_boot.RetryBoot(node="n1", disk="id-d1")
    rows = (image(), node(disk="id-d1"), disk())
    plan = retry_boot.plan(command, context(*rows, boot()))
    assert kinds(plan) == [["boot-from-network", "note-sessions"], ["cycle-power"]]
    assert plan.stages[0][1] == NoteSessions(shard="0", number=7)
    for given in (
        context(*rows, boot(stage=BootStage.BOOTED)),
        context(*rows),
        context(image(), node(disk="other"), disk(), boot()),
        context(image(), node(disk="id-d1", power=None), disk(), boot()),
    ):
        assert retry_boot.plan(command, given) == Plan(memo={"changed": False})


def test_a_lost_target_is_fenced_and_put_back_before_the_pointer() -> None:
    """Unless the disk is on its way out."""
    command = restore_export.RestoreExport(node="n1", disk="id-d1")
    plan = restore_export.plan(command, context(image(), node(disk="id-d1"), disk()))
    assert kinds(plan) == [["export-disk"], ["point-boot", "describe-disk"]]
    assert plan.stages[0][0].again is True  # type: ignore[attr-defined]
    removing = context(image(), node(disk="id-d1"), disk(state=DiskState.REMOVING))
    assert restore_export.plan(command, removing) == Plan(memo={"changed": False})
