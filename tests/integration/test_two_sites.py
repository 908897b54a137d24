"""Two sites in one pool, even with one name for targets: each tells of what the other has, and never touches it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bmid.care.rebuild import Rebuild
from bmid.errors import Refused
from bmid.model.entity import DiskState
from bmid.settings import Settings
from bmid.store import site as sites
from tests.support.bench import SITE, Bench
from tests.support.purging import DAY, Watch, purge
from tests.support.recipe_site import look
from tests.support.twin import LinkedTarget

pytestmark = pytest.mark.usefixtures("quiet")
OTHER = "7" * 32


@pytest.fixture
def two(tmp_path: Path, blank: Path) -> Iterator[tuple[Bench, Bench]]:
    """One with a mapped node, an image that nothing hangs on, a parked disk, and something in the trash; and another,
    which has begun, with settings that were copied."""
    made = []
    for name in ("ours", "theirs"):
        folder = tmp_path / name
        folder.mkdir()
        made.append(Bench(folder, blank=blank, quarantine=0.0))
    ours, theirs = made
    theirs.storage, theirs.imaging = ours.storage, ours.imaging
    theirs.target = LinkedTarget(ours.storage)
    with theirs.database.write() as tx:
        sites.keep(tx, OTHER)
    for one in made:
        one.open().furnish("n1", "n2")
    ours.do("image.copy", project="p1", image="debian", to="alone", flatten=True)
    ours.do("image.copy", project="p1", image="debian", to="gone", flatten=True)
    ours.do("image.remove", project="p1", image="gone")
    ours.do("node.map", project="p1", node="n1", image="debian")
    for what in ("park", "discard"):
        ours.do("node.map", project="p1", node="n2", image="debian")
        ours.do("node.unmap", project="p1", node="n2", disk=what)
    assert (len(ours.view().images()), len(ours.view().disks()), len(theirs.view().images())) == (2, 2, 1)
    yield ours, theirs
    for one in made:
        one.close()


def things(bench: Bench) -> list[tuple[str, str]]:
    return sorted((one.kind, one.id) for one in bench.storage.inventory())


def test_what_another_site_has_is_told_of_and_stays(two: tuple[Bench, Bench]) -> None:
    """However often and however late the other one looks, and empties its trash."""
    ours, theirs = two
    before = things(ours)
    mine = purge(theirs, Watch(theirs))
    for _ in range(11):
        told = look(theirs)
        assert (told["findings"], told["mended"], told["failed"]) == ({"stranger": 4}, 0, 0)
        assert mine.run_once() == 0
        theirs.clock.advance(DAY)
    assert things(ours) == before
    assert ours.do("image.restore", project="p1", image="gone")["changed"]
    assert len([one for one in ours.unexplained() if not one.startswith("stranger")]) == 0


def test_an_orphan_of_ours_is_told_apart_from_a_stranger_beside_it(two: tuple[Bench, Bench]) -> None:
    """By the id of the site that is in it."""
    ours, _ = two
    for name, site in (("a" * 32, SITE), ("b" * 32, OTHER)):
        ours.storage.create_image(name, 512)
        ours.storage.seal_image(name, {"kind": "image", "id": name, "site": site, "project": "p1", "image": "lost"})
    for _ in range(2):
        look(ours)
    assert [one.id for one in ours.storage.trash() if one.id in ("a" * 32, "b" * 32)] == ["a" * 32]


def rebuilt(bench: Bench, blank: Path, tmp_path: Path, **options: Any) -> Any:
    """From the storage that is shared, into a new database."""
    (tmp_path / "new.db").write_bytes(blank.read_bytes())
    settings = Settings(
        database={"url": f"sqlite:///{tmp_path}/new.db"}, head={"name": "h1", "state_folder": tmp_path / "state"}
    )
    return Rebuild(settings, lambda done, total: None, bench.storage).run(**options)


def test_a_rebuild_takes_what_is_of_one_site(two: tuple[Bench, Bench], tmp_path: Path, blank: Path) -> None:
    """Which, has to be said, and nothing of the other one is in its rows."""
    ours, theirs = two
    with pytest.raises(Refused, match=f"6 of {SITE}, 1 of {OTHER}") as refused:
        rebuilt(ours, blank, tmp_path)
    assert refused.value.problem.slug == "several-sites"
    with pytest.raises(Refused, match="nothing in this storage is of site x"):
        rebuilt(ours, blank, tmp_path, site="x")
    made = rebuilt(ours, blank, tmp_path, site=SITE)
    assert made.images.keys() == {one.id for one in ours.view().images()}
    assert {one.state for one in made.disks.values()} == {DiskState.MAPPED, DiskState.PARKED}
    assert (made.elsewhere, [one for one in made.doubts if one.lost]) == (1, [])
    assert theirs.view().images()[0].id not in made.images
