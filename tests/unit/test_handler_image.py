"""Copies, exports, imports from pools, updates and removals of images: what is planned, and what the rows say then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bmid.errors import Refused
from bmid.handlers import copy_image, export_image, golden, import_image, remove_image, update_image
from bmid.model.change import Drop, Put
from bmid.model.entity import Image, ImageDefault, default_id
from bmid.model.site import Site
from bmid.steps.base import Plan
from bmid.steps.copy import CLONED, CopyForeign, CopyStored
from bmid.steps.export import WRITTEN, PlaceFile, ReleaseForeign, WriteFile, WriteForeign
from bmid.steps.image import GONE, RemoveImage, SealImage
from tests.support.plan import undone
from tests.support.view import NOW, OPERATION, MemoryView, context, disk, image, project

RBD = {"pool": "theirs", "image": "golden"}
COPY = {"project": "p1", "image": "debian", "to": "copy"}
FULL = {"firmware": ("uefi",), "labels": {"a": "b"}, "description": "stable", "sha256": "1" * 64, "format": "qcow2"}


def default(labels: dict[str, str], name: str = "debian", owner: str = "p1") -> ImageDefault:
    return ImageDefault(default_id(owner, labels), owner, labels, f"id-{name}")


def copied(name: str = "copy", **values: Any) -> Image:
    """The row of a copy of debian."""
    fields = {"id": OPERATION, "name": name, "parent": "id-debian", "ready": False, "created_at": NOW, **values}
    return replace(image(**FULL), **fields)


def test_a_copy_is_made_and_sealed_and_takes_all_that_is_said_of_the_original_along() -> None:
    """Its row is there first, and names the original, which can't be removed meanwhile."""
    plan = copy_image.plan(copy_image.CopyImage(**COPY), context(project(), image(**FULL)))
    seal = golden.described(copied(), Site())
    assert (seal["id"], seal["parent"], seal["labels"]) == (OPERATION, "id-debian", copied().labels)
    assert plan == Plan(
        (Put(copied()),),
        (
            (CopyStored(source="id-debian", image=OPERATION, size=1 << 30, flatten=False),),
            (SealImage(image=OPERATION, metadata=seal, parent_mark=CLONED),),
        ),
        home="h1",
        memo={"source": "p1/debian"},
    )


@pytest.mark.parametrize(("marks", "parent"), [({CLONED: True}, "id-debian"), ({}, None)])
def test_only_a_clone_hangs_on_its_original(marks: dict[str, Any], parent: str | None) -> None:
    """A full copy stands alone, whoever asked for it: the command, or a storage that can't do otherwise."""
    given = context(project(), image(), copied(), project("p2"))
    command = copy_image.CopyImage(**COPY)
    outcome = copy_image.finish(command, given, Plan(memo={"source": "p1/debian"}), marks)
    assert outcome.changes == (Put(copied(ready=True, parent=parent)),)
    said = outcome.event.payload()
    assert (said["cloned"], said["source"], said["firmware"]) == (bool(marks), "p1/debian", ["uefi"])


def test_a_copy_for_another_project_is_a_row_of_that_project() -> None:
    """The event is still the asking project's, and is about the copy."""
    command = copy_image.CopyImage(**COPY, to_project="p2")
    given = context(project(), project("p2"), image(), image("copy"))
    plan = copy_image.plan(command, given)
    reserved = plan.reserve[0].entity
    assert isinstance(reserved, Image)
    assert (reserved.project, reserved.name) == ("p2", "copy")
    given = context(project(), project("p2"), image(), reserved)
    event = copy_image.finish(command, given, plan, {}).event
    assert event.payload().items() >= {"project": "p1", "to_project": "p2", "image": "copy"}.items()
    assert event.subject() == command.subject() == "image/p2/copy"


def test_a_copy_that_failed_leaves_the_name_free() -> None:
    """No row."""
    assert undone("image.copy", COPY, context(copied()), Plan()) == (Drop(copied()),)
    assert undone("image.copy", COPY, context(), Plan()) == ()


def test_a_copy_onto_itself_takes_its_one_name_exclusively() -> None:
    """And is refused like any other name that is taken."""
    command = copy_image.CopyImage(project="p1", image="p1/debian", to="debian")
    assert [(key.name, key.exclusive) for key in copy_image.keys(command)] == [
        ("project:p1", False),
        ("image:p1/debian", True),
    ]
    with pytest.raises(Refused) as caught:
        copy_image.plan(command, context(project(), image()))
    assert caught.value.problem.slug == "image-exists"


def test_an_export_to_a_file_writes_and_then_names_it() -> None:
    """What isn't whole has no name that anybody knows."""
    command = export_image.ExportImage(project="p1", image="debian", to={"file": "d.img", "format": "raw"})
    plan = export_image.plan(command, context(project(), image()))
    assert plan.stages == (
        (WriteFile(image="id-debian", size=1 << 30, file="d.img", format="raw"),),
        (PlaceFile(file="d.img"),),
    )
    assert (plan.reserve, plan.home) == ((), "h1")


def test_an_export_to_a_pool_is_released_when_it_is_whole() -> None:
    """And its event has neither digest nor address."""
    command = export_image.ExportImage(project="p1", image="debian", to={"rbd": RBD})
    given = context(project(), image())
    plan = export_image.plan(command, given)
    assert plan.stages == (
        (WriteForeign(image="id-debian", size=1 << 30, pool="theirs", name="golden"),),
        (ReleaseForeign(pool="theirs", name="golden"),),
    )
    assert export_image.finish(command, given, plan, {}).event.payload() == {
        "operation": OPERATION, "project": "p1", "image": "debian", "size": 1 << 30, "format": "raw", "sha256": "",
        "rbd": "theirs/golden",
    }  # fmt: skip


def test_an_exported_file_has_an_address_where_there_is_a_token_for_it() -> None:
    """Of the head that wrote it; the token's digest is in neither event nor plan."""
    given = context(project(), image(), upload_url="http://h1:8470")
    marks = {WRITTEN: {"size": 70, "sha256": "2" * 64}}
    for token, url in ((None, None), ("3" * 64, f"http://h1:8470/v1/downloads/{OPERATION}")):
        command = export_image.ExportImage(project="p1", image="debian", to={"file": "d", "token": token})
        plan = export_image.plan(command, given)
        event = export_image.finish(command, given, plan, marks).event
        said = event.payload()
        assert (said.get("url"), said["size"], said["sha256"], said["format"]) == (url, 70, "2" * 64, "qcow2")
        assert "3" * 64 not in f"{said}{plan.dump()}"


def test_an_import_from_a_pool_is_copied_and_sealed() -> None:
    """Raw, with nothing to digest, and no larger than any other image."""
    source = {"rbd": {**RBD, "snapshot": "s1"}}
    command = import_image.ImportImage(project="p1", image="new", source=source)
    given = context(project(), max_size=1 << 33)
    plan = import_image.plan(command, given)
    copy, seal = (stage[0] for stage in plan.stages)
    assert copy == CopyForeign(image=OPERATION, pool="theirs", source="golden", snapshot="s1", limit=1 << 33)
    assert isinstance(seal, SealImage)
    found = {"format": "raw", "virtual_size": 4096, "size": 4096, "sha256": "", "compression": None}
    outcome = import_image.finish(command, given, plan, {"found": found, "firmware": ["bios"]})
    said = outcome.event.payload()
    assert (said["format"], said["sha256"], said["size"], said["firmware"]) == ("raw", "", 4096, ["bios"])


UPDATE = {"project": "p1", "image": "debian"}


def update(rows: tuple[Any, ...], **fields: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The changes of an update, and what its event says."""
    command, given = update_image.UpdateImage(**UPDATE, **fields), context(project(), *rows)
    outcome = update_image.finish(command, given, update_image.plan(command, given), {})
    return outcome.changes, outcome.event.payload()


def test_an_update_replaces_what_is_given_and_keeps_the_rest() -> None:
    """An empty text or no labels at all are given, too."""
    known = image(**FULL)
    changes, said = update((known,), description="old")
    assert changes == (Put(replace(known, description="old")),)
    assert (said["description"], said["labels"], said["defaults"], said["changed"]) == ("old", {"a": "b"}, [], True)
    assert update((known,), labels={})[0] == (Put(replace(known, labels={})),)
    assert update((known,), description="")[0] == (Put(replace(known, description="")),)


def test_an_update_to_what_is_said_already_changes_nothing() -> None:
    """Whatever is given."""
    rows = (image(**FULL), default({"os": "d"}))
    changes, said = update(rows, description="stable", labels={"a": "b"}, default_for={"os": "d"})
    assert (changes, said["changed"], said["defaults"]) == ((), False, [{"os": "d"}])
    assert update((image(),), no_default=True)[1]["changed"] is False


def test_a_project_means_one_image_by_a_set_of_labels() -> None:
    """The image that asks for it takes it from whichever has it; its other sets stay."""
    rows = (image(), image("other"), default({"os": "d"}, "other"), default({"os": "x"}))
    changes, said = update(rows, default_for={"os": "d"})
    assert changes == (Put(default({"os": "d"})),)
    assert said["defaults"] == [{"os": "x"}, {"os": "d"}]


def test_no_default_takes_all_sets_away_but_the_one_that_is_given_with_it() -> None:
    """Those of other images stay."""
    rows = (image(), image("other"), default({"os": "d"}, "other"), default({"os": "x"}), default({"os": "y"}))
    gone = (Drop(default({"os": "x"})), Drop(default({"os": "y"})))
    assert update(rows, no_default=True) == (gone, {**update(rows, no_default=True)[1], "defaults": []})
    assert update(rows, no_default=True, default_for={"os": "z"})[0] == (*gone, Put(default({"os": "z"})))


def test_an_image_on_its_way_out_is_there_for_nobody() -> None:
    """Its row says so before its bytes go, and says it on where they are gone."""
    command, going = remove_image.RemoveImage(project="p1", image="debian"), replace(image(), ready=False)
    plan = remove_image.plan(command, context(image()))
    memo = {"changed": True, "image": "id-debian", "whole": True}
    assert plan == Plan((Put(going),), ((RemoveImage(image="id-debian"),),), memo=memo)
    assert remove_image.undo(command, context(going), plan, {}) == (Put(image()),)
    assert remove_image.undo(command, context(going), plan, {GONE: True}) == ()
    again = remove_image.plan(command, context(going))
    assert (again.reserve, again.stages) == (plan.reserve, plan.stages), "sent again, it goes on"


@pytest.mark.parametrize("rows", [(disk(),), (image("child", parent="id-debian"),)])
def test_a_removal_looks_only_when_no_map_is_being_planned(rows: tuple[Any, ...]) -> None:
    """Who maps by labels has no key of the image: the counter that every map raises stands for it."""
    order: list[str] = []

    class Watched(MemoryView):
        def number(self) -> int:
            order.append("number")
            return 1

        def disks_of(self, image: str) -> Any:
            order.append("disks")
            return super().disks_of(image)

        def children(self, image: str) -> Any:
            order.append("images")
            return super().children(image)

    given = replace(context(), view=Watched([image(), *rows]))
    with pytest.raises(Refused):
        remove_image.plan(remove_image.RemoveImage(project="p1", image="debian"), given)
    assert order == ["number", "disks", "images"]
