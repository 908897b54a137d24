"""Whatever is interrupted, wherever: another worker finishes it or undoes it, once, and nothing is left over.

Every command of the registry is run with every kind of accident at each of its driver calls and commits: a third of
them each time, all of them with the long ones. A command that has no recipe fails the suite.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bmid.engine.outgoing import OutboxReader
from bmid.errors import TransientError
from bmid.handlers.registry import discover
from bmid.model.operation import Phase
from tests.support.accident import Killed
from tests.support.bench import LEASE, Bench
from tests.support.crash import ACCIDENTS, RECIPES, Accident, judge, site, struck
from tests.support.letter import Letter
from tests.support.recipe import Recipe

pytestmark = pytest.mark.usefixtures("quiet")
SAMPLE = 3  # of so many moments one is tried in the quick run, each accident at others
WITHOUT_OWNERS = ("cycle", "no-power", "resume", "restore")  # what else differs in a storage that knows no owners
CASES = [
    pytest.param(recipe, owners, id=f"{kind.split('.', 1)[1]}-{recipe.name}-{'owners' if owners else 'plain'}")
    for kind, recipes in RECIPES.items()
    for recipe in recipes
    for owners in ((True, False) if recipe.name in WITHOUT_OWNERS else (True,))
]
INTERNAL = {name for name, handler in discover().commands.items() if handler.internal}
SENT = [pytest.param(recipes[0], id=kind.split(".", 1)[1]) for kind, recipes in RECIPES.items() if kind not in INTERNAL]


def test_every_command_has_a_recipe() -> None:
    """A new command is crashed everywhere, by existing."""
    assert set(RECIPES) == set(discover().commands)


def _moments(bench: Bench, recipe: Recipe) -> list[str]:
    one = recipe.send(bench)
    bench.trip.armed = True
    bench.settle()
    bench.trip.armed = False
    assert bench.find(one.id).phase is Phase.SUCCEEDED, bench.find(one.id).problem
    judge(bench, one, recipe, None, "without any accident")
    return list(bench.trip.seen)


def _strike_everywhere(folder: Path, blank: Path, recipe: Recipe, owners: bool, every: int) -> None:
    bench = site(folder / "site", blank, recipe, owners)
    bench.keep()
    moments = _moments(bench, recipe)
    assert moments
    for index, (name, accident) in enumerate(ACCIDENTS.items()):
        for number, moment in enumerate(moments):
            if not accident.at(moment) or (accident.shared and not owners) or (number + index) % every:
                continue
            bench.rewind()
            one = recipe.send(bench)
            struck(bench, accident, number)
            assert bench.trip.seen[number] == moment
            judge(bench, one, recipe, accident, f"{name} {moment} ({number})")
    bench.close()


@pytest.mark.parametrize(("recipe", "owners"), CASES)
def test_an_accident_at_some_moments_leaves_one_end_and_nothing_else(
    tmp_path: Path, blank: Path, recipe: Recipe, owners: bool
) -> None:
    """A sample of them, the same each time."""
    _strike_everywhere(tmp_path, blank, recipe, owners, SAMPLE)


@pytest.mark.long
@pytest.mark.parametrize(("recipe", "owners"), CASES)
def test_an_accident_at_any_moment_leaves_one_end_and_nothing_else(
    tmp_path: Path, blank: Path, recipe: Recipe, owners: bool
) -> None:
    """Before and after each driver call (then the work is done and the answer lost) and each commit."""
    _strike_everywhere(tmp_path, blank, recipe, owners, 1)


@pytest.mark.parametrize("name", ["killed", "lost", "acknowledgement"])
@pytest.mark.parametrize("recipe", SENT)
def test_a_command_that_is_delivered_again_is_accepted_once(
    tmp_path: Path, blank: Path, recipe: Recipe, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Struck before or after the commit of its acceptance, or only the acknowledgement is lost."""
    accident = ACCIDENTS.get(name)
    for number in (0, 1) if accident else (99,):
        bench = site(tmp_path / f"site{number}", blank, recipe, owners=True)
        real = bench.acceptance.receive

        def twice(letter: Letter, bench: Bench = bench, number: int = number, real: object = real) -> str:
            monkeypatch.setattr(bench.acceptance, "receive", real)
            _interrupted(bench, accident, number, letter)
            return bench.acceptance.receive(letter)

        monkeypatch.setattr(bench.acceptance, "receive", twice)
        before = len(bench.view().operations(500))
        one = recipe.send(bench)
        accepted = bench.view().operations(500)
        assert len(accepted) == before + 1 + len(bench.view().members(one.id))
        assert bench.types(one.id) == ["bmi.operation.accepted.v1"]
        bench.settle()
        judge(bench, one, recipe, None, f"{name} at acceptance")
        bench.close()


def _interrupted(bench: Bench, accident: Accident | None, number: int, letter: Letter) -> None:
    if accident:
        bench.trip.at, bench.trip.strike, bench.trip.armed = number, lambda: accident.strike(bench), True
    try:
        bench.acceptance.receive(letter)
    except (Killed, TransientError):
        assert accident, "nothing was to strike here"
    bench.trip.armed, bench.trip.seen = False, []


def _relay(bench: Bench, heard: list[str]) -> None:
    """What a relay does: publish, then mark."""
    reader = OutboxReader(bench.database, bench.identity)
    while batch := reader.batch(5):
        for event in batch:
            bench.trip("before publish")
            heard.append(event.message_id)
            bench.trip("after publish")
        reader.published([event.key for event in batch], [])


@pytest.mark.parametrize("name", ["killed", "lost"])
def test_every_event_is_heard_in_order_wherever_its_relay_is_struck(tmp_path: Path, blank: Path, name: str) -> None:
    """Before or after each publish and each mark; published twice at most for each death, under the same id."""
    recipe = next(one for one in RECIPES["bmi.node.map.v1"] if one.name == "group")
    bench = site(tmp_path / "site", blank, recipe, owners=True)
    recipe.send(bench)
    bench.settle()
    bench.keep()
    bench.trip.armed = True
    _relay(bench, whole := [])
    moments = list(bench.trip.seen)
    assert len(whole) == len(bench.events()) > 10
    for number, _ in enumerate(moments):
        bench.rewind()
        heard: list[str] = []
        bench.trip.at, bench.trip.strike, bench.trip.armed = number, lambda: ACCIDENTS[name].strike(bench), True
        with pytest.raises((Killed, TransientError)):
            _relay(bench, heard)
        bench.die()
        bench.clock.advance(LEASE + 1)
        _relay(bench, heard)
        assert list(dict.fromkeys(heard)) == whole
        assert len(heard) <= len(whole) + 5
    bench.close()
