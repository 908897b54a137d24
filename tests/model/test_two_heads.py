"""Whatever tenants ask of two heads and whatever breaks between: rules of a state machine, with a small model of what
tenants may expect as its oracle.

The heads are those of simulated worlds. What the model doesn't say, the site mustn't be; each time that all has come to
rest, it is judged as a world is.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.support.tenant import commands
from tests.support.world.database import blank_bytes
from tests.support.world.story import BMCS, MOMENTS, SHORT, Command, Fault, Story
from tests.support.world.verdict import judge
from tests.support.world.world import Past, opened, past

pytestmark = pytest.mark.usefixtures("quiet")
KINDS = (
    "project.create", "project.remove", "image.import", "image.copy", "image.remove", "node.map", "node.map ",
    "node.unmap", "node.rebuild", "node.snapshot", "node.power", "node.remove", "disk.create", "disk.remove",
    "disk.snapshot",
)  # fmt: skip
HEADS, USERS = st.sampled_from(["h1", "h2"]), st.sampled_from(["alice", "bob"])
SECONDS = st.sampled_from([1.0, 8.0, 40.0, 80.0])
MOMENT = st.builds("{} {}".format, st.sampled_from(["before", "after"]), st.sampled_from(MOMENTS))


class TwoHeads(RuleBasedStateMachine):
    """Two heads on virtual time, beside their model."""

    def __init__(self, before: Past) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.world = self._stack.enter_context(opened(Story(0, (), (), SHORT), before))
        self.world.last = 0.0
        self.world.begin()
        self.sound = True

    @rule(batch=st.lists(st.tuples(USERS, commands(*KINDS)), min_size=1, max_size=3), twice=st.booleans())
    def send(self, batch: list[tuple[str, tuple[str, dict[str, Any]]]], twice: bool) -> None:
        """Commands arrive; the first perhaps again, later."""
        world = self.world
        for user, (kind, data) in batch:
            one = Command(world.stage.now, f"c{len(world.story.commands)}", user, kind, data)
            world.story = replace(world.story, commands=(*world.story.commands, one))
            world.send(one)
            if twice:
                world.stage.add("publisher", user, lambda one=one: world.send(one), after=5.0)  # type: ignore[misc]
                world.last, twice = world.stage.now + 5.0, False

    @rule(seconds=st.sampled_from([0.2, 1.0, 5.0, 20.0, 45.0]))
    def pass_by(self, seconds: float) -> None:
        """Time."""
        self._go(seconds)

    @rule(head=HEADS | st.just(""), kind=st.sampled_from(["kill", "freeze", "error", "slow"]), what=MOMENT,
          seconds=SECONDS, value=st.sampled_from(["transient", "surprise"]))  # fmt: skip
    def strike(self, head: str, kind: str, what: str, seconds: float, value: str) -> None:
        """A head is struck at a moment that is still to come."""
        self._fault(Fault(kind, head, nth=1, seconds=seconds, value=value, what=what))

    @rule(head=HEADS, kind=st.sampled_from(["kill", "freeze", "stop", "drain", "database", "broker"]), seconds=SECONDS)
    def befall(self, head: str, kind: str, seconds: float) -> None:
        """A head, its machine or what it needs is gone for a while; or a person empties it."""
        self._fault(Fault(kind, head, at=self.world.stage.now, seconds=seconds))

    @rule(head=HEADS, shard=st.sampled_from(["0", "1"]), seconds=SECONDS, down=st.booleans())
    def lose_target(self, head: str, shard: str, seconds: float, down: bool) -> None:
        """A tgtd forgets all, or doesn't answer."""
        self._fault(Fault("shard" if down else "tgtd", head, at=self.world.stage.now, seconds=seconds, value=shard))

    @rule(node=st.sampled_from(BMCS), seconds=SECONDS, value=st.sampled_from(["dead", "lies"]))
    def lose_bmc(self, node: str, seconds: float, value: str) -> None:
        """A BMC is silent, or tells lies."""
        self._fault(Fault("bmc", node, at=self.world.stage.now, seconds=seconds, value=value))

    @rule(head=HEADS, address=st.sampled_from(["10.77.0.1", "10.77.0.2"]))
    def move(self, head: str, address: str) -> None:
        """A person has an address moved."""
        self._fault(Fault("move", head, at=self.world.stage.now, value=address))

    @rule(head=HEADS, told=st.booleans())
    def lose_machine(self, head: str, told: bool) -> None:
        """One of them is gone for good; perhaps a person says so."""
        self._fault(Fault("off", head, at=self.world.stage.now))
        if told and self.world.by_name[head].off:
            self.world.operator.drain(self.world.by_name[head])

    @precondition(lambda self: any(head.off for head in self.world.heads))
    @rule()
    def replace_machine(self) -> None:
        """A new machine of the same name, with nothing on it."""
        for head in [one for one in self.world.heads if one.off]:
            head.replace()
            head.start()
            self.world.operator.undrain(head)
        self._go(0.1)

    @rule()
    def rest(self) -> None:
        """Nothing goes wrong until all is done: then the site is what the model says."""
        self.sound = False
        for head in [one for one in self.world.heads if one.off]:
            other = next(one for one in self.world.heads if one is not head)
            self.world.operator.undrain(other)
        self.world.rest()
        found = judge(self.world)
        assert found == [], "\n".join([*found[:5], *self.world.stage.story[-60:]])
        self.world.fate.quiet = False
        self.sound = True

    @invariant()
    def nobody_is_led_astray(self) -> None:
        """At no moment."""
        world = self.world
        assert [*world.log.wrong, *world.witness.wrong, *world.nodes.wrong, *world.nodes.errors] == []

    def _fault(self, one: Fault) -> None:
        self.world.story = replace(self.world.story, faults=(*self.world.story.faults, one))
        if one.nth < 0:
            self.world.fate.befall(one)
            self._go(0.1)
        else:
            self.world.fate.expect(one)

    def _go(self, seconds: float) -> None:
        self.sound = False
        self.world.stage.run(lambda: False, self.world.stage.now + seconds)
        self.sound = True

    def teardown(self) -> None:
        """What is under way is brought to its end as well."""
        try:
            if self.sound:
                self.rest()
        finally:
            self._stack.close()


@pytest.fixture(scope="module")
def before(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Past:
    """How worlds begin."""
    return past(blank_bytes(blank), tmp_path_factory.mktemp("imports"))


def _try(before: Past, examples: int, steps: int) -> None:
    run_state_machine_as_test(
        lambda: TwoHeads(before),
        settings=settings(
            derandomize=True,
            database=None,
            deadline=None,
            max_examples=examples,
            stateful_step_count=steps,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_two_heads_are_what_their_model_says_whatever_breaks(before: Past) -> None:
    """The same sequences in every run."""
    _try(before, 15, 15)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_so_they_are_in_longer_lives_and_more_of_them(before: Past) -> None:
    """The same rules."""
    _try(before, 300, 40)
