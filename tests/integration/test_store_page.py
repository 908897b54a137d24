"""Lists in pages on SQLite and PostgreSQL: every row once and in order, whatever comes and goes; only what fits."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from bmid.errors import Rejected
from bmid.handlers.list_disks import ListDisks
from bmid.handlers.list_images import ListImages
from bmid.handlers.list_nodes import ListNodes
from bmid.handlers.list_operations import ListOperations
from bmid.model.page import Asked, ListedNode
from bmid.store.database import Database
from tests.support.list_site import DAY, ListSite, disk, image, node

ORDERS = ("name", "-name", "created_at", "-created_at")
NAMES = st.from_regex(r"[a-c][ab0.-]{0,2}[a-c]", fullmatch=True)
# One database for all examples, emptied before each.
SHARED = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def site(database: Database) -> ListSite:
    return ListSite(database)


@SHARED
@given(data=st.data(), standing=st.sets(NAMES, max_size=12), others=st.sets(NAMES, max_size=8))
def test_each_row_that_stays_is_told_once_and_in_order_whatever_comes_and_goes(
    site: ListSite, data: st.DataObject, standing: set[str], others: set[str]
) -> None:
    site.clear()
    order, limit = data.draw(st.sampled_from(ORDERS)), data.draw(st.integers(1, 5))
    seconds = {name: data.draw(st.integers(0, 2)) for name in sorted(standing | others)}
    nodes = {name: node(name, seconds[name]) for name in standing | others}
    coming = data.draw(st.permutations(sorted(others - standing)))
    going = [nodes[name] for name in coming[::2]]
    site.put(*(nodes[name] for name in standing), *going)
    query, told, moves = ListNodes(order=order, limit=limit), [], itertools.cycle((site.drop, site.put))
    for name in [*coming, *itertools.repeat(None, 20)]:
        answer = site.ask(query)
        assert len(answer["nodes"]) <= limit
        told += [one["node"] for one in answer["nodes"]]
        if answer["next"] is None:
            break
        query = query.model_copy(update={"after": answer["next"]})
        if name is not None:
            next(moves)(nodes[name])
    assert len(told) == len(set(told))
    column = order.removeprefix("-")

    def place(name: str) -> tuple[Any, str]:
        return getattr(nodes[name], column), nodes[name].id

    assert told == sorted(told, key=place, reverse=order.startswith("-"))
    assert standing <= set(told)


def test_names_are_ordered_as_bytes_and_shared_by_projects(site: ListSite) -> None:
    names = ["a", "a-b", "a.b", "a0", "a_b", "aa", "b"]
    site.put(*(image(name, project) for name in names for project in ("p1", "p2")))
    assert site.names(ListImages(project="p1", limit=2)) == sorted(names)
    assert site.names(ListImages(limit=3)) == [name for name in sorted(names) for _ in range(2)]
    assert site.names(ListImages(order="-name", limit=3)) == [
        name for name in sorted(names, reverse=True) for _ in "12"
    ]


def test_a_cursor_of_another_query_or_of_nobody_is_refused(site: ListSite) -> None:
    site.put(*(node(f"n{number}") for number in range(3)))
    cursor = site.ask(ListNodes(limit=1))["next"]
    assert site.names(ListNodes(limit=1000, after=cursor)) == ["n1", "n2"]
    forged = ("x", "!", "e30", "W10", "WzEsMiwzXQ", cursor[:-4], cursor + "AAAA", "é")
    for query in (
        *(ListNodes(after=text) for text in forged),
        ListNodes(after=cursor, order="-name"),
        ListNodes(after=cursor, order="created_at"),
        ListNodes(after=cursor, state="free"),
        ListNodes(after=cursor, labels={"a": "b"}),
        ListDisks(after=cursor),
        ListOperations(after=cursor),
    ):
        with pytest.raises(Rejected) as caught:
            site.ask(query)
        assert caught.value.problem.slug == "cursor-invalid", query


def test_what_a_list_never_shows_is_not_read(site: ListSite) -> None:
    debian = image("debian")
    site.put(debian, disk("d1", debian, 1))
    site.accept(command={"node": "n1", "user_data": "secret"}, plan={"stages": []}, marks={"a": 1})
    statements: list[str] = []
    event.listen(site.database.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    site.ask(ListDisks())
    site.ask(ListOperations())
    assert not [one for one in statements if "seed" in one or "marks" in one or "operation.plan" in one]


def test_a_page_is_one_statement_however_long_it_is(site: ListSite) -> None:
    images = [image(f"i{number}", parent="other") for number in range(4)]
    disks = [disk(f"d{number}", images[number % 4], number) for number in range(20)]
    site.put(*images, *disks, *(node(f"n{number}", disk=one.id) for number, one in enumerate(disks)))
    statements: list[str] = []
    event.listen(site.database.engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    for query in (ListNodes(limit=1), ListNodes(), ListDisks(), ListImages(), ListOperations()):
        statements.clear()
        site.ask(query)
        assert len([one for one in statements if "FROM" in one]) == 1, query


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_pages_in_their_usual_order_are_read_from_an_index(site: ListSite) -> None:
    """Without sorting the table first: SQLite says how it will go about it."""
    statements: list[tuple[str, Any]] = []
    event.listen(site.database.engine, "before_cursor_execute", lambda *call: statements.append((call[2], call[3])))
    for query in (
        ListNodes(), ListNodes(order="-created_at"), ListDisks(), ListDisks(order="created_at"),
        ListDisks(project="p1"), ListImages(project="p1"), ListOperations(),
        ListOperations(project="p1", since=DAY), ListOperations(node="n1"), ListOperations(since=DAY),
    ):  # fmt: skip
        statements.clear()
        site.ask(query)
        [(text, values)] = [one for one in statements if "ORDER BY" in one[0]]
        with site.database.read() as tx:
            plan = tx.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values).all()
        assert "INDEX" in plan[0].detail, (query, plan)
        assert not [one for one in plan if "B-TREE" in one.detail and "RIGHT PART" not in one.detail], (query, plan)


def test_asking_the_view_for_a_page_gives_values(site: ListSite) -> None:
    site.put(*(node(f"n{number}") for number in range(3)))
    with site.view() as view:
        page = view.page(ListedNode, Asked("name", descending=True, limit=2, where={"name": "n?"}))
        exact = view.page(ListedNode, Asked("name", limit=3))
    assert ([one.name for one in page.rows], page.more) == (["n2", "n1"], True)
    assert (len(exact.rows), exact.more) == (3, False)
