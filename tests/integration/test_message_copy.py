"""Copies of golden images, and images that come from somebody else's pool: the same bytes, and nobody is disturbed."""

from __future__ import annotations

import os

import pytest

from bmi_publish import State
from bmid.errors import Problem
from bmid.handlers.copy_image import CopyImage
from bmid.handlers.create_project import CreateProject
from bmid.handlers.import_image import ImageSource, ImportImage, RbdSource
from bmid.handlers.map_node import MapNode
from bmid.handlers.remove_image import RemoveImage
from bmid.handlers.remove_project import RemoveProject
from bmid.handlers.unmap_node import UnmapNode
from bmid.model.entity import Image
from bmid.store.view import StoreView
from tests.support.bmid import House
from tests.support.image import MIB, bios_disk
from tests.support.strange import STRANGE, foreign, held, look


def row(house: House, project: str, name: str) -> Image:
    """The row of an image."""
    with house.database.read() as tx:
        found = StoreView(tx, 60).image(project, name)
    assert found is not None
    return found


def content(house: House, project: str, name: str) -> bytes:
    """The bytes of an image."""
    image = row(house, project, name)
    return house.ports.storage.read_image(image.id, 0, image.size)


def maps(house: House, project: str, image: str) -> None:
    """A node runs from it, and is taken off it again."""
    mapped = house.mapped(project, image)
    with house.initiator(mapped) as node:
        assert node.read(MIB, 512)[:6] == b"golden"
    house.did(UnmapNode(project=project, node=mapped["node"]))


def shares(house: House) -> bool:
    """Whether its storage shares bytes between images: a folder does only where its file system knows reflinks."""
    return house.ports.storage.capabilities.cow


def test_a_copy_in_another_project_is_the_same_image(house: House) -> None:
    """What is said of the original comes along."""
    owner, other = house.project(), house.project()
    image = house.image(owner, description="stable")
    copied = house.did(CopyImage(project=owner, image=image, to="copy", to_project=other))
    assert (copied["source"], copied["to_project"], copied["cloned"]) == (f"{owner}/{image}", other, shares(house))
    original, copy = row(house, owner, image), row(house, other, "copy")
    for field in ("size", "format", "sha256", "firmware", "description"):
        assert getattr(copy, field) == getattr(original, field)
    assert content(house, other, "copy") == content(house, owner, image) == bios_disk()
    maps(house, other, "copy")
    assert house.refusal(RemoveProject(project=other)).slug == "project-not-empty"


def test_an_original_stays_until_its_clones_are_gone(ceph_house: House) -> None:
    house, owner, other = ceph_house, ceph_house.project(), ceph_house.project()
    image = house.image(owner)
    house.did(CopyImage(project=owner, image=image, to="copy", to_project=other))
    with house.nothing_left():
        problem = house.refusal(RemoveImage(project=owner, image=image))
        assert problem.slug == "image-in-use"
        assert f"image copy of project {other}" in problem.detail
    house.did(RemoveImage(project=other, image="copy"))
    house.did(RemoveImage(project=owner, image=image))


def test_a_full_copy_outlives_the_original(house: House) -> None:
    owner, other = house.project(), house.project()
    image = house.image(owner)
    copied = house.did(CopyImage(project=other, image=f"{owner}/{image}", to="copy", flatten=True))
    assert copied["cloned"] is False
    house.did(RemoveImage(project=owner, image=image))
    assert content(house, other, "copy") == bios_disk()
    maps(house, other, "copy")


def test_a_copy_onto_a_name_that_is_taken_is_refused_and_the_taken_one_stays(house: House) -> None:
    project, other = house.project(), house.project()
    image, taken = house.image(project), house.image(other, bios_disk(mark=b"theirs"))
    with house.nothing_left():
        for command in (
            CopyImage(project=project, image=image, to=image),
            CopyImage(project=project, image=image, to=taken, to_project=other),
            CopyImage(project=project, image=image, to=taken, to_project=other, flatten=True),
        ):
            problem = house.refusal(command)
            assert problem.slug == "image-exists"
            assert problem.todo
    assert content(house, other, taken)[MIB : MIB + 6] == b"theirs"


def test_of_what_is_not_there_no_copy_is_made_and_the_next_try_works(house: House) -> None:
    """Also not of an image of that name in another project, nor into a project that doesn't know of it."""
    project, other, late = house.project(), house.project(), house.name("p")
    image = house.image(project)
    with house.nothing_left():
        for command, slug in (
            (CopyImage(project=other, image=image, to="copy"), "image-unknown"),
            (CopyImage(project=other, image=f"{project}/none", to="copy"), "image-unknown"),
            (CopyImage(project=late, image=f"{project}/{image}", to="copy"), "project-unknown"),
            (CopyImage(project=project, image=image, to="copy", to_project=late), "project-unknown"),
        ):
            assert house.refusal(command).slug == slug
    house.did(CreateProject(project=late))
    house.did(CopyImage(project=project, image=image, to="copy", to_project=late))
    assert content(house, late, "copy") == bios_disk()


def test_two_copies_to_one_name_are_one_copy_and_one_refusal(house: House) -> None:
    project = house.project()
    image = house.image(project)
    client = house.client()
    tickets = [
        client.ticket(CopyImage(project=project, image=image, to="copy", flatten=flat)) for flat in (True, False)
    ]
    assert sorted(result.state.value for result in client.wait_all(tickets, 60)) == ["done", "refused"]


def test_a_copy_and_the_removal_of_its_original_are_done_one_after_the_other(house: House) -> None:
    """Whichever comes first: nothing is half there."""
    project = house.project()
    client = house.client()
    for first in (True, False):
        image, name = house.image(project), house.name("c")
        copy, removal = CopyImage(project=project, image=image, to=name), RemoveImage(project=project, image=image)
        commands = (copy, removal) if first else (removal, copy)
        results = client.wait_all([client.ticket(one) for one in commands], 60)
        problems = [result.problem.slug if result.problem else None for result in results]
        hangs = "image-in-use" if shares(house) else None
        assert problems == [None, hangs if first else "image-unknown"]


# Images of somebody else.


def rbd(name: str, snapshot: str | None = None, pool: str = STRANGE) -> ImageSource:
    return ImageSource(rbd=RbdSource(pool=pool, image=name, snapshot=snapshot))


@pytest.fixture
def strange(ceph_house: House) -> tuple[House, str]:
    """A house, and the name of an image in a pool that isn't its own, with a snapshot that says `golden`."""
    name = ceph_house.name("golden")
    assert ceph_house.parts.ceph_conf is not None
    foreign(ceph_house.parts.ceph_conf, name, bios_disk(), "s1", later=b"\0" * 512)
    return ceph_house, name


@pytest.mark.parametrize("snapshot", [None, "s1"])
def test_an_image_comes_from_a_pool_that_is_listed_and_is_left_as_it_was(
    strange: tuple[House, str], snapshot: str | None
) -> None:
    house, name = strange
    assert house.parts.ceph_conf is not None
    project, before = house.project(), look(house.parts.ceph_conf, name)
    imported = house.did(ImportImage(project=project, image="i", source=rbd(name, snapshot)))
    assert (imported["format"], imported["sha256"], imported["size"]) == ("raw", "", 4 * MIB)
    assert imported["firmware"] == (["bios"] if snapshot else [])
    assert content(house, project, "i") == (bios_disk() if snapshot else bytes(512) + bios_disk()[512:])
    assert look(house.parts.ceph_conf, name) == before
    if snapshot:
        maps(house, project, "i")


def test_an_image_that_somebody_writes_to_is_refused_and_imported_when_they_are_done(
    strange: tuple[House, str],
) -> None:
    house, name = strange
    assert house.parts.ceph_conf is not None
    project = house.project()
    with held(house.parts.ceph_conf, name):
        with house.nothing_left():
            problem = house.refusal(ImportImage(project=project, image="i", source=rbd(name)), State.FAILED)
            assert problem.slug == "source-in-use"
            assert "snapshot" in problem.todo
        house.did(ImportImage(project=project, image="s", source=rbd(name, "s1")))
    house.did(ImportImage(project=project, image="i", source=rbd(name)))


def test_what_is_not_in_the_pool_is_named(strange: tuple[House, str]) -> None:
    house, name = strange
    project = house.project()
    with house.nothing_left():
        for source in (rbd("nothing"), rbd(name, "nothing")):
            problem = house.refusal(ImportImage(project=project, image="i", source=source), State.FAILED)
            assert problem.slug == "source-unknown"
    assert house.ask(ImportImage(project=project, image="i", source=rbd(name))).ok


def rejection(house: House, command: ImportImage) -> Problem:
    with house.nothing_left():
        return house.refusal(command, State.REJECTED)


def test_a_pool_that_is_not_listed_is_never_taken_from(house: House) -> None:
    """bmid's own, another one that is there, and one that isn't, cannot be told apart."""
    project = house.project()
    own = house.parts.settings.get("storage.rbd", {}).get("pool", "bmi")
    details = set()
    for pool in (str(own), "bmi", "none"):
        problem = rejection(house, ImportImage(project=project, image="i", source=rbd("x", pool=pool)))
        assert problem.slug == "pool-not-listed"
        details.add(problem.detail.replace(pool, "POOL"))
    assert len(details) == 1


def test_a_map_of_a_copy_of_a_copy_is_the_same_disk(ceph_house: House) -> None:
    """Clones of clones, with the middle one's bytes nobody's but the first one's."""
    house, project = ceph_house, ceph_house.project()
    image = house.image(project, bios_disk() + os.urandom(MIB))
    house.did(CopyImage(project=project, image=image, to="second"))
    house.did(CopyImage(project=project, image="second", to="third"))
    assert content(house, project, "third") == content(house, project, image)
    assert house.refusal(RemoveImage(project=project, image="second")).slug == "image-in-use"
    node = house.node()
    house.did(MapNode(project=project, node=node, image="third"))
    house.did(UnmapNode(project=project, node=node))
    for name in ("third", "second", image):
        house.did(RemoveImage(project=project, image=name))
