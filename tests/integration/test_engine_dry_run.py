"""Every command as a dry run, and every command that comes too late: told whole, and nothing is done. On twins."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bmid.handlers.registry import discover
from bmid.model.operation import Operation, Phase
from tests.support.bench import Bench
from tests.support.recipe import IMAGE_RECIPES, Recipe, public
from tests.support.recipe_node import DISK_RECIPES, NODE_RECIPES

pytestmark = pytest.mark.usefixtures("quiet")
REGISTRY = discover()


def second(bench: Bench) -> None:
    bench.do("project.create", project="p2")


PROJECT_RECIPES = {
    "bmi.project.create.v1": [Recipe("create", public("project.create", project="p2"))],
    "bmi.project.remove.v1": [Recipe("remove", public("project.remove", project="p2"), second)],
}
RECIPES = [
    pytest.param(recipe, id=f"{kind}-{recipe.name}")
    for kind, recipes in (IMAGE_RECIPES | NODE_RECIPES | DISK_RECIPES | PROJECT_RECIPES).items()
    for recipe in recipes
    if not REGISTRY.commands[kind].internal
]


class Saying(Bench):
    """A site to which every command says `more`."""

    more: dict[str, Any] = {}

    def command(self, kind: str, **data: Any) -> Operation:
        return super().command(kind, **data, **self.more)

    def upload(self, operation: str, content: bytes) -> None:
        """Nobody uploads for a command that won't take it."""
        if not self.more:
            super().upload(operation, content)


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Saying]:
    site = Saying(tmp_path, blank=blank)
    site.open()
    yield site
    site.close()


def rows(bench: Bench) -> list[Any]:
    """All that the database says of the site."""
    view = bench.view()
    return [sorted(map(repr, found)) for found in (view.projects(), view.images(), view.nodes(), view.disks())]


def untouched(bench: Saying, recipe: Recipe, more: dict[str, Any]) -> list[Operation]:
    """The operations of a command that leaves rows and world as they were, the group's first."""
    before, bench.trip.armed, bench.trip.seen = rows(bench), True, []
    bench.more = more
    one = recipe.send(bench)
    bench.settle()
    bench.more, bench.trip.armed = {}, False
    assert [moment for moment in bench.trip.seen if "commit" not in moment] == []
    assert rows(bench) == before
    return [bench.find(one.id), *bench.view().members(one.id)]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_dry_run_tells_the_steps_of_the_run_and_does_none(bench: Saying, recipe: Recipe) -> None:
    """The run itself then finds nothing in its way, and takes just these steps."""
    recipe.prepare(bench)
    told = [bench.final(one.id) for one in untouched(bench, recipe, {"dry_run": True})]
    planned = [one["data"] for one in told if one["type"] == "bmi.operation.planned.v1"]
    assert len(planned) == len(told) - (len(told) > 1), "one for each node of a group, which has an end of its own"
    assert all(one["changed"] for one in planned)
    one = recipe.send(bench)
    bench.settle()
    ran = [bench.find(one.id), *bench.view().members(one.id)]
    assert {each.phase for each in ran} == {Phase.SUCCEEDED}
    plans = [each.plan["stages"] for each in (ran[1:] or ran) if each.plan]
    steps = [[step["kind"] for stage in stages for step in stage] for stages in plans]
    assert [[step["step"] for step in one["steps"]] for one in planned] == steps


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_command_whose_time_is_over_is_told_so_and_does_nothing(bench: Saying, recipe: Recipe) -> None:
    """It was in time when it was sent."""
    recipe.prepare(bench)
    past = (bench.clock.moment - timedelta(seconds=1)).isoformat()
    for one in untouched(bench, recipe, {"expires_at": past}):
        failed = bench.final(one.id)["data"]
        assert (failed["refused"], failed["problem"]["type"]) == (True, "urn:bmi:problem:expired")


def test_a_dry_run_of_what_is_so_already_says_that_nothing_would_change(bench: Saying) -> None:
    """Also where the run would look for something in the world."""
    bench.furnish("n1")
    for kind, data in (
        ("project.create", {"project": "p1"}),
        ("disk.create", {"project": "p1", "disk": "d1", "image": "debian"}),
        ("node.map", {"project": "p1", "node": "n1", "image": "debian"}),
        ("image.update", {"project": "p1", "image": "debian", "labels": {"a": "b"}}),
    ):
        bench.do(kind, **data)
        assert bench.do(kind, **data, dry_run=True)["changed"] is False
