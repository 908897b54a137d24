"""What is found in lists, and what they tell beside the rows themselves, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bmid.handlers.list_disks import ListDisks
from bmid.handlers.list_images import ListImages
from bmid.handlers.list_nodes import ListNodes
from bmid.handlers.list_operations import ListOperations
from bmid.handlers.list_projects import ListProjects
from bmid.model.claim import Key
from bmid.model.entity import Disk, DiskState, Firmware, ImageDefault, Node, Project, default_id
from bmid.model.operation import Phase
from bmid.store import operations
from bmid.store.database import Database
from tests.support.list_site import DAY, ListSite, disk, image, node

# One database for all examples, emptied before each.
SHARED = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def site(database: Database) -> ListSite:
    return ListSite(database)


@SHARED
@given(data=st.data())
def test_nodes_are_found_by_every_filter_and_by_all_of_them_together(site: ListSite, data: st.DataObject) -> None:
    site.clear()
    images = [image("i1"), image("i2"), image("i1", "p2")]
    keys, values = ("rack", "a.b/c"), ("", "r1", "it's \"%_*")
    rows: list[tuple[Node, Disk | None]] = []
    for number in range(data.draw(st.integers(1, 8))):
        labels = data.draw(st.dictionaries(st.sampled_from(keys), st.sampled_from(values)))
        one = node(
            f"n{number}" * data.draw(st.integers(1, 2)), labels=labels, firmware=data.draw(st.sampled_from(Firmware))
        )
        state = data.draw(st.sampled_from([None, DiskState.MAPPED, DiskState.MAKING]))
        on = (
            disk(f"d{number}", data.draw(st.sampled_from(images)), number, node=one.name, state=state)
            if state
            else None
        )
        rows.append((Node(**{**vars(one), "disk": on.id if on else None}), on))
    site.put(*images, *(on for _, on in rows if on), *(one for one, _ in rows))
    by_id = {one.id: f"{one.project}/{one.name}" for one in images}
    tests: dict[str, Callable[[Node, Disk | None, Any], bool]] = {
        "project": lambda _, on, value: on is not None and on.project == value,
        "state": lambda _, on, value: (on.state.value if on else "free") == value,
        "image": lambda _, on, value: on is not None and by_id[on.image] == value,
        "firmware": lambda one, _, value: one.firmware.value == value,
        "labels": lambda one, _, value: value.items() <= one.labels.items(),
        "name": lambda one, _, value: fnmatchcase(one.name, value),
    }
    asked = data.draw(
        st.fixed_dictionaries(
            {},
            optional={
                "project": st.sampled_from(["p1", "p2", "p3"]),
                "state": st.sampled_from(["free", "mapped", "making", "removing"]),
                "image": st.sampled_from(["p1/i1", "p2/i1", "p1/none"]),
                "firmware": st.sampled_from(["bios", "uefi", "any"]),
                "labels": st.dictionaries(st.sampled_from((*keys, "x")), st.sampled_from(values), min_size=1),
                "name": st.sampled_from(["n*", "*1", "n?", "n?n?", "_*", "*"]),
            },
        )
    )
    fitting = [one.name for one, on in rows if all(tests[name](one, on, value) for name, value in asked.items())]
    assert site.names(ListNodes(limit=2, **asked)) == sorted(fitting)


def test_disks_images_and_projects_are_found_by_what_is_asked_for(site: ListSite) -> None:
    debian, other = image("debian", labels={"os": "linux"}), image("other", "p2", ready=False)
    child = image("child", parent=debian.id)
    site.put(debian, other, child, Project("x1", "p1", DAY), Project("x2", "p22", DAY))
    site.put(disk("a_1", debian, 1, node="n1", head="h1"), disk("a-1", other, 2, state=DiskState.PARKED))
    assert site.names(ListDisks()) == ["a-1", "a_1"]
    for asked, found in (
        ({"project": "p1"}, ["a_1"]), ({"state": "parked"}, ["a-1"]), ({"node": "n1"}, ["a_1"]),
        ({"head": "h1"}, ["a_1"]),
        ({"image": "p2/other"}, ["a-1"]), ({"image": "debian", "project": "p1"}, ["a_1"]), ({"name": "a_*"}, ["a_1"]),
        ({"image": "p1/none"}, []), ({"project": "p2", "node": "n1"}, []),
    ):  # fmt: skip
        assert site.names(ListDisks(**asked)) == found, asked
    for asked, found in (
        ({"project": "p2"}, ["other"]), ({"state": "importing"}, ["other"]), ({"labels": {"os": "linux"}}, ["debian"]),
        ({"labels": {"os": "linux", "x": "y"}}, []), ({"parent": "p1/debian"}, ["child"]), ({"name": "*e?"}, ["other"]),
    ):  # fmt: skip
        assert site.names(ListImages(**asked)) == found, asked
    assert site.names(ListProjects(name="p2*")) == ["p22"]


def test_operations_are_told_the_newest_first_and_found_by_what_is_asked_for(site: ListSite) -> None:
    many = [site.accept(second // 2, project=f"p{second % 2}", command={"node": f"n{second}"}) for second in range(6)]
    group = site.accept(9, type="bmi.node.unmap.v1", phase=Phase.RUNNING)
    member = site.accept(9, parent=group.id, phase=Phase.FAILED, project="p0")
    ids = [one.id for one in (*many, group, member)]
    assert site.names(ListOperations(limit=3)) == ids[::-1]
    assert site.names(ListOperations(limit=3, order="accepted_at")) == ids
    for asked, found in (
        ({"project": "p0"}, [member, many[4], many[2], many[0]]), ({"node": "n3"}, [many[3]]),
        ({"phase": "failed"}, [member]),
        ({"command": "bmi.node.unmap.v1"}, [group]), ({"group": group.id}, [member]),
        ({"phase": "unfinished", "since": DAY + timedelta(seconds=2)}, [group, many[5], many[4]]),
        ({"since": DAY + timedelta(hours=1)}, []),
    ):  # fmt: skip
        assert site.names(ListOperations(limit=1, **asked)) == [one.id for one in found], asked
    with site.view() as view:
        assert view.phases(group.id) == {"failed": 1}


def test_images_tell_where_they_come_from_and_what_hangs_on_them(site: ListSite) -> None:
    root = image("root", labels={"os": "linux"})
    child = image("child", "p2", parent=root.id)
    labels = {"os": "linux", "gpu": "yes"}
    site.put(root, child, ImageDefault(default_id("p1", labels), "p1", labels, root.id))
    site.put(*(disk(f"d{number}", root, number) for number in range(3)))
    shown = {one["image"]: one for one in site.ask(ListImages())["images"]}
    assert (shown["root"]["parent"], shown["root"]["children"], shown["root"]["disks"]) == (None, 1, 3)
    assert (shown["child"]["parent"], shown["child"]["children"], shown["child"]["disks"]) == ("p1/root", 0, 0)
    assert (shown["root"]["labels"], shown["root"]["default_for"]) == ({"os": "linux"}, [labels])


def test_an_operation_tells_what_stands_before_it(site: ListSite) -> None:
    first = site.accept(keys=[Key("node:n1", exclusive=True), Key("image:i", exclusive=False)])
    site.accept(keys=[Key("image:i", exclusive=False)])
    third = site.accept(keys=[Key("node:n1", exclusive=True), Key("image:i", exclusive=False)])
    with site.view() as view:
        assert view.ahead(first.id) == []
        assert view.ahead(third.id) == [("node:n1", first.id)]
    with site.database.write() as tx:
        operations.end(tx, first.id, Phase.SUCCEEDED, None)
    with site.view() as view:
        assert view.ahead(third.id) == []
