"""Every command over the real broker, with the event that says it is done, on both kinds of storage and database."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bmid.handlers.create_project import CreateProject
from bmid.handlers.import_image import ImportImage
from bmid.handlers.list_disks import ListDisks
from bmid.handlers.list_images import ListImages
from bmid.handlers.list_nodes import ListNodes
from bmid.handlers.list_operations import ListOperations
from bmid.handlers.list_projects import ListProjects
from bmid.handlers.map_node import MapNode
from bmid.handlers.register_node import NodePower, RegisterNode
from bmid.handlers.remove_image import RemoveImage
from bmid.handlers.remove_node import RemoveNode
from bmid.handlers.remove_project import RemoveProject
from bmid.handlers.show_disk import ShowDisk
from bmid.handlers.show_image import ShowImage
from bmid.handlers.show_node import ShowNode
from bmid.handlers.show_operation import ShowOperation
from bmid.handlers.show_project import ShowProject
from bmid.handlers.unmap_node import UnmapNode
from tests.support.bmid import House, new_token
from tests.support.image import MIB, PACKERS, bios_disk, qcow2, uefi_disk


def test_a_project_comes_and_goes(house: House) -> None:
    name = house.name("p")
    with house.nothing_left():
        made = house.did(CreateProject(project=name))
        assert (made["project"], made["changed"]) == (name, True)
        assert house.did(CreateProject(project=name))["changed"] is False
        assert house.did(RemoveProject(project=name))["changed"] is True
        assert house.did(RemoveProject(project=name))["changed"] is False


@pytest.mark.parametrize("packing", list(PACKERS))
@pytest.mark.parametrize("form", ["raw", "qcow2"])
@pytest.mark.parametrize("way", ["file", "upload"])
def test_an_image_is_imported_in_every_form_and_looked_at(
    house: House, way: str, form: str, packing: str, tmp_path: Path
) -> None:
    project, name = house.project(), house.name("i")
    disk = bios_disk()
    content = PACKERS[packing](qcow2(tmp_path, disk) if form == "qcow2" else disk)
    digest = hashlib.sha256(content).hexdigest()
    with house.nothing_left():
        if way == "file":
            data = house.did(ImportImage(project=project, image=name, source=house.file(content), sha256=digest))
        else:
            token, sha256 = new_token()
            result = house.upload(ImportImage(project=project, image=name, source={"upload": sha256}), token, content)
            assert result.ok, result.problem
            data = result.event.data
        assert (data["size"], data["format"], data["sha256"]) == (4 * MIB, form, digest)
        assert data["firmware"] == ["bios"]
        stored = b"".join(house.ports.storage.read_image(data["id"], number * MIB, MIB) for number in range(4))
        assert stored == disk
        assert house.query(ShowImage(project=project, image=name))["image"]["state"] == "ready"
        assert house.did(RemoveImage(project=project, image=name))["changed"] is True
        assert house.did(RemoveImage(project=project, image=name))["changed"] is False


def test_an_image_that_boots_by_uefi_says_so(house: House, tmp_path: Path) -> None:
    project = house.project()
    data = house.did(ImportImage(project=project, image="u", source=house.file(uefi_disk(tmp_path))))
    assert data["firmware"] == ["uefi"]
    data = house.did(ImportImage(project=project, image="none", source=house.file(bytes(MIB))))
    assert data["firmware"] == []


def test_a_node_comes_changes_and_goes(house: House) -> None:
    name = house.name("n")
    macs = ("52:54:00:99:00:01", "52:54:00:99:00:02")
    power = NodePower(driver="redfish", address="https://bmc1/redfish/v1/Systems/1", credential="bmc")
    full = RegisterNode(
        node=name, macs=macs, boot_mac=macs[1], firmware="uefi", address="127.1.7.9", labels={"rack": "r1"}, power=power
    )
    with house.nothing_left():
        made = house.did(full)
        assert (made["boot_mac"], made["firmware"], made["address"], made["changed"]) == (
            macs[1],
            "uefi",
            "127.1.7.9",
            True,
        )
        assert house.did(full)["changed"] is False
        shown = house.query(ShowNode(node=name))["node"]
        assert (shown["macs"], shown["labels"], shown["power"]) == (list(macs), {"rack": "r1"}, "redfish")
        assert house.did(RegisterNode(node=name, macs=macs[:1]))["changed"] is True
        assert house.query(ShowNode(node=name))["node"]["power"] is None
        assert house.did(RemoveNode(node=name))["changed"] is True
        assert house.did(RemoveNode(node=name))["changed"] is False


def test_a_map_makes_a_disk_and_an_unmap_leaves_no_trace_of_it(house: House) -> None:
    project = house.project()
    image, node = house.image(project), house.node()
    with house.nothing_left():
        mapped = house.did(MapNode(project=project, node=node, image=image))
        disk = house.disk(mapped)
        assert (mapped["node"], mapped["changed"], mapped["power"]) == (node, True, "none")
        assert (disk.node, disk.address, disk.hostname) == (node, mapped["address"], node)
        [export] = [one for one in house.ports.target.exports("s0") if one.iqn == mapped["target"]]
        assert export.open
        assert export.addresses == (mapped["address"],)
        pointer = house.ports.boot.pointer(mapped["address"])
        assert pointer is not None
        assert (pointer.disk, pointer.complete) == (disk.id, True)
        assert (house.parts.tftp / mapped["address"] / "boot.ipxe").stat().st_mode & 0o777 == 0o640
        again = house.did(MapNode(project=project, node=node, image=image))
        assert (again["changed"], again["disk"]) == (False, mapped["disk"])
        unmapped = house.did(UnmapNode(project=project, node=node))
        assert (unmapped["disk"], unmapped["changed"], unmapped["power"]) == (mapped["disk"], True, "unknown")
        assert house.did(UnmapNode(project=project, node=node))["changed"] is False


def test_a_node_may_be_mapped_to_an_image_of_another_project(house: House) -> None:
    owner, user = house.project(), house.project()
    image, node = house.image(owner), house.node()
    mapped = house.did(MapNode(project=user, node=node, image=f"{owner}/{image}"))
    assert house.query(ShowDisk(project=user, disk=mapped["disk"]))["disk"]["image"] == f"{owner}/{image}"
    house.did(UnmapNode(project=user, node=node))


def test_queries_list_and_show_everything(house: House) -> None:
    project = house.project()
    image, node = house.image(project), house.node()
    result = house.ask(MapNode(project=project, node=node, image=image))
    assert result.ok
    disk = result.event.data["disk"]
    assert project in [one["project"] for one in house.query(ListProjects(name=project))["projects"]]
    assert [one["image"] for one in house.query(ListImages(project=project))["images"]] == [image]
    assert [one["disk"] for one in house.query(ListDisks(project=project))["disks"]] == [disk]
    [mine] = house.query(ListNodes(name=node))["nodes"]
    assert (mine["state"], mine["project"], mine["image"]) == ("mapped", project, f"{project}/{image}")
    newest = house.query(ListOperations(project=project, limit=1))["operations"]
    assert [(one["operation"], one["phase"]) for one in newest] == [(result.operation, "succeeded")]
    assert house.query(ShowProject(project=project))["project"]["disks"] == [disk]
    assert house.query(ShowImage(project=project, image=image))["image"]["disks"] == [
        {"disk": disk, "project": project, "node": node}
    ]
    assert house.query(ShowNode(node=node))["node"]["boot"]["stage"] == "waiting"
    assert house.query(ShowDisk(project=project, disk=disk))["disk"]["node"] == node
    for query in (ShowOperation(operation=result.operation), ShowOperation(message=result.ticket.id)):
        shown = house.query(query)["operation"]
        assert shown["operation"] == result.operation
        assert shown["steps"] == ["require-allocated", "clone-disk", "export-disk", "point-boot"]
    house.did(UnmapNode(project=project, node=node))


def test_long_work_tells_how_far_it_is(house: House) -> None:
    project = house.project()
    heard = []
    house.did(ImportImage(project=project, image="i", source=house.file(bios_disk())), on_event=heard.append)
    steps = [one.data for one in heard if one.type == "bmi.operation.progressed.v1"]
    assert steps
    assert (steps[-1]["done"], steps[-1]["total"]) == (4 * MIB, 4 * MIB)
