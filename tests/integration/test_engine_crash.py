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
from bmid.handlers.restore_export import RestoreExport
from bmid.handlers.retry_boot import RetryBoot
from bmid.model.operation import FINAL, Operation, Phase
from tests.support.accident import Killed
from tests.support.bench import LEASE, Bench
from tests.support.recipe import IMAGE_RECIPES, Recipe, public

pytestmark = pytest.mark.usefixtures("quiet")


def _mapped(bench: Bench) -> None:
    bench.furnish("n1")
    bench.do("node.map", project="p1", node="n1", image="debian")


def _mapped_quiet(bench: Bench) -> None:
    """A node without power whose session is dead but listed, as after a power cut."""
    bench.furnish("n1", power=False)
    bench.do("node.map", project="p1", node="n1", image="debian")
    disk = bench.view().disks()[0]
    secret = bench.ports().secret(disk.id, disk.generation)
    bench.target.log_in(disk.shard, disk.number, address=disk.address, user=disk.id, secret=secret)
    bench.boot.answering[disk.address] = False


def _forgotten(bench: Bench) -> None:
    _mapped(bench)
    bench.target.restart("0")


def _second_project(bench: Bench) -> None:
    bench.do("project.create", project="p2")


def _retry(bench: Bench) -> Operation:
    return bench.submit(RetryBoot(node="n1", disk=bench.view().node("n1").disk))


def _restore(bench: Bench) -> Operation:
    return bench.submit(RestoreExport(node="n1", disk=bench.view().node("n1").disk))


MAP = {"project": "p1", "node": "n1", "image": "debian"}
RECIPES: dict[str, list[Recipe]] = {
    **IMAGE_RECIPES,
    "bmi.project.create.v1": [Recipe("create", public("project.create", project="p2"))],
    "bmi.project.remove.v1": [
        Recipe("remove", public("project.remove", project="p2"), _second_project),
    ],
    "bmi.node.register.v1": [Recipe("register", public("node.register", node="n2", macs=["52:54:00:00:00:02"]))],
    "bmi.node.remove.v1": [Recipe("remove", public("node.remove", node="n1"))],
    "bmi.node.map.v1": [
        Recipe("cycle", public("node.map", **MAP)),
        Recipe("no-power", public("node.map", **MAP, power="none")),
    ],
    "bmi.node.unmap.v1": [
        Recipe("power", public("node.unmap", project="p1", node="n1"), _mapped),
        Recipe("quiet", public("node.unmap", project="p1", node="n1"), _mapped_quiet),
        Recipe("force", public("node.unmap", project="p1", node="n1", force=True), _mapped_quiet),
    ],
    "bmi.export.restore.v1": [Recipe("restore", _restore, _forgotten)],
    "bmi.boot.retry.v1": [Recipe("retry", _retry, _mapped)],
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
# What a half-done removal may leave missing where it failed for good, until it is sent again.
HALF_REMOVED = {
    "bmi.image.remove.v1": ("missing image", "image debian is not ready"),
    "bmi.node.unmap.v1": ("no pointer", "no open target", "missing disk", "disk n1-"),  # it says: is removing
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
    ended = bench.find(one.id)
    assert ended.phase in FINAL, f"{what}: {ended.phase}, {ended.why}"
    assert len(bench.finals(one.id)) == 1, f"{what}: {bench.types(one.id)}"
    failed = ended.phase is Phase.FAILED
    tolerated = HALF_REMOVED.get(ended.type, ()) if failed else ()
    if not tolerated:
        _mend(bench)
    left = [one for one in bench.unexplained() if not one.startswith(tolerated)]
    assert left == [], f"{what}: {ended.phase}"
    if failed and recipe.again:
        second = recipe.send(bench)
        bench.settle()
        assert bench.find(second.id).phase is Phase.SUCCEEDED, f"{what}: again: {bench.find(second.id).problem}"
        assert bench.unexplained() == [], f"{what}: again"


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


CASES = [
    pytest.param(recipe, owners, id=f"{kind.split('.', 1)[1]}-{recipe.name}-{'owners' if owners else 'plain'}")
    for kind, recipes in RECIPES.items()
    for recipe in recipes
    for owners in ((True, False) if kind in ("bmi.node.map.v1", "bmi.export.restore.v1") else (True,))
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
