"""Being set aside, as it is kept: counted, found, and never lost by who writes the rest of the row. Both databases."""

from __future__ import annotations

import pytest

from bmid.handlers.list_images import ListImages
from bmid.handlers.list_nodes import ListNodes
from bmid.model.aside import Aside, AsideState, Blamed
from bmid.model.change import Put, SetAside
from bmid.store import failures
from bmid.store.database import Database
from bmid.store.rows import apply
from tests.support.list_site import ListSite, image, node

ASIDE = Aside(AsideState.QUARANTINE, "it is deaf", "2026-11-21T00:00:00+00:00", "o1", "bmc-down", 5)


@pytest.fixture
def site(database: Database) -> ListSite:
    made = ListSite(database)
    made.clear()
    made.put(node("n1"), node("n2"), image("i1"))
    return made


def test_who_writes_a_row_that_was_read_before_doesnt_take_back_that_it_is_set_aside(site: ListSite) -> None:
    """Nor does it forget what was counted; taking it back does."""
    old = node("n1")
    with site.database.write() as tx:
        for number in (1, 2):
            counted = failures.count(tx, Blamed(node="n1"), "p1", "bmc-down")
            assert counted is not None
            assert (counted.count, counted.aside, counted.project) == (number, False, None)
        failures.set_aside(tx, Blamed(node="n1"), counted, ASIDE)
        apply(tx, [Put(old)])
        again = failures.count(tx, Blamed(node="n1"), "p1", "bmc-down")
        assert again is not None
        assert (again.count, again.aside) == (1, True)
    with site.view() as view:
        found = view.node("n1")
    assert found is not None
    assert found.aside == ASIDE
    with site.database.write() as tx:
        apply(tx, [SetAside(old, None)])
        assert failures.count(tx, Blamed(node="gone"), "p1", "bmc-down") is None
    with site.view() as view:
        assert view.node("n1") == old


def test_each_project_has_a_count_of_its_own(site: ListSite) -> None:
    """What another one's commands fail or succeed with is none of it."""
    for thing in (Blamed(node="n1"), Blamed(image=image("i1").id)):
        with site.database.write() as tx:
            told = [failures.count(tx, thing, one, "x") for one in ("p1", "p1", "p2")]
            failures.forget(tx, thing, "p2")
            failures.forget(tx, thing, "p3")
            other = failures.count(tx, thing, "p2", "y")
            again = failures.count(tx, thing, "p1", "x")
            failures.forget(tx, thing, "p1")
            last = failures.count(tx, thing, "p1", "x")
        assert [one and one.count for one in (*told, other, again, last)] == [1, 2, 1, 1, 3, 1]


def test_lists_find_what_is_set_aside_by_whom(site: ListSite) -> None:
    """And what is in use."""
    with site.database.write() as tx:
        apply(tx, [SetAside(node("n1"), ASIDE), SetAside(image("i1"), Aside(AsideState.MAINTENANCE, "x", "y", "o2"))])
    assert site.names(ListNodes(aside="quarantine")) == ["n1"]
    assert site.names(ListNodes(aside="maintenance")) == []
    assert site.names(ListNodes(aside="none")) == ["n2"]
    [shown] = site.ask(ListImages(aside="maintenance"))["images"]
    assert (shown["aside"]["state"], shown["aside"]["reason"]) == ("maintenance", "x")
