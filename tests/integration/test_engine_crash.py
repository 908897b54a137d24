"""Whatever is interrupted, wherever: another worker finishes it or undoes it, once, and nothing is left over.

Every command of the registry is run with every kind of accident at each of its driver calls and commits. A command
that has no recipe here fails the suite.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bmid.errors import PermanentError, TransientError
from bmid.handlers.registry import discover
from bmid.model.entity import DiskState
from bmid.model.operation import FINAL, Operation, Phase
from tests.support.accident import Killed
from tests.support.bench import LEASE, Bench
from tests.support.recipe import IMAGE_RECIPES, Recipe, public
from tests.support.recipe_node import DISK_RECIPES, NODE_RECIPES
from tests.support.recipe_site import SITE_RECIPES

pytestmark = pytest.mark.usefixtures("quiet")


def _second_project(bench: Bench) -> None:
    bench.do("project.create", project="p2")


RECIPES: dict[str, list[Recipe]] = {
    **IMAGE_RECIPES,
    **NODE_RECIPES,
    **DISK_RECIPES,
    **SITE_RECIPES,
    "bmi.project.create.v1": [Recipe("create", public("project.create", project="p2"))],
    "bmi.project.remove.v1": [
        Recipe("remove", public("project.remove", project="p2"), _second_project),
    ],
}


def _transient() -> None:
    raise TransientError("accident", "this may work later")


def _permanent() -> None:
    raise PermanentError("accident", "this will never work")


def _surprise() -> None:
    raise RuntimeError("nobody thought of this")


def _kill() -> None:
    raise Killed


# What may strike where. The store has no errors of its own but a database that is away.
ACCIDENTS: dict[str, tuple[Callable[[], None], Callable[[str], bool]]] = {
    "transient": (_transient, lambda moment: True),
    "permanent": (_permanent, lambda moment: "commit" not in moment),
    "surprise": (_surprise, lambda moment: moment.startswith("before") and "commit" not in moment),
    "killed": (_kill, lambda moment: True),
}
# What a half-done removal may leave missing where it failed for good, until it is sent again. A disk says: is removing.
HALF_REMOVED = {
    "bmi.node.unmap.v1": ("pointer-missing", "target-missing", "seed-missing", "disk-missing", "disk-unfinished"),
    "bmi.disk.remove.v1": ("disk-missing", "disk-unfinished"),
    "bmi.orphan.remove.v1": ("disk-orphaned",),
}


def test_every_command_has_a_recipe() -> None:
    """A new command is crashed everywhere, by existing."""
    assert set(RECIPES) == set(discover().commands)


def _site(folder: Path, blank: Path, recipe: Recipe, owners: bool) -> Bench:
    folder.mkdir()
    bench = Bench(folder, blank=blank, owners=owners).open()
    recipe.prepare(bench)
    return bench


def _run(bench: Bench) -> None:
    """One worker until it has nothing to do or dies; then others, of another instance."""
    bench.trip.armed = True
    try:
        bench.settle()
    except Killed:
        bench.die()
        bench.clock.advance(LEASE + 1)
    bench.trip.armed = False
    bench.settle(bench.worker(bench.identity))


def _judge(bench: Bench, one: Operation, recipe: Recipe, what: str) -> None:
    failed = _ended(bench, one, what)
    assert not failed or what.startswith("permanent"), f"{what}: only what can never work may fail"
    tolerated = HALF_REMOVED.get(one.type, ()) if failed else ()
    if not tolerated:
        _mend(bench)
        _clear(bench)
    left = [one for one in bench.unexplained() if not one.startswith(tolerated)]
    assert left == [], f"{what}: {'failed' if failed else 'done'}"
    if failed and recipe.again:
        second = recipe.send(bench)
        bench.settle()
        assert not _ended(bench, second, f"{what}: again"), f"{what}: again: {bench.find(second.id).problem}"
        assert bench.unexplained() == [], f"{what}: again"


def _ended(bench: Bench, one: Operation, what: str) -> bool:
    """One end for it and for each of its members; whether any of them has failed."""
    ended = [bench.find(one.id), *bench.view().members(one.id)]
    for each in ended:
        assert each.phase in FINAL, f"{what}: {each.phase}, {each.why}"
        assert len(bench.finals(each.id)) == 1, f"{what}: {bench.types(each.id)}"
    return any(each.phase is Phase.FAILED for each in ended)


def _clear(bench: Bench) -> None:
    """What a tenant does who was told that an old disk is left."""
    for disk in bench.view().disks():
        if disk.state is DiskState.REMOVING and disk.node is None:
            assert disk.name in str(bench.events()), "nobody was told"
            bench.do("disk.remove", project=disk.project, disk=disk.name)


def _mend(bench: Bench) -> None:
    """What the daemon does by itself every two seconds."""
    for _ in range(3):
        if bench.export_watch().run_once():
            bench.settle()


def _moments(bench: Bench, recipe: Recipe) -> list[str]:
    one = recipe.send(bench)
    bench.trip.armed = True
    bench.settle()
    bench.trip.armed = False
    assert bench.find(one.id).phase is Phase.SUCCEEDED, bench.find(one.id).problem
    _judge(bench, one, recipe, "without any accident")
    return bench.trip.seen


WITHOUT_OWNERS = ("cycle", "no-power", "resume", "restore")  # what else differs in a storage that knows no owners
CASES = [
    pytest.param(recipe, owners, id=f"{kind.split('.', 1)[1]}-{recipe.name}-{'owners' if owners else 'plain'}")
    for kind, recipes in RECIPES.items()
    for recipe in recipes
    for owners in ((True, False) if recipe.name in WITHOUT_OWNERS else (True,))
]


@pytest.mark.parametrize(("recipe", "owners"), CASES)
def test_an_accident_at_any_moment_leaves_one_end_and_nothing_else(
    tmp_path: Path, blank: Path, recipe: Recipe, owners: bool
) -> None:
    """Before and after each driver call (then the work is done and the answer lost) and each commit."""
    bench = _site(tmp_path / "site", blank, recipe, owners)
    bench.keep()
    moments = _moments(bench, recipe)
    assert moments
    for accident, (strike, fits) in ACCIDENTS.items():
        for number, moment in enumerate(moments):
            if not fits(moment):
                continue
            bench.rewind()
            one = recipe.send(bench)
            bench.trip.at, bench.trip.strike = number, strike
            _run(bench)
            assert bench.trip.seen[number] == moment
            _judge(bench, one, recipe, f"{accident} {moment} ({number})")
    bench.close()
