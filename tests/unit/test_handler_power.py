"""What node.power plans, and what it makes of the boot that is watched."""

from __future__ import annotations

from bmid.model.entity import BootStage
from bmid.steps.power import CyclePower, PowerOn
from tests.support.plan import kinds, outcome_of, plan_of
from tests.support.view import FREE, ON, OPERATION, boot, context

N1 = {"project": "p1", "node": "n1"}


def test_a_mapped_node_that_is_switched_on_boots_from_the_network_and_is_watched() -> None:
    """Only if it was off."""
    plan = plan_of("node.power", {**N1, "action": "on"}, context(*ON))
    assert kinds(plan) == [["require-allocated", "note-sessions"], ["power-on"]]
    step = plan.stages[1][0]
    assert isinstance(step, PowerOn)
    assert step.network
    given, data = context(*ON, boot()), {**N1, "action": "on"}
    same = outcome_of("node.power", data, given, plan, base=3)
    assert (same.changes, same.event.payload()["changed"]) == ((), False)
    changed = outcome_of("node.power", data, given, plan, base=3, **{"on-asked": ["now"]})
    (watched,) = changed.changes
    assert (watched.entity.base, watched.entity.operation) == (3, OPERATION)
    assert watched.entity.deadline is not None


def test_nobody_waits_for_the_boot_of_a_node_that_is_switched_off() -> None:
    """A boot that has ended is left as it was."""
    data = {**N1, "action": "off"}
    plan = plan_of("node.power", data, context(*ON))
    marks = {"off-asked": ["now"], "base": 2}
    (watched,) = outcome_of("node.power", data, context(*ON, boot()), plan, **marks).changes
    assert (watched.entity.deadline, watched.entity.stage, watched.entity.base) == (None, BootStage.WAITING, 2)
    assert outcome_of("node.power", data, context(*ON, boot(stage=BootStage.BOOTED)), plan, **marks).changes == ()


def test_a_cycle_that_fails_does_not_switch_the_node_off() -> None:
    """Nothing is taken away from it. A free node has no home and boots as it likes."""
    plan = plan_of("node.power", {**N1, "action": "cycle"}, context(*FREE))
    assert (kinds(plan), plan.home) == ([["require-allocated"], ["cycle-power"]], None)
    step = plan.stages[1][0]
    assert isinstance(step, CyclePower)
    assert step.stays
