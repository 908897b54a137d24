"""Disks that outlive their node's map, or never had one: parked, resumed, made and removed by themselves."""

from __future__ import annotations

import pytest

from bmi_publish import State, Ticket
from bmid.handlers.create_disk import CreateDisk
from bmid.handlers.map_node import MapNode
from bmid.handlers.remove_disk import RemoveDisk
from bmid.handlers.remove_image import RemoveImage
from bmid.handlers.unmap_node import UnmapNode
from bmid.messages.envelope import Envelope
from tests.support.bmid import House
from tests.support.image import MIB, bios_disk


def park(house: House, project: str, node: str) -> str:
    """The node is taken off its disk; the disk's name."""
    parked = house.did(UnmapNode(project=project, node=node, disk="park"))
    assert parked["parked"]
    return str(parked["disk"])


def test_a_parked_disk_goes_on_at_another_node_with_its_files_name_and_address(house: House) -> None:
    project, first, second = house.project(), house.node(), house.node()
    with house.nothing_left():
        image = house.image(project)
        mapped = house.mapped(project, image, first)
        before = house.secret(mapped)
        with house.initiator(mapped) as one:
            one.write(2 * MIB, 4096, 0xAB)
        kept = park(house, project, first)
        with house.initiator(mapped) as one:
            assert not one.enters()
        other = house.mapped(project, image, first)
        assert other["address"] != mapped["address"], "the parked disk keeps its own"
        resumed = house.did(MapNode(project=project, node=second, disk=kept))
        assert (resumed["disk"], resumed["address"], resumed["hostname"], resumed["resumed"]) == (
            kept, mapped["address"], first, True,
        )  # fmt: skip
        assert house.secret(resumed) != before
        with house.initiator(resumed) as one:
            assert one.read(2 * MIB, 4096) == b"\xab" * 4096
        assert house.did(MapNode(project=project, node=second, disk=kept))["changed"] is False
        for node in (first, second):
            house.did(UnmapNode(project=project, node=node))
        house.did(RemoveImage(project=project, image=image))


def test_a_disk_for_another_provisioner_is_made_used_by_a_node_and_removed(house: House) -> None:
    project, node = house.project(), house.node()
    image = house.image(project)
    with house.nothing_left():
        command = CreateDisk(project=project, disk="data", image=image)
        made = house.did(command)
        assert made["location"] == house.ports.storage.backing(made["id"]).path
        again = house.did(command)
        assert (again["changed"], again["id"], again["location"]) == (False, made["id"], made["location"])
        mapped = house.did(MapNode(project=project, node=node, disk="data"))
        with house.initiator(mapped) as one:
            assert one.read(MIB, 512) == bios_disk()[MIB : MIB + 512]
        refused = house.refusal(RemoveDisk(project=project, disk="data"))
        assert (refused.slug, refused.extra["node"]) == ("disk-mapped", node)
        park(house, project, node)
        assert house.did(RemoveDisk(project=project, disk="data"))["changed"] is True
        assert house.did(RemoveDisk(project=project, disk="data"))["changed"] is False


def test_a_parked_disk_holds_its_image_and_is_nobody_elses(house: House) -> None:
    project, stranger = house.project(), house.project()
    image, other, node = house.image(project), house.image(project), house.node()
    house.did(CreateDisk(project=project, disk="mine", image=image))
    with house.nothing_left():
        assert house.refusal(RemoveImage(project=project, image=image)).slug == "image-in-use"
        assert house.refusal(MapNode(project=stranger, node=node, disk="mine")).slug == "disk-unknown"
        assert house.did(RemoveDisk(project=stranger, disk="mine"))["changed"] is False
        assert house.refusal(CreateDisk(project=project, disk="mine", image=other)).slug == "disk-exists"
    house.did(RemoveDisk(project=project, disk="mine"))


def test_a_disk_is_not_resumed_on_a_node_that_its_image_cannot_boot(house: House) -> None:
    project = house.project()
    house.did(CreateDisk(project=project, disk="old", image=house.image(project)))
    uefi = house.node(firmware="uefi")
    with house.nothing_left():
        refused = house.refusal(MapNode(project=project, node=uefi, disk="old"))
        assert refused.slug == "firmware-mismatch"
    house.did(MapNode(project=project, node=house.node(), disk="old"))


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("node.map", {"node": "n1", "image": "i", "disk": "d"}),
        ("node.map", {"node": "n1", "disk": "other/d"}),
        ("node.unmap", {"node": "n1", "disk": "keep"}),
        ("disk.create", {"disk": "../d", "image": "i"}),
        ("disk.create", {"disk": "d"}),
        ("disk.remove", {"disk": "other/d"}),
        ("disk.snapshot", {"disk": "d"}),
        ("node.snapshot", {"node": "n1", "image": "other/i"}),
        ("node.rebuild", {"node": "n1", "image": "i", "image_labels": {"a": "b"}}),
        ("node.power", {"node": "n1", "action": "reset"}),
        ("node.power", {"node": "n1", "nodes": ["n2"], "action": "on"}),
    ],
)
def test_what_can_never_be_right_is_rejected_with_the_reasons(house: House, kind: str, data: dict[str, object]) -> None:
    message = f"bad-{house.name('m')}"
    envelope = Envelope(id=message, source="/tests/alice", type=f"bmi.{kind}.v1", data={"project": "p1", **data})
    with house.nothing_left():
        result = house.client().wait(Ticket.of(envelope), 30)
    assert result.state is State.REJECTED
    assert result.problem is not None
    assert result.problem.slug == "data-invalid"
