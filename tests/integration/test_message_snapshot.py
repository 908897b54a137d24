"""Golden images made of disks: they are whole, need the disk no longer, and leave nothing where they fail."""

from __future__ import annotations

from bmid.handlers.create_disk import CreateDisk
from bmid.handlers.map_node import MapNode
from bmid.handlers.remove_disk import RemoveDisk
from bmid.handlers.remove_image import RemoveImage
from bmid.handlers.snapshot_disk import SnapshotDisk
from bmid.handlers.snapshot_node import SnapshotNode
from bmid.handlers.unmap_node import UnmapNode
from tests.support.bmid import House
from tests.support.image import MIB, bios_disk


def test_a_snapshot_outlives_the_disk_and_another_node_finds_its_files(house: House) -> None:
    project, node, other = house.project(), house.node(), house.node()
    with house.nothing_left():
        image = house.image(project)
        mapped = house.mapped(project, image, node)
        with house.initiator(mapped) as one:
            one.write(2 * MIB, 4096, 0xAB)
        made = house.did(SnapshotNode(project=project, node=node, image="snap", description="mine"))
        assert (made["parent"], made["size"], made["firmware"]) == (f"{project}/{image}", len(bios_disk()), ["bios"])
        with house.initiator(mapped) as one:
            one.write(2 * MIB, 4096, 0xCD)  # the disk goes on, and the image doesn't change with it
        house.did(UnmapNode(project=project, node=node))
        second = house.mapped(project, "snap", other)
        with house.initiator(second) as one:
            assert one.read(2 * MIB, 4096) == b"\xab" * 4096
            assert one.read(0, 512) == bios_disk()[:512]
        refused = house.refusal(RemoveImage(project=project, image=image))
        assert (refused.slug, refused.extra["hanging"]) == ("image-in-use", [f"image snap of project {project}"])
        house.did(UnmapNode(project=project, node=other))
        house.did(RemoveImage(project=project, image="snap"))
        house.did(RemoveImage(project=project, image=image))


def test_a_snapshot_of_a_parked_disk_is_an_image_like_any_other(house: House) -> None:
    project, node = house.project(), house.node()
    image = house.image(project)
    with house.nothing_left():
        house.did(CreateDisk(project=project, disk="base", image=image))
        mapped = house.did(MapNode(project=project, node=node, disk="base"))
        with house.initiator(mapped) as one:
            one.write(MIB, 512, 0x11)
        house.did(UnmapNode(project=project, node=node, disk="park"))
        house.did(SnapshotDisk(project=project, disk="base", image="next"))
        house.did(RemoveDisk(project=project, disk="base"))
        copy = house.mapped(project, "next", node)
        with house.initiator(copy) as one:
            assert one.read(MIB, 512) == b"\x11" * 512
        house.did(UnmapNode(project=project, node=node))
        house.did(RemoveImage(project=project, image="next"))


def test_a_running_system_is_copied_only_where_that_is_asked_for_and_can_be(house: House) -> None:
    """And after the refusal the second try works."""
    project, node = house.project(), house.node()
    mapped = house.mapped(project, house.image(project), node)
    quiet = SnapshotNode(project=project, node=node, image="snap")
    live = SnapshotNode(project=project, node=node, image="live", crash_consistent=True)
    with house.initiator(mapped) as one:
        with one.running():
            with house.nothing_left():
                assert house.refusal(quiet).slug == "session-live"
            if house.ports.storage.capabilities.live_snapshot:
                assert house.did(live)["crash_consistent"] is True
            else:
                with house.nothing_left():
                    assert house.refusal(live).slug == "live-snapshot-unsupported"
        house.until(lambda: house.ask(quiet).ok)
        assert one.enters(), "its disk is as it was"
    house.did(UnmapNode(project=project, node=node, force=True))


def test_names_of_others_and_names_that_are_taken_are_refused(house: House) -> None:
    project, stranger, node = house.project(), house.project(), house.node()
    image = house.image(project)
    house.mapped(project, image, node)
    house.did(CreateDisk(project=project, disk="kept", image=image))
    with house.nothing_left():
        wrong = {
            "node-of-another-project": SnapshotNode(project=stranger, node=node, image="s"),
            "disk-unknown": SnapshotDisk(project=stranger, disk="kept", image="s"),
            "image-exists": SnapshotNode(project=project, node=node, image=image),
            "project-unknown": SnapshotDisk(project="nobody", disk="kept", image="s"),
        }
        for slug, command in wrong.items():
            assert house.refusal(command).slug == slug
    assert house.refusal(SnapshotNode(project=project, node=house.node(), image="s")).slug == "node-not-mapped"
    house.did(UnmapNode(project=project, node=node))
    house.did(RemoveDisk(project=project, disk="kept"))
