"""What the state of the site doesn't allow: said in words a person can act on, with nothing done."""

from __future__ import annotations

from pathlib import Path

import pytest

from bmid.handlers.import_image import ImageSource, ImportImage
from bmid.handlers.map_node import MapNode
from bmid.handlers.register_node import NodePower, RegisterNode
from bmid.handlers.remove_image import RemoveImage
from bmid.handlers.remove_node import RemoveNode
from bmid.handlers.remove_project import RemoveProject
from bmid.handlers.unmap_node import UnmapNode
from tests.support.bmid import House
from tests.support.image import MIB, bios_disk, uefi_disk


def test_a_project_that_owns_something_is_kept_and_what_it_owns_is_named(house: House) -> None:
    project = house.project()
    image = house.image(project)
    mapped = house.mapped(project, image)
    with house.nothing_left():
        problem = house.refusal(RemoveProject(project=project))
        assert problem.slug == "project-not-empty"
        assert image in problem.detail
        assert mapped["disk"] in problem.detail
        assert problem.todo
    house.did(UnmapNode(project=project, node=mapped["node"]))
    house.did(RemoveImage(project=project, image=image))
    house.did(RemoveProject(project=project))


def test_an_image_that_disks_hang_on_is_kept_and_they_are_named(house: House) -> None:
    owner, user = house.project(), house.project()
    image = house.image(owner)
    mine = house.mapped(owner, image)
    theirs = house.mapped(user, f"{owner}/{image}")
    with house.nothing_left():
        problem = house.refusal(RemoveImage(project=owner, image=image))
        assert problem.slug == "image-in-use"
        for part in (mine["disk"], theirs["disk"], user):
            assert part in problem.detail
        assert "Unmap" in problem.todo
    for project, mapped in ((owner, mine), (user, theirs)):
        house.did(UnmapNode(project=project, node=mapped["node"]))
    house.did(RemoveImage(project=owner, image=image))


def test_a_mapped_node_is_not_removed_and_not_changed_under_its_system(house: House) -> None:
    project = house.project()
    mapped = house.mapped(project, house.image(project))
    node = mapped["node"]
    with house.nothing_left():
        problem = house.refusal(RemoveNode(node=node))
        assert problem.slug == "node-mapped"
        assert mapped["disk"] in problem.detail
        assert "Unmap" in problem.todo
        assert house.refusal(RegisterNode(node=node, macs=("52:54:00:66:00:01",))).slug == "node-mapped"
    house.did(UnmapNode(project=project, node=node))
    house.did(RemoveNode(node=node))


def test_a_node_that_another_project_has_mapped_is_left_alone(house: House) -> None:
    owner, other = house.project(), house.project()
    image = house.image(owner)
    mapped = house.mapped(owner, image)
    with house.nothing_left():
        assert house.refusal(UnmapNode(project=other, node=mapped["node"])).slug == "node-of-another-project"
        problem = house.refusal(MapNode(project=other, node=mapped["node"], image=f"{owner}/{image}"))
        assert problem.slug == "disk-in-place"
    house.did(UnmapNode(project=owner, node=mapped["node"]))


def test_another_image_is_refused_and_the_disk_in_place_is_named(house: House) -> None:
    project = house.project()
    mapped, other = house.mapped(project, house.image(project)), house.image(project)
    with house.nothing_left():
        problem = house.refusal(MapNode(project=project, node=mapped["node"], image=other))
        assert problem.slug == "disk-in-place"
        assert mapped["disk"] in problem.detail
        assert "Unmap" in problem.todo
    house.did(UnmapNode(project=project, node=mapped["node"]))


def test_what_is_not_there_is_named(house: House) -> None:
    project = house.project()
    image, node = house.image(project), house.node()
    with house.nothing_left():
        for command, slug in (
            (MapNode(project="nobody", node=node, image=image), "project-unknown"),
            (MapNode(project=project, node="nowhere", image=image), "node-unknown"),
            (MapNode(project=project, node=node, image="nothing"), "image-unknown"),
            (UnmapNode(project=project, node="nowhere"), "node-unknown"),
            (MapNode(project=project, node=node, image=image, power="cycle"), "no-power-driver"),
            (ImportImage(project="nobody", image="i", source=ImageSource(file="x")), "project-unknown"),
        ):
            problem = house.refusal(command)
            assert problem.slug == slug
            assert problem.todo


def test_a_taken_image_name_is_refused(house: House) -> None:
    project = house.project()
    image = house.image(project)
    with house.nothing_left():
        problem = house.refusal(ImportImage(project=project, image=image, source=house.file(bios_disk())))
        assert problem.slug == "image-exists"
        assert image in problem.detail


def test_a_taken_mac_or_address_is_refused_and_its_owner_named(house: House) -> None:
    mac, address = "52:54:00:55:00:01", "127.1.7.20"
    owner, other = house.node(macs=(mac,), address=address), house.name("n")
    with house.nothing_left():
        problem = house.refusal(RegisterNode(node=other, macs=("52:54:00:55:00:02", mac.upper().replace(":", "-"))))
        assert problem.slug == "mac-taken"
        assert owner in problem.detail
        problem = house.refusal(RegisterNode(node=other, macs=("52:54:00:55:00:02",), address=address))
        assert problem.slug == "address-taken"
        assert owner in problem.detail
        problem = house.refusal(RegisterNode(node=other, macs=("52:54:00:55:00:02",), address="10.0.0.1"))
        assert problem.slug == "address-outside"
        problem = house.refusal(RegisterNode(node=other, macs=("52:54:00:55:00:02",), boot_mac="52:54:00:55:00:03"))
        assert problem.slug == "boot-nic-unknown"
    house.did(RemoveNode(node=owner))


def test_an_address_that_a_disk_uses_is_refused(house: House) -> None:
    project = house.project()
    mapped = house.mapped(project, house.image(project))
    with house.nothing_left():
        command = RegisterNode(node=house.name("n"), macs=("52:54:00:44:00:01",), address=mapped["address"])
        problem = house.refusal(command)
        assert problem.slug == "address-taken"
        assert mapped["disk"] in problem.detail
    house.did(UnmapNode(project=project, node=mapped["node"]))


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_an_image_that_cannot_boot_in_the_nodes_firmware_is_refused_unless_forced(
    house: House, firmware: str, tmp_path: Path
) -> None:
    project = house.project()
    image = house.image(project, uefi_disk(tmp_path) if firmware == "bios" else bios_disk())
    node = house.node(firmware=firmware)
    with house.nothing_left():
        problem = house.refusal(MapNode(project=project, node=node, image=image))
        assert problem.slug == "firmware-mismatch"
        assert firmware in problem.detail
        assert "force" in problem.todo
        house.did(MapNode(project=project, node=node, image=image, force=True))
        house.did(UnmapNode(project=project, node=node))


def test_an_image_that_nothing_can_boot_is_refused_on_any_node(house: House) -> None:
    project = house.project()
    image, node = house.image(project, bytes(MIB)), house.node()
    with house.nothing_left():
        assert house.refusal(MapNode(project=project, node=node, image=image)).slug == "firmware-mismatch"


def test_a_power_driver_that_this_head_lacks_fails_and_is_undone(house: House) -> None:
    project = house.project()
    node = house.node(power=NodePower(driver="ipmi", address="10.0.0.1"))
    image = house.image(project)
    with house.nothing_left():
        result = house.ask(MapNode(project=project, node=node, image=image))
        assert not result.ok
        assert result.problem is not None
        assert result.problem.slug == "power-driver-unknown"
        assert "settings" in result.problem.todo
