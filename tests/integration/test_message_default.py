"""What is said of images, and which one a project means by labels: changed by updates alone, and gone with them."""

from __future__ import annotations

from bmi_publish import State
from bmid.handlers.copy_image import CopyImage
from bmid.handlers.map_node import MapNode
from bmid.handlers.remove_image import RemoveImage
from bmid.handlers.show_image import ShowImage
from bmid.handlers.unmap_node import UnmapNode
from bmid.handlers.update_image import UpdateImage
from tests.support.bmid import House

OS = {"os": "debian", "release": "stable"}


def test_what_is_said_of_an_image_is_replaced_and_the_rest_stays(house: House) -> None:
    project = house.project()
    image = house.image(project, description="first")
    said = house.did(UpdateImage(project=project, image=image, labels={"a": "b"}))
    assert (said["description"], said["labels"], said["changed"]) == ("first", {"a": "b"}, True)
    assert house.did(UpdateImage(project=project, image=image, labels={"a": "b"}))["changed"] is False
    house.did(UpdateImage(project=project, image=image, description="second"))
    shown = house.query(ShowImage(project=project, image=image))["image"]
    assert (shown["description"], shown["labels"]) == ("second", {"a": "b"})


def test_a_node_gets_the_image_that_its_project_means_by_labels(house: House) -> None:
    """Exactly these labels, of this project; the last image that was said to be meant; none when that is gone."""
    project, other, node = house.project(), house.project(), house.node()
    first, second = house.image(project), house.image(project)
    house.did(UpdateImage(project=project, image=first, default_for=OS))
    assert house.did(UpdateImage(project=project, image=second, default_for=OS))["defaults"] == [OS]
    with house.nothing_left():
        for command in (
            MapNode(project=project, node=node, image_labels={"os": "debian"}),
            MapNode(project=project, node=node, image_labels={**OS, "more": "x"}),
            MapNode(project=other, node=node, image_labels=OS),
        ):
            assert house.refusal(command).slug == "image-unknown"
    mapped = house.did(MapNode(project=project, node=node, image_labels=OS))
    assert mapped["image"] == f"{project}/{second}"
    assert house.refusal(RemoveImage(project=project, image=second)).slug == "image-in-use"
    house.did(UnmapNode(project=project, node=node))
    house.did(RemoveImage(project=project, image=second))
    with house.nothing_left():
        assert house.refusal(MapNode(project=project, node=node, image_labels=OS)).slug == "image-unknown"
    house.did(UpdateImage(project=project, image=first, default_for=OS))
    assert house.did(MapNode(project=project, node=node, image_labels=OS))["changed"]
    house.did(UnmapNode(project=project, node=node))


def test_two_images_that_want_the_same_labels_at_once_end_with_one_of_them(house: House) -> None:
    """And giving up what another one has taken takes nothing away from it."""
    project = house.project()
    images = [house.image(project) for _ in range(2)]
    client = house.client()
    for _ in range(3):
        updates = [UpdateImage(project=project, image=image, default_for=OS) for image in images]
        results = client.wait_all([client.ticket(one) for one in updates], 60)
        assert [result.state for result in results] == [State.DONE] * 2
        meant = [house.did(UpdateImage(project=project, image=image, description="x"))["defaults"] for image in images]
        assert sorted(meant, key=len) == [[], [OS]]
    winner, loser = (images[meant.index(one)] for one in ([OS], []))
    house.did(UpdateImage(project=project, image=loser, no_default=True))
    assert house.did(UpdateImage(project=project, image=winner, labels={"z": "z"}))["defaults"] == [OS]


def test_a_copy_is_meant_by_no_labels(house: House) -> None:
    project = house.project()
    image = house.image(project)
    house.did(UpdateImage(project=project, image=image, default_for=OS, labels={"a": "b"}))
    house.did(CopyImage(project=project, image=image, to="copy"))
    said = house.did(UpdateImage(project=project, image="copy", description="x"))
    assert (said["labels"], said["defaults"]) == ({"a": "b"}, [])
    assert house.refusal(UpdateImage(project=project, image="none", labels={})).slug == "image-unknown"
