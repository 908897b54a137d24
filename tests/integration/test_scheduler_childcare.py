"""Children of operations that nobody carries out here any more are ended, those of others are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from bmid.drivers.base import Errand
from bmid.drivers.imaging.memory import MemoryImaging
from bmid.scheduler.childcare import Childcare
from bmid.store.schema import operation
from tests.support.bench import Bench

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """A site with two unfinished operations."""
    made = Bench(tmp_path, blank=blank).open()
    yield made
    made.close()


def test_a_child_goes_with_its_operation(bench: Bench) -> None:
    """One operation is at home elsewhere by now, one has ended, one is this head's, one is anybody's."""
    imaging = MemoryImaging()
    names = [bench.command("node.register", node=f"n{number}", macs=[f"52:54:00:00:01:0{number}"]).id
             for number in range(4)]  # fmt: skip
    for name in names:
        imaging.run(f"{name}-copy", Errand(("any",), 1))
    elsewhere, ended, here, anybodys = names
    with bench.database.write() as tx:
        for name, home in ((elsewhere, "h2"), (here, bench.identity.head), (ended, None)):
            tx.execute(update(operation).where(operation.c.id == name).values(home=home))
        tx.execute(update(operation).where(operation.c.id == ended).values(ended_at=tx.now))
    care = Childcare(bench.database, imaging, bench.identity.head)
    assert care.run_once() == 2
    assert sorted(imaging.jobs()) == sorted([f"{here}-copy", f"{anybodys}-copy"])
    assert care.run_once() == 0
