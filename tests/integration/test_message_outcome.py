"""Every command over the real broker, with the event that says it is done, on both kinds of storage and database."""

from __future__ import annotations

from bmi_publish import State
from bmid.handlers.create_project import CreateProject
from bmid.handlers.import_image import ImportImage
from bmid.handlers.map_node import MapNode
from bmid.handlers.register_node import RegisterNode
from bmid.handlers.remove_image import RemoveImage
from bmid.handlers.remove_node import RemoveNode
from bmid.handlers.remove_project import RemoveProject
from bmid.handlers.unmap_node import UnmapNode
from tests.support.bmid import House
from tests.support.image import MIB, bios_disk


def test_a_project_comes_and_goes(house: House) -> None:
    name = house.name("p")
    with house.nothing_left():
        assert house.did(CreateProject(project=name)) | {"operation": ""} == {
            "operation": "",
            "project": name,
            "changed": True,
        }
        assert house.did(CreateProject(project=name))["changed"] is False
        assert house.did(RemoveProject(project=name))["changed"] is True
        assert house.did(RemoveProject(project=name))["changed"] is False
