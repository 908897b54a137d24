"""What may strike a command in the middle of its work, and what must be true afterwards, whatever it was.

Which moments are tried is the tests' business. The recipes of all commands are put together here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bmid.drivers.loader import PASSIVE
from bmid.errors import PermanentError, TransientError
from bmid.model.entity import DiskState
from bmid.model.operation import FINAL, Operation, Phase
from tests.support.accident import Killed
from tests.support.bench import LEASE, Bench
from tests.support.recipe import IMAGE_RECIPES, Recipe, public
from tests.support.recipe_node import DISK_RECIPES, NODE_RECIPES
from tests.support.recipe_site import SITE_RECIPES

__all__ = ["ACCIDENTS", "HALF_REMOVED", "RECIPES", "Accident", "ended", "judge", "site", "struck"]


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
# What a half-done removal may leave missing where it failed for good, until it is sent again. A disk says: is removing.
HALF_REMOVED = {
    "bmi.node.unmap.v1": ("pointer-missing", "target-missing", "seed-missing", "disk-missing", "disk-unfinished"),
    "bmi.disk.remove.v1": ("disk-missing", "disk-unfinished"),
    "bmi.orphan.remove.v1": ("disk-orphaned",),
}


def _transient(_: Bench) -> None:
    raise TransientError("accident", "this may work later")


def _permanent(_: Bench) -> None:
    raise PermanentError("accident", "this will never work")


def _surprise(_: Bench) -> None:
    raise RuntimeError("nobody thought of this")


def _kill(_: Bench) -> None:
    raise Killed


def _freeze(bench: Bench) -> None:
    """SIGSTOP for longer than its claim lasts: others go on with it, to its end, before it wakes."""
    bench.clock.advance(LEASE + 1)
    bench.settle(bench.worker(bench.new_identity()))
    bench.trip.armed = True  # what the woken one still does is seen
    bench.trip.woken = len(bench.trip.seen)


@dataclass(frozen=True)
class Accident:
    """What strikes. `at` says at which moments it can; the store has no errors of its own but a database that is away.
    `column` is where the table of docs/reliability.md has it. `shared`: only where several heads have the storage."""

    column: str
    strike: Callable[[Bench], None]
    at: Callable[[str], bool]
    fails: bool = False
    shared: bool = False


ACCIDENTS = {
    "killed": Accident("killed", _kill, lambda moment: True),
    "transient": Accident("error that passes", _transient, lambda moment: moment.startswith("before")),
    "surprise": Accident(
        "error that passes", _surprise, lambda moment: moment.startswith("before") and "commit" not in moment
    ),
    "permanent": Accident("error for good", _permanent, lambda moment: "commit" not in moment, fails=True),
    "lost": Accident("done, answer lost", _transient, lambda moment: moment.startswith("after")),
    "frozen": Accident("frozen past its claim", _freeze, lambda moment: moment.startswith("after")),
    "late": Accident(
        "frozen in a call of the storage", _freeze, lambda moment: moment.startswith("before storage."), shared=True
    ),
}


def site(folder: Path, blank: Path, recipe: Recipe, owners: bool) -> Bench:
    """A site on which the recipe can be tried."""
    folder.mkdir()
    bench = Bench(folder, blank=blank, owners=owners).open()
    recipe.prepare(bench)
    return bench


def struck(bench: Bench, accident: Accident, number: int) -> None:
    """One worker until it has nothing to do or dies, struck at that moment; then others, of another instance."""
    trip = bench.trip
    trip.at, trip.strike, trip.armed = number, lambda: accident.strike(bench), True
    try:
        bench.settle()
    except Killed:
        bench.die()
        bench.clock.advance(LEASE + 1)
    trip.armed = False
    bench.settle(bench.worker(bench.identity))


def judge(bench: Bench, one: Operation, recipe: Recipe, accident: Accident | None, what: str) -> None:
    """One end, nothing else left, and nothing done by whoever woke too late."""
    after = bench.trip.seen[bench.trip.woken :] if bench.trip.woken else []
    touched = [moment for moment in after if moment.partition(".")[2] not in {"", *PASSIVE}]
    assert touched == [], f"{what}: the woken one went on: {touched}"
    failed = ended(bench, one, what)
    assert not failed or (accident is not None and accident.fails), f"{what}: only what can never work may fail"
    tolerated = HALF_REMOVED.get(one.type, ()) if failed else ()
    if not tolerated:
        _mend(bench)
        _clear(bench)
    left = [one for one in bench.unexplained() if not one.startswith(tolerated)]
    assert left == [], f"{what}: {'failed' if failed else 'done'}, and left {left}"
    if failed and recipe.again:
        second = recipe.send(bench)
        bench.settle()
        assert not ended(bench, second, f"{what}: again"), f"{what}: again: {bench.find(second.id).problem}"
        assert bench.unexplained() == [], f"{what}: again"


def ended(bench: Bench, one: Operation, what: str) -> bool:
    """One end for it and for each of its members; whether any of them has failed."""
    every = [bench.find(one.id), *bench.view().members(one.id)]
    for each in every:
        assert each.phase in FINAL, f"{what}: {each.phase}, {each.why}"
        assert len(bench.finals(each.id)) == 1, f"{what}: {bench.types(each.id)}"
    return any(each.phase is Phase.FAILED for each in every)


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
