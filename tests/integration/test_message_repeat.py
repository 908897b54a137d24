"""The same message again: one effect, and an answer each time."""

from __future__ import annotations

from typing import Literal

import pytest

from bmi_publish import State, Ticket
from bmid.handlers.copy_image import CopyImage
from bmid.handlers.create_disk import CreateDisk
from bmid.handlers.create_project import CreateProject
from bmid.handlers.export_image import ExportImage
from bmid.handlers.import_image import ImportImage
from bmid.handlers.maintain_image import MaintainImage
from bmid.handlers.maintain_node import MaintainNode
from bmid.handlers.map_node import MapNode
from bmid.handlers.power_node import PowerNode
from bmid.handlers.rebuild_node import RebuildNode
from bmid.handlers.register_node import NodePower, RegisterNode
from bmid.handlers.registry import discover
from bmid.handlers.remove_disk import RemoveDisk
from bmid.handlers.remove_image import RemoveImage
from bmid.handlers.remove_node import RemoveNode
from bmid.handlers.remove_project import RemoveProject
from bmid.handlers.restore_disk import RestoreDisk
from bmid.handlers.restore_image import RestoreImage
from bmid.handlers.snapshot_disk import SnapshotDisk
from bmid.handlers.snapshot_node import SnapshotNode
from bmid.handlers.unmap_node import UnmapNode
from bmid.handlers.update_image import UpdateImage
from bmid.messages.base import Command
from bmid.messages.operation import CommandRejected, OperationAccepted, OperationFailed
from tests.support.bmid import House
from tests.support.image import bios_disk
from tests.support.listener import Listener

COPIES = 5
KINDS = (
    "project.create", "project.remove", "image.import", "image.remove", "image.copy", "image.export", "image.update",
    "image.restore", "image.maintenance", "node.register", "node.remove", "node.map", "node.unmap", "node.unmap park",
    "node.snapshot", "node.rebuild", "node.power", "node.maintenance", "disk.create", "disk.resume", "disk.snapshot",
    "disk.remove", "disk.restore",
)  # fmt: skip
ACCEPTED = OperationAccepted.type


def prepared(house: House, kind: str) -> tuple[Command, str]:
    """A command that can be done now, and its outcome's type."""
    project = house.name("p") if kind == "project.create" else house.project()
    if kind == "project.create":
        return CreateProject(project=project), "bmi.project.created.v1"
    if kind == "project.remove":
        return RemoveProject(project=project), "bmi.project.removed.v1"
    if kind == "image.import":
        command = ImportImage(project=project, image="i", source=house.file(bios_disk()))
        return command, "bmi.image.imported.v1"
    if kind == "node.register":
        return RegisterNode(node=house.name("r"), macs=("52:54:00:77:00:01",)), "bmi.node.registered.v1"
    if kind == "node.remove":
        return RemoveNode(node=house.node()), "bmi.node.removed.v1"
    image = house.image(project)
    if kind.startswith("image."):
        return prepared_image(house, kind, project, image)
    node = house.node()
    if kind == "node.map":
        return MapNode(project=project, node=node, image=image), "bmi.node.mapped.v1"
    if kind == "node.maintenance":
        return MaintainNode(node=node, action="on", reason="why"), "bmi.node.maintained.v1"
    if kind.startswith("disk."):
        return prepared_disk(house, kind, project, image)
    house.mapped(project, image, node)
    return prepared_mapped(house, kind, project, node)


def prepared_image(house: House, kind: str, project: str, image: str) -> tuple[Command, str]:
    """The same for commands to images."""
    if kind == "image.remove":
        return RemoveImage(project=project, image=image), "bmi.image.removed.v1"
    if kind == "image.copy":
        return CopyImage(project=project, image=image, to="copy"), "bmi.image.copied.v1"
    if kind == "image.export":
        return ExportImage(project=project, image=image, to={"file": house.name("out")}), "bmi.image.exported.v1"
    if kind == "image.update":
        return UpdateImage(project=project, image=image, default_for={"os": "x"}), "bmi.image.updated.v1"
    if kind == "image.maintenance":
        return MaintainImage(project=project, image=image, action="on", reason="why"), "bmi.image.maintained.v1"
    house.did(RemoveImage(project=project, image=image))
    return RestoreImage(project=project, image=image), "bmi.image.restored.v1"


def prepared_mapped(house: House, kind: str, project: str, node: str) -> tuple[Command, str]:
    """The same for commands to a mapped node."""
    if kind == "node.snapshot":
        return SnapshotNode(project=project, node=node, image="s"), "bmi.image.created.v1"
    if kind == "node.rebuild":
        return RebuildNode(project=project, node=node), "bmi.node.mapped.v1"
    if kind == "node.power":
        other = house.node(power=NodePower(driver="memory", address=house.name("bmc")))
        return PowerNode(project=project, node=other, action="cycle"), "bmi.node.powered.v1"
    disk: Literal["park", "discard"] = "park" if kind == "node.unmap park" else "discard"
    return UnmapNode(project=project, node=node, disk=disk), "bmi.node.unmapped.v1"


def prepared_disk(house: House, kind: str, project: str, image: str) -> tuple[Command, str]:
    """The same for commands to disks."""
    create = CreateDisk(project=project, disk="d", image=image)
    if kind == "disk.create":
        return create, "bmi.disk.created.v1"
    house.did(create)
    if kind == "disk.resume":
        return MapNode(project=project, node=house.node(), disk="d"), "bmi.node.mapped.v1"
    if kind == "disk.snapshot":
        return SnapshotDisk(project=project, disk="d", image="s"), "bmi.image.created.v1"
    if kind == "disk.restore":
        house.did(RemoveDisk(project=project, disk="d"))
        return RestoreDisk(project=project, disk="d"), "bmi.disk.restored.v1"
    return RemoveDisk(project=project, disk="d"), "bmi.disk.removed.v1"


def send_in_turn(house: House, heard: Listener, ticket: Ticket, *kinds: str) -> None:
    """Each copy after the answer to the one before."""
    for copy in range(1, COPIES + 1):
        house.client().publish(ticket)
        heard.until(lambda copy=copy: all(len(heard.of(ticket.id, kind)) >= copy for kind in kinds))


def test_every_command_is_among_them() -> None:
    """A new one has to be sent five times, too. A disk that is resumed is a map."""
    public = {
        name.removeprefix("bmi.").removesuffix(".v1") for name, one in discover().commands.items() if not one.internal
    }
    assert {kind.partition(" ")[0] for kind in KINDS} - {"disk.resume"} == public


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_sent_five_times_is_done_once_and_answered_five_times(house: House, kind: str) -> None:
    command, outcome = prepared(house, kind)
    operations = house.rows("operation")
    with house.listener() as heard:
        ticket = house.ticket(command)
        send_in_turn(house, heard, ticket, ACCEPTED, outcome)
        for event in (ACCEPTED, outcome):
            copies = heard.of(ticket.id, event)
            assert len(copies) == COPIES
            assert len({(one.id, one.sequence, str(one.data)) for one in copies}) == 1, "the old event, not a new one"
        ends = [one for one in heard.of(ticket.id) if one.type not in (ACCEPTED, "bmi.operation.progressed.v1")]
        assert {one.type for one in ends} == {outcome}
    assert house.rows("operation") == operations + 1
    if kind == "node.register":
        house.did(RemoveNode(node=command.node))  # type: ignore[attr-defined]


def test_five_copies_at_once_have_one_effect_and_are_answered(house: House) -> None:
    project = house.project()
    image, node = house.image(project), house.node()
    disks = house.rows("disk")
    with house.listener() as heard:
        ticket = house.ticket(MapNode(project=project, node=node, image=image))
        for _ in range(COPIES):
            house.client().publish(ticket)
        heard.until(lambda: heard.of(ticket.id, "bmi.node.mapped.v1"))
        assert {one.data["operation"] for one in heard.of(ticket.id)} == {
            heard.of(ticket.id, ACCEPTED)[0].data["operation"]
        }
    assert house.rows("disk") == disks + 1
    house.did(UnmapNode(project=project, node=node))


def test_a_refused_command_is_refused_once_and_says_so_five_times(house: House) -> None:
    with house.listener() as heard, house.nothing_left():
        ticket = house.ticket(MapNode(project="nobody", node="none", image="nothing"))
        send_in_turn(house, heard, ticket, ACCEPTED, OperationFailed.type)
        assert len({one.id for one in heard.of(ticket.id, OperationFailed.type)}) == 1


def test_a_rejected_command_is_rejected_once_and_says_so_five_times(house: House) -> None:
    with house.listener() as heard:
        sound = house.ticket(CreateProject(project="p"))
        assert sound.envelope is not None
        broken = type(sound.envelope)(**{**vars(sound.envelope), "data": {"project": "Not A Name"}})
        ticket = Ticket.of(broken)
        send_in_turn(house, heard, ticket, CommandRejected.type)
        assert len({one.id for one in heard.of(ticket.id)}) == 1


def test_the_same_id_with_other_content_is_rejected_and_the_first_one_stands(house: House) -> None:
    first, second = house.name("p"), house.name("p")
    client = house.client()
    result = client.wait(CreateProject(project=first), 30, id=f"{first}-id")
    assert result.ok
    with house.nothing_left():
        other = client.wait(CreateProject(project=second), 30, id=f"{first}-id")
        assert other.state is State.REJECTED
        assert other.problem is not None
        assert other.problem.slug == "id-reused"
        assert "id of its own" in other.problem.todo
    again = client.wait(CreateProject(project=first), 30, id=f"{first}-id")
    assert again.ok
    assert again.operation == result.operation


def test_the_same_id_of_another_user_or_source_is_another_command(house: House) -> None:
    name = house.name("p")
    mine = house.client("alice").wait(CreateProject(project=name), 30, id="shared-id")
    theirs = house.client("bob").wait(CreateProject(project=name), 30, id="shared-id")
    assert mine.ok
    assert theirs.ok
    assert mine.operation != theirs.operation
