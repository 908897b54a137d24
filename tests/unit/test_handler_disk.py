"""What the commands to disks and their snapshots plan and refuse, from the command and the rows alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from bmid.handlers import map_node, unmap_node
from bmid.model.change import Drop, Put
from bmid.model.entity import Disk, DiskState, Image, Node, Seed
from bmid.steps.base import SETTLED, Plan
from bmid.steps.disk import DescribeDisk
from bmid.steps.rebuild import DiscardOld, ReturnTo, Settle
from bmid.steps.target import RequireQuiet
from tests.support.plan import handler_of, kinds, outcome_of, plan_of, undone
from tests.support.view import FREE, KEPT, ON, OPERATION, context, disk, image, node, project

N1 = {"project": "p1", "node": "n1"}
D1 = {"project": "p1", "disk": "d1"}


def test_a_parked_disk_keeps_name_address_and_host_name_and_has_no_home() -> None:
    """Its target and boot pointer go; the bytes and what they are called stay."""
    command = unmap_node.UnmapNode(**N1, disk="park")
    plan = unmap_node.plan(command, context(*ON))
    assert kinds(plan) == [["power-off"], ["clear-boot"], ["remove-export"], ["describe-disk"]]
    last = plan.stages[-1][0]
    assert isinstance(last, DescribeDisk)
    assert last.metadata.items() >= {"state": "parked", "node": None, "head": None, "address": "10.77.0.10"}.items()
    outcome = unmap_node.finish(command, context(*ON), plan, {})
    assert outcome.changes == (Put(node()), Put(KEPT))
    assert outcome.event.payload().items() >= {"parked": True, "address": "10.77.0.10", "disk": "d1"}.items()


def test_a_resumed_disk_is_the_same_machine_on_another_node() -> None:
    """A higher generation, and with it another secret; nothing is cloned."""
    other = node("n2", macs=("52:54:00:00:00:02",), boot_mac="52:54:00:00:00:02")
    given = context(*FREE, other)
    plan = map_node.plan(map_node.MapNode(project="p1", node="n2", disk="d1"), given)
    assert kinds(plan)[1] == ["describe-disk", "boot-from-network"]
    reserved = plan.reserve[0].entity
    assert isinstance(reserved, Disk)
    assert (reserved.id, reserved.address, reserved.hostname, reserved.node) == ("id-d1", "10.77.0.10", "n1", "n2")
    assert (reserved.generation, reserved.number) == (KEPT.generation + 1, KEPT.number)
    given = context(project(), image(), replace(other, disk="id-d1"), reserved)
    back = map_node.undo(map_node.MapNode(project="p1", node="n2", disk="d1"), given, plan, {})
    assert back[1] == Put(replace(KEPT, generation=reserved.generation))


def test_a_disk_that_never_was_on_a_node_gets_its_address_and_host_name_there() -> None:
    """It was made without."""
    made = replace(KEPT, address=None, hostname=None, network=None, generation=0)
    plan = map_node.plan(map_node.MapNode(**N1, disk="d1"), context(project(), image(), node(), made))
    reserved = plan.reserve[0].entity
    assert isinstance(reserved, Disk)
    assert (reserved.address, reserved.hostname, reserved.generation) == ("10.77.0.10", "n1", 1)


def test_a_snapshot_is_quiet_freeze_copy_seal_thaw_and_never_touches_the_power() -> None:
    """Named by the operation, at the disk's home; its row says what it was made from, and is not ready yet."""
    plan = plan_of("node.snapshot", {**N1, "image": "s", "labels": {"a": "b"}}, context(*ON))
    assert kinds(plan) == [
        ["require-quiet", "note-sessions"], ["freeze-disk"], ["duplicate-disk"], ["require-untouched"],
        ["seal-image"], ["thaw-disk"],
    ]  # fmt: skip
    assert plan.home == "h1"
    reserved = plan.reserve[0].entity
    assert isinstance(reserved, Image)
    assert (reserved.id, reserved.parent, reserved.ready) == (OPERATION, "id-debian", False)
    assert (reserved.size, reserved.format, reserved.labels) == (1 << 30, "raw", {"a": "b"})
    given = context(*ON, reserved)
    outcome = outcome_of("node.snapshot", {**N1, "image": "s"}, given, plan, firmware=["uefi"])
    assert outcome.changes == (Put(replace(reserved, firmware=("uefi",), ready=True)),)
    assert outcome.event.payload().items() >= {"parent": "p1/debian", "disk": "d1", "node": "n1"}.items()
    assert undone("node.snapshot", {**N1, "image": "s"}, given, plan) == (Drop(reserved),)


@pytest.mark.parametrize(("asked", "purpose"), [(False, "snapshot"), (True, "crash-consistent")])
def test_only_who_asks_for_it_gets_a_snapshot_of_a_running_system(asked: bool, purpose: str) -> None:
    """The step looks at the sessions, or at what the storage can do."""
    plan = plan_of("node.snapshot", {**N1, "image": "s", "crash_consistent": asked}, context(*ON))
    quiet = plan.stages[0][0]
    assert isinstance(quiet, RequireQuiet)
    assert quiet.purpose == purpose


def test_a_parked_disk_is_copied_where_the_command_runs() -> None:
    """It has no home, and nobody can be using it."""
    plan = plan_of("disk.snapshot", {**D1, "image": "s"}, context(*FREE))
    assert kinds(plan) == [["freeze-disk"], ["duplicate-disk"], ["seal-image"], ["thaw-disk"]]
    assert plan.home == "h1"


def test_the_images_of_a_group_are_called_like_image_and_node() -> None:
    """Names that would be too long are refused before anything is done."""
    command = handler_of("node.snapshot").command
    group = command.model_validate({"project": "p1", "nodes": ["n1", "n2"], "image": "nightly"})
    assert [(one.node, one.image) for one in group.members()] == [  # type: ignore[attr-defined]
        ("n1", "nightly-n1"), ("n2", "nightly-n2"),
    ]  # fmt: skip
    with pytest.raises(ValidationError, match="63"):
        command.model_validate({"project": "p1", "nodes": ["n" * 60], "image": "nightly"})


def test_a_created_disk_is_parked_and_says_where_it_is() -> None:
    """The same again changes nothing; another image under the name is refused."""
    plan = plan_of("disk.create", {**D1, "image": "debian"}, context(project(), image()))
    assert kinds(plan) == [["clone-disk"], ["locate-disk"]]
    made = plan.reserve[0].entity
    assert isinstance(made, Disk)
    assert (made.node, made.address, made.head, made.state) == (None, None, None, DiskState.MAKING)
    given = context(project(), image(), made)
    outcome = outcome_of("disk.create", {**D1, "image": "debian"}, given, plan, location="pool/disk-1")
    assert outcome.event.payload().items() >= {"location": "pool/disk-1", "changed": True}.items()
    parked = outcome.changes[0].entity
    assert parked.state is DiskState.PARKED
    again = plan_of("disk.create", {**D1, "image": "debian"}, context(project(), image(), parked))
    assert again.memo["changed"] is False
    assert again.reserve == ()


def test_a_removal_that_stopped_half_way_goes_on() -> None:
    """And one of what isn't there changes nothing."""
    left = replace(KEPT, state=DiskState.REMOVING)
    plan = plan_of("disk.remove", D1, context(project(), image(), left))
    assert kinds(plan) == [["discard-disk"]]
    gone, trashed = outcome_of("disk.remove", D1, context(project(), image(), left), plan).changes
    assert (gone, trashed.entity.id, trashed.entity.kind) == (Drop(left), left.id, "disk")
    assert plan_of("disk.remove", D1, context()).memo == {"changed": False}


@pytest.mark.parametrize("state", DiskState)
def test_a_disk_that_an_unmap_could_not_begin_to_remove_is_what_it_was(state: DiskState) -> None:
    """One that an earlier unmap left half removed, or a map half made, is not called mapped by that."""
    was = disk(state=state)
    plan = plan_of("node.unmap", N1, context(*ON[:3], was))
    assert undone("node.unmap", N1, context(*ON[:3], plan.reserve[0].entity), plan) == (Put(was),)


def rebuilt(given: Any = None, **data: Any) -> Plan:
    return plan_of("node.rebuild", {**N1, **data}, given or context(*ON))


def test_a_rebuild_makes_the_new_disk_first_and_discards_the_old_one_last() -> None:
    """In between there is a way back; once the old one goes there is none."""
    plan = rebuilt()
    assert kinds(plan) == [
        ["require-allocated"], ["clone-disk"], ["power-back"], ["power-off"], ["return-to"], ["clear-boot"],
        ["remove-export"], ["boot-from-network"], ["export-disk"], ["point-boot"], ["cycle-power"], ["settle"],
        ["discard-old"],
    ]  # fmt: skip
    back, settle, last = plan.stages[4][0], plan.stages[-2][0], plan.stages[-1][0]
    assert isinstance(back, ReturnTo)
    assert isinstance(settle, Settle)
    assert isinstance(last, DiscardOld)
    assert (back.export.disk, back.export.again, back.point.disk, last.disk) == ("id-d1", True, "id-d1", "id-d1")
    assert plan.left({SETTLED: settle.stages}).stages == (plan.stages[-1],)


def test_a_rebuilt_node_keeps_address_host_name_and_seed() -> None:
    """Until its end the row of the new disk is without node and address, which the old one's has."""
    seed = Seed(("key",), "#!/bin/sh\n")
    old = disk(hostname="web", seed=seed)
    plan = rebuilt(context(project(), image(), node(disk="id-d1"), old))
    removing, made = (change.entity for change in plan.reserve)
    assert isinstance(made, Disk)
    assert removing == replace(old, state=DiskState.REMOVING)
    assert (made.node, made.address, made.hostname, made.seed) == (None, None, "web", seed)
    assert (made.head, made.shard, made.image) == ("h1", "0", "id-debian")
    given = context(project(), image(), node(disk="id-d1"), removing, made)
    outcome = outcome_of("node.rebuild", N1, given, plan)
    gone, trashed, kept, new, watched = outcome.changes
    assert (gone, trashed.entity.id) == (Drop(removing), removing.id)
    assert isinstance(kept.entity, Node)
    assert (kept.entity.disk, kept.entity.generation) == (OPERATION, 1)
    assert (new.entity.node, new.entity.address, new.entity.state) == ("n1", "10.77.0.10", DiskState.MAPPED)
    assert watched.entity.disk == OPERATION
    assert outcome.event.payload()["address"] == "10.77.0.10"
    assert undone("node.rebuild", N1, given, plan) == (Drop(made), Put(old))


def test_a_rebuild_that_could_not_discard_the_old_disk_leaves_the_node_on_the_new_one() -> None:
    """The old one is nobody's, for disk.remove."""
    plan = rebuilt()
    removing, made = (change.entity for change in plan.reserve)
    given = context(project(), image(), node(disk="id-d1"), removing, made)
    left, kept, new, _ = undone("node.rebuild", N1, given, plan, **{SETTLED: 12})
    assert (left.entity.id, left.entity.node, left.entity.state) == ("id-d1", None, DiskState.REMOVING)
    assert (kept.entity.disk, new.entity.id, new.entity.state) == (OPERATION, OPERATION, DiskState.MAPPED)


def test_what_a_rebuild_is_told_replaces_what_the_old_disk_was_told() -> None:
    """Field by field."""
    old = disk(seed=Seed(("key",), "#!/bin/sh\n"))
    plan = rebuilt(context(project(), image(), node(disk="id-d1"), old), hostname="db", user_data="#!/bin/true\n")
    made = plan.reserve[1].entity
    assert isinstance(made, Disk)
    assert (made.hostname, made.seed) == ("db", Seed(("key",), "#!/bin/true\n"))


def test_a_rebuild_that_leaves_power_alone_needs_a_quiet_node() -> None:
    """As an unmap of a node without a power driver does."""
    assert kinds(rebuilt(power="none"))[2] == ["require-quiet"]
    assert kinds(rebuilt(power="none", force=True))[2] == ["return-to"]
