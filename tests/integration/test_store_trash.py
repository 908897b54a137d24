"""Rows of the trash on SQLite and PostgreSQL: lists of them, what may go, and things as they were."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from bmid.handlers.list_trash import ListTrash
from bmid.model.entity import Disk, Image
from bmid.model.trash import Trashed, disk_again, image_again, trashed
from bmid.store import trash
from bmid.store.database import Database
from tests.support.list_site import DAY, ListSite, disk, image


@pytest.fixture
def site(database: Database) -> ListSite:
    return ListSite(database)


def gone(thing: Image | Disk, second: int, days: float = 7) -> Trashed:
    moment = DAY + timedelta(seconds=second)
    return trashed(thing, "o" * 32, moment, moment + timedelta(days=days))


def due(site: ListSite, days: float, limit: int = 100) -> list[str]:
    with site.database.read() as tx:
        return list(trash.due(tx, DAY + timedelta(days=days), limit))


def test_a_thing_is_again_what_it_was(site: ListSite) -> None:
    golden = image("i1", labels={"os": "debian"}, firmware=("bios", "uefi"))
    mine = disk("d1", golden, 1, hostname="web", address="10.77.0.11", network="default")
    site.put(gone(golden, 0), gone(mine, 0))
    with site.view() as view:
        found = {one.kind: one for one in view.trashed("p1")}
    assert image_again(found["image"]) == golden
    assert disk_again(found["disk"]) == mine
    assert "secret" not in repr(found["disk"])
    assert disk_again(replace(found["disk"], row={**found["disk"].row, "colour": "of a later version"})) == mine


def test_the_list_says_what_can_be_restored_until_when_and_nothing_secret(site: ListSite) -> None:
    golden, other = image("i1"), image("i2", project="p2")
    site.put(other)
    of_both = [disk("d1", golden, 1), disk("d2", other, 2, project="p1"), disk("d3", other, 3)]
    site.put(gone(golden, 5), *(gone(one, second) for second, one in enumerate(of_both)))
    answer = site.ask(ListTrash(project="p1", kind="disk"))
    assert [(one["name"], one["image"]) for one in answer["trash"]] == [("d1", "p1/i1"), ("d2", "p2/i2")]
    assert answer["trash"][0]["expires_at"] == "2026-11-28T00:00:00+00:00"
    assert "secret" not in str(answer)
    assert [one["name"] for one in site.ask(ListTrash(name="d*", order="-removed_at"))["trash"]] == ["d3", "d2", "d1"]
    assert [one["name"] for one in site.ask(ListTrash(operation="x"))["trash"]] == []


@pytest.mark.parametrize("order", ["name", "-name", "removed_at", "-removed_at", "expires_at", "-expires_at"])
def test_pages_tell_each_row_once_and_in_order(site: ListSite, order: str) -> None:
    golden = image("i0")
    site.put(*(gone(disk(f"d{number}", golden, number), number % 3) for number in range(7)))
    rows, query = [], ListTrash(order=order, limit=3)
    while True:
        answer = site.ask(query)
        rows += answer["trash"]
        if answer["next"] is None:
            break
        query = query.model_copy(update={"after": answer["next"]})
    assert sorted(one["name"] for one in rows) == [f"d{number}" for number in range(7)]
    places = [one[order.removeprefix("-")] for one in rows]
    assert places == sorted(places, reverse=order.startswith("-"))


def test_only_what_has_expired_is_due_and_the_first_to_expire_first(site: ListSite) -> None:
    golden = image("i1")
    things = [gone(disk(f"d{number}", golden, number), 0, days=days) for number, days in enumerate((3, 1, 2))]
    site.put(golden, *things)
    assert due(site, 2.5) == [things[1].id, things[2].id]
    assert due(site, 2.5, limit=1) == [things[1].id]
    assert due(site, 0.5) == []


def test_what_something_in_the_trash_hangs_on_or_is_on_its_way_back_is_not_due(site: ListSite) -> None:
    golden = image("i1")
    child = image("i2", parent=golden.id)
    mine = disk("d1", child, 1)
    things = [gone(golden, 0, days=1), gone(child, 0, days=2), gone(mine, 0, days=3)]
    site.put(*things)
    assert due(site, 9) == [mine.id]
    site.put(replace(golden, ready=False), replace(child, ready=False), mine)
    assert due(site, 9) == []
    site.drop(mine, child, golden)
    for one in reversed(things):
        assert due(site, 9) == [one.id]
        with site.database.write() as tx:
            trash.forget(tx, one.id)


def test_an_operator_can_end_the_time_of_what_was_removed_long_enough_ago(site: ListSite) -> None:
    golden = image("i1")
    with site.database.read() as tx:
        second = int((tx.now - DAY).total_seconds())
    old = gone(disk("d1", golden, 1), second - 2 * 86400)
    theirs = gone(disk("d2", golden, 2, project="p2"), second - 2 * 86400)
    new = gone(disk("d3", golden, 3), second)
    site.put(golden, old, theirs, new)
    with site.database.write() as tx:
        assert trash.expire(tx, tx.now - timedelta(days=1), "p1") == [("disk", "p1", 1)]
        moment = tx.now
    assert due(site, (moment - DAY).total_seconds() / 86400 + 0.01) == [old.id]
    with site.database.write() as tx:
        assert sorted(trash.expire(tx, tx.now)) == [("disk", "p1", 1), ("disk", "p2", 1)]


def test_a_disks_seed_is_forgotten_with_its_time_and_nothing_else_of_it(site: ListSite) -> None:
    golden = image("i1")
    mine = [disk(f"d{number}", golden, number) for number in (1, 2)]
    site.put(golden, *(gone(one, 0, days=days) for one, days in zip(mine, (1, 3), strict=True)))
    with site.database.write() as tx:
        assert trash.hush(tx, DAY + timedelta(days=2)) == 1
        assert trash.hush(tx, DAY + timedelta(days=2)) == 0
    with site.view() as view:
        first, second = (disk_again(one) for one in sorted(view.trashed("p1"), key=lambda one: one.name))
    assert (first, second) == (replace(mine[0], seed=None), mine[1])
    assert mine[0].seed


def test_rows_explain_what_is_and_what_was(site: ListSite) -> None:
    golden, other = image("i1"), image("i2")
    mine = disk("d1", golden, 1)
    site.put(golden, mine, gone(other, 3))
    with site.database.read() as tx:
        assert trash.explained(tx) == {golden.id, other.id, mine.id}
        assert trash.kept(tx) == (1, DAY + timedelta(days=7, seconds=3))
