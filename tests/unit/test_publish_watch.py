"""What a publisher makes of events and answers."""

from __future__ import annotations

from typing import Any

from bmi_publish.boot import BOOTED
from bmi_publish.group import parts_of
from bmi_publish.result import State
from bmi_publish.ticket import Ticket
from bmi_publish.watch import Watch
from bmid.errors import Problem
from bmid.messages.envelope import Envelope

COMMAND = Envelope(
    id="c1", source="/s", type="bmi.node.map.v1", subject="node/n1", data={"project": "p1", "node": "n1"}
)
OUTCOME = "bmi.node.mapped.v1"


def event(kind: str, *, cause: str = "c1", correlation: str = "c1", subject: str = "node/n1", **data: Any) -> Envelope:
    return Envelope(
        id="e", source="/bmid", type=kind, subject=subject, causationid=cause, correlationid=correlation, data=data
    )


def watch(**options: Any) -> Watch:
    return Watch(Ticket.of(COMMAND), OUTCOME, **options)


def test_events_of_another_command_change_nothing() -> None:
    one = watch()
    assert not one.see(event(OUTCOME, cause="c2"))
    assert one.result is None


def test_a_rejection_of_another_source_with_the_same_id_is_not_ours() -> None:
    one = watch()
    problem = Problem.of("x", "y").model_dump(mode="json")
    assert not one.see(event("bmi.command.rejected.v1", source="/other", problem=problem))
    assert one.see(event("bmi.command.rejected.v1", source="/s", problem=problem))
    assert one.result is not None
    assert one.result.state is State.REJECTED


def test_progress_is_no_end() -> None:
    one = watch()
    assert one.see(event("bmi.operation.progressed.v1", operation="o", done=1, total=2))
    assert one.see(event("bmi.disk.cloned.v1", operation="o")), "some other event on the way"
    assert (one.result, one.operation) == (None, "o")


def test_a_problem_that_nobody_can_read_is_still_a_failure() -> None:
    one = watch()
    one.see(event("bmi.operation.failed.v1", operation="o", problem={"detail": "odd"}))
    assert one.result is not None
    assert one.result.problem is not None
    assert (one.result.state, one.result.problem.detail) == (State.FAILED, "odd")


def test_an_end_told_by_the_query_is_first_asked_for_by_sending_again() -> None:
    one = watch()
    one.sent = True
    one.tell({"operation": "o", "phase": "running"})
    assert one.sent
    one.tell({"operation": "o", "phase": "succeeded"})
    assert not one.sent, "the repeat brings the outcome event"
    assert one.result is None
    one.tell({"operation": "o", "phase": "succeeded"})
    assert one.result is not None
    assert (one.result.state, one.result.operation) == (State.DONE, "o")


def test_after_a_loss_only_what_was_not_accepted_is_sent_again() -> None:
    one = watch()
    one.sent = True
    one.missed()
    assert not one.sent
    one.sent = True
    one.see(event("bmi.operation.accepted.v1", operation="o"))
    one.missed()
    assert one.sent


def test_a_boot_counts_only_for_the_same_node_and_correlation() -> None:
    one = watch(until=BOOTED)
    one.see(event(OUTCOME, operation="o", disk="d1"))
    assert one.result is None
    assert not one.see(event("bmi.node.booted.v1", cause="x", subject="node/n2"))
    assert not one.see(event("bmi.node.booted.v1", cause="x", correlation="c9"))
    assert one.see(event("bmi.node.booted.v1", cause="x"))
    assert one.result is not None
    assert one.result.ok


def test_the_event_of_a_boot_is_waited_for_a_moment_where_the_query_knows_it_already() -> None:
    """It tells more: at which stage a boot came to its end."""
    answer = {"node": "n1", "disk": "d1", "boot": {"stage": "failed", "attempt": 2}}
    for heard in (True, False):
        one = watch(until=BOOTED)
        one.see(event(OUTCOME, operation="o", disk="d1"))
        one.tell_boot(answer)
        assert one.result is None
        if heard:
            one.see(event("bmi.node.boot-failed.v1", cause="x", stage="waiting"))
        else:
            one.tell_boot(answer)
        assert one.result is not None
        assert one.result.state is State.FAILED
        assert one.result.problem is not None
        assert ("waiting" in one.result.problem.detail) is heard


def test_what_was_never_confirmed_by_the_broker_is_unsent_and_not_running() -> None:
    problem = Problem.of("timeout", "t")
    assert watch().give_up(problem).exit_code == 69
    one = watch()
    one.sent = one.confirmed = True
    assert one.give_up(problem).exit_code == 75


def group(*phases: str) -> Envelope:
    members = [
        {
            "node": f"n{number}", "operation": f"o{number}", "phase": phase,
            "problem": None if phase == "succeeded" else Problem.of("x", f"{phase} {number}").model_dump(mode="json"),
        }
        for number, phase in enumerate(phases, 1)
    ]  # fmt: skip
    return event("bmi.group.finished.v1", subject="operation/o", operation="o", members=members)


def test_a_group_is_done_when_all_of_it_is_and_else_failed_with_the_names() -> None:
    one, other = watch(), watch(until=BOOTED)
    assert one.see(group("succeeded", "succeeded"))
    assert one.result is not None
    assert one.result.ok
    assert other.see(group("succeeded", "failed"))
    assert other.result is not None
    assert other.result.problem is not None
    assert (other.result.state, other.result.exit_code) == (State.FAILED, 1)
    assert other.result.problem.detail == "1 of 2 nodes failed: n2: failed 2"
    assert other.result.problem.extra == {"nodes": ["n2"]}


def test_of_many_that_failed_a_few_are_named() -> None:
    one = watch()
    one.see(group(*["failed"] * 40))
    assert one.result is not None
    assert one.result.problem is not None
    assert one.result.problem.detail.endswith("n5: failed 5; and 35 more")
    assert len(one.result.problem.extra["nodes"]) == 40  # type: ignore[arg-type]


def test_a_dry_run_ends_with_its_plan_also_where_a_boot_is_waited_for() -> None:
    for one in (watch(), watch(until=BOOTED)):
        one.see(event("bmi.operation.planned.v1", operation="o", changed=True, steps=[]))
        assert one.result is not None
        assert one.result.ok


def test_people_see_the_members_of_a_group_and_the_steps_of_a_plan() -> None:
    assert [(one["node"], one["state"], one["detail"]) for one in parts_of(group("succeeded", "failed"))] == [
        ("n1", "done", ""), ("n2", "failed", "failed 2"),
    ]  # fmt: skip
    step = {"step": "clone-disk", "stage": 2, "details": {"disk": "d", "metadata": {"a": 1}, "long": "x" * 99}}
    planned = event("bmi.operation.planned.v1", operation="o", changed=True, steps=[step])
    assert list(parts_of(planned)) == [{"stage": 2, "step": "clone-disk", "detail": "disk=d"}]
    assert list(parts_of(event(OUTCOME))) == []
