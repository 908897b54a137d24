"""What a publisher makes of events and answers."""

from __future__ import annotations

from typing import Any

from bmi_publish.boot import BOOTED
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


def test_what_was_never_confirmed_by_the_broker_is_unsent_and_not_running() -> None:
    problem = Problem.of("timeout", "t")
    assert watch().give_up(problem).exit_code == 69
    one = watch()
    one.sent = one.confirmed = True
    assert one.give_up(problem).exit_code == 75
