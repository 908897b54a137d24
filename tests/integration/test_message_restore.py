"""Undo on the real parts: what a node wrote is there again after its disk, and its image, were removed."""

from __future__ import annotations

from bmid.handlers.list_trash import ListTrash
from bmid.handlers.map_node import MapNode
from bmid.handlers.remove_image import RemoveImage
from bmid.handlers.restore_disk import RestoreDisk
from bmid.handlers.restore_image import RestoreImage
from bmid.handlers.unmap_node import UnmapNode
from tests.support.bmid import House
from tests.support.image import MIB


def test_what_a_node_wrote_comes_back_with_its_disk_and_its_image(house: House) -> None:
    project, node, other = house.project(), house.node(), house.node()
    with house.nothing_left():
        image = house.image(project)
        mapped = house.mapped(project, image, node)
        with house.initiator(mapped) as one:
            one.write(2 * MIB, 4096, 0xAB)
        told = house.did(UnmapNode(project=project, node=node))
        house.did(RemoveImage(project=project, image=image))
        listed = house.query(ListTrash(project=project))["trash"]
        assert [(one["kind"], one["name"], one["image"]) for one in listed] == [
            ("disk", mapped["disk"], f"{project}/{image}"),
            ("image", image, None),
        ]
        assert listed[0]["expires_at"][:19] == told["restorable_until"][:19]
        assert house.refusal(RestoreDisk(project=project, disk=mapped["disk"])).slug == "parent-in-trash"
        house.did(RestoreImage(project=project, image=image))
        house.did(RestoreDisk(project=project, disk=mapped["disk"]))
        resumed = house.did(MapNode(project=project, node=other, disk=mapped["disk"]))
        assert (resumed["address"], resumed["resumed"]) == (mapped["address"], True)
        with house.initiator(resumed) as one:
            assert one.read(2 * MIB, 4096) == b"\xab" * 4096
        house.did(UnmapNode(project=project, node=other))
        house.did(RemoveImage(project=project, image=image))
