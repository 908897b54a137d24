"""What node.power plans, and what it makes of the boot that is watched."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from bmid.model.entity import BootStage
from bmid.steps.base import Plan
from bmid.steps.power import CyclePower, PowerOn
from tests.support.plan import kinds, outcome_of, plan_of, undone
from tests.support.view import FREE, NOW, ON, OPERATION, boot, context

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


RETRY = {"node": "n1", "disk": "id-d1"}
LATER = NOW + timedelta(seconds=1)


@pytest.mark.parametrize("deadline", [None, LATER], ids=["switched off", "started anew"])
def test_a_retry_that_waited_behind_a_power_command_leaves_the_node_alone(deadline: datetime | None) -> None:
    """Else a node that was just switched off would be switched on again, and one that is booting cut short."""
    plan = plan_of("boot.retry", RETRY, context(*ON, boot(deadline=deadline)))
    assert plan == Plan(memo={"changed": False})


def test_a_retry_that_failed_counts_unless_the_node_has_booted_meanwhile() -> None:
    """And has a time of its own."""
    given = context(*ON, boot(base=3))
    plan = plan_of("boot.retry", RETRY, given)
    (again,) = undone("boot.retry", RETRY, given, plan)
    assert (again.entity.attempt, again.entity.base, again.entity.deadline) == (2, 3, NOW + timedelta(seconds=600))
    assert undone("boot.retry", RETRY, context(*ON, boot(stage=BootStage.BOOTED)), plan) == ()


def test_sessions_count_from_the_start_only_where_the_target_was_put_back() -> None:
    """Else what a dead system left behind would be taken for a sign of life."""
    for rows, bases in ((ON, [0]), (FREE, [])):
        given = context(*rows, boot(base=5))
        outcome = outcome_of("export.restore", RETRY, given, plan_of("export.restore", RETRY, given))
        assert [change.entity.base for change in outcome.changes] == bases
