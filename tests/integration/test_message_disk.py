"""What a map is for: the node, and nobody else, reads and writes its own disk, on real initiators."""

from __future__ import annotations

from bmid.handlers.unmap_node import UnmapNode
from tests.support.bmid import House
from tests.support.image import MIB, bios_disk


def test_a_mapped_node_finds_the_golden_bytes_and_keeps_what_it_writes(house: House) -> None:
    project = house.project()
    mapped = house.mapped(project, house.image(project))
    with house.initiator(mapped) as node:
        assert node.enters()
        assert node.read(0, 512) == bios_disk()[:512]
        node.write(2 * MIB, 4096, 0xAB)
    with house.initiator(mapped) as node:
        assert node.read(2 * MIB, 4096) == b"\xab" * 4096
    house.did(UnmapNode(project=project, node=mapped["node"], force=True))


def test_two_nodes_on_one_image_never_see_each_others_writes(house: House) -> None:
    project = house.project()
    image = house.image(project)
    first, second = house.mapped(project, image), house.mapped(project, image)
    with house.initiator(first) as one, house.initiator(second) as other:
        one.write(MIB, 512, 1)
        other.write(MIB, 512, 2)
        assert (one.read(MIB, 512), other.read(MIB, 512)) == (b"\x01" * 512, b"\x02" * 512)
    third = house.mapped(project, image)
    with house.initiator(third) as fresh:
        assert fresh.read(MIB, 512) == bios_disk()[MIB : MIB + 512], "the golden image is as it was"
    for mapped in (first, second, third):
        house.did(UnmapNode(project=project, node=mapped["node"], force=True))


def test_nobody_else_gets_in(house: House) -> None:
    project = house.project()
    image = house.image(project)
    mine, theirs = house.mapped(project, image), house.mapped(project, image)
    wrong = {
        "a wrong secret": {"secret": "A" * 16},
        "another disk's secret": {"secret": house.secret(theirs)},
        "another disk's name": {"user": house.disk(theirs).id},
        "a target that isn't there": {"iqn": mine["target"] + "x"},
        "another node's address": {"address": theirs["address"]},
        "no node's address": {"address": "127.0.0.1"},
        "all of another node's, on my target": {
            "user": house.disk(theirs).id,
            "secret": house.secret(theirs),
            "address": theirs["address"],
        },
    }
    for name, other in wrong.items():
        with house.initiator(mine, **other) as stranger:
            assert not stranger.enters(), name
    with house.initiator(mine) as node:
        assert node.enters()
    for mapped in (mine, theirs):
        house.did(UnmapNode(project=project, node=mapped["node"], force=True))


def test_an_unmapped_node_is_out_and_its_next_disk_has_another_secret(house: House) -> None:
    project = house.project()
    image, node = house.image(project), house.node()
    first = house.mapped(project, image, node)
    before = house.secret(first)
    with house.initiator(first) as one:
        one.write(MIB, 512, 7)
        house.did(UnmapNode(project=project, node=node, force=True))
        assert not one.enters()
    second = house.mapped(project, image, node)
    assert second["disk"] != first["disk"]
    assert house.secret(second) != before
    with house.initiator(second) as one:
        assert one.read(MIB, 512) == bios_disk()[MIB : MIB + 512], "nothing of the old disk is on the new one"
    house.did(UnmapNode(project=project, node=node, force=True))
