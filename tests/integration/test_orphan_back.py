"""What lost its row, and went to the trash for that, can be had back by its project: a database was put back, say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete

from bmid.store import schema
from tests.support.bench import Bench
from tests.support.recipe_site import look, orphan

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """An image, a copy of it, and a parked disk; the rows of the last two are lost, and what they meant is orphaned."""
    one = Bench(tmp_path, blank=blank, quarantine=0.0).open()
    one.furnish()
    one.do("image.copy", project="p1", image="debian", to="copy", flatten=True)
    one.do("disk.create", project="p1", disk="d1", image="debian")
    with one.database.write() as tx:
        tx.execute(delete(schema.disk))
        tx.execute(delete(schema.image).where(schema.image.c.name == "copy"))
    for findings in ({"disk-orphaned": 1, "image-orphaned": 1}, {"disk-orphaned": 1, "image-orphaned": 1}, {}):
        assert look(one)["findings"] == findings
    yield one
    one.close()


def test_its_project_restores_it_by_its_name(bench: Bench) -> None:
    trash = {one.name: one for one in bench.view().trashed("p1")}
    assert {(one.kind, one.size > 0) for one in trash.values()} == {("disk", True), ("image", True)}
    assert bench.do("disk.restore", project="p1", disk="d1")["id"] == trash["d1"].id
    assert bench.do("image.restore", project="p1", image="copy")["id"] == trash["copy"].id
    assert bench.unexplained() == []


def test_what_says_too_little_of_itself_is_kept_for_as_long(bench: Bench) -> None:
    """No project has it, so an operator has to fetch it."""
    orphan(bench)
    look(bench)
    look(bench)
    assert [one.name for one in bench.view().trashed("")] == ["old"]
    assert bench.unexplained() == []
