"""What is known of one command that was published: from events, and from answers to the operation query.

Pure: nothing is sent or received here, and there is no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from bmi_publish.boot import Until
from bmi_publish.group import EARLY_ENDS, group_problem
from bmi_publish.result import Result, State
from bmi_publish.ticket import Ticket
from bmid.errors import Problem
from bmid.messages.envelope import Envelope
from bmid.messages.operation import CommandRejected, OperationAccepted, OperationFailed, OperationProgressed
from bmid.model.operation import Phase

__all__ = ["Watch"]

ON_THE_WAY = frozenset({OperationAccepted.type, OperationProgressed.type})


class Watch:
    """Follows one command to its end.

    `outcome` is the type of the event that ends it well; None where it isn't known: then any event that the command
    caused, other than those of every operation, is taken for it. With `until`, only what it names ends the
    watch well; a group ends with its summary and a dry run with its plan all the same.
    """

    def __init__(self, ticket: Ticket, outcome: str | None, until: Until | None = None) -> None:
        self.ticket = ticket
        self.until = until
        self.sent = ticket.envelope is None
        self.confirmed = self.sent
        self.accepted = False
        self.result: Result | None = None
        self.operation: str | None = None
        self.done: Result | None = None
        self._outcome = outcome
        self._told = 0
        self._told_boot = 0

    def see(self, event: Envelope) -> bool:
        """Take an event into account. False if it isn't about this command."""
        if self._later(event):
            return True
        if event.causationid != self.ticket.id:
            return False
        if event.type == CommandRejected.type:
            if event.data.get("source", self.ticket.source) != self.ticket.source:
                return False
            self.result = self._end(State.REJECTED, event)
            return True
        operation = event.data.get("operation")
        self.operation = operation if isinstance(operation, str) else self.operation
        if event.type == OperationAccepted.type:
            self.accepted = True
        elif event.type == OperationFailed.type:
            self.result = self._end(State.REFUSED if event.data.get("refused") else State.FAILED, event)
        elif event.type in EARLY_ENDS:
            problem = group_problem(event)
            state = State.FAILED if problem else State.DONE
            self.done = self.result = Result(self.ticket, state, self.operation, event, problem)
        elif event.type == self._outcome or (self._outcome is None and event.type not in ON_THE_WAY):
            self._succeed(self._end(State.DONE, event))
        return True

    def tell(self, operation: Mapping[str, Any]) -> None:
        """Take the operation query's answer into account. The outcome event tells more than it, so the end is first
        answered by sending the command again; the query's own word is taken when that brings nothing."""
        named = operation.get("operation")
        self.operation = named if isinstance(named, str) else self.operation
        phase = operation.get("phase")
        if self.result or self.done or phase not in (Phase.SUCCEEDED, Phase.FAILED):
            return
        self._told += 1
        if self._told == 1 and self.ticket.envelope is not None:
            self.sent = False
        elif phase == Phase.SUCCEEDED:
            self._succeed(Result(self.ticket, State.DONE, self.operation))
        else:
            state = State.REFUSED if operation.get("refused") else State.FAILED
            self.result = Result(self.ticket, state, self.operation, problem=_problem(operation.get("problem")))

    def tell_boot(self, node: Mapping[str, Any]) -> None:
        """Take the answer to the query that `until` names into account: at the second time, since the event tells more,
        and may be on its way."""
        boot, done = node.get("boot"), self.done
        if not isinstance(boot, dict) or self.until is None or done is None:
            return
        # Another disk means that somebody else has mapped the node meanwhile.
        same = done.event is None or done.event.data.get("disk") == node.get("disk")
        state = self.until.stages.get(str(boot.get("stage"))) if same else None
        if state is None:
            return
        self._told_boot += 1
        if self._told_boot > 1:
            problem = None if state is State.DONE else _boot_problem(boot)
            self.result = Result(self.ticket, state, self.operation, done.event, problem)

    def missed(self) -> None:
        """Events may have been missed: send again what was not accepted, as far as we know."""
        if self.ticket.envelope is not None and not self.accepted:
            self.sent = False

    def give_up(self, problem: Problem) -> Result:
        """The result when the time is up."""
        if self.result is None:
            state = State.RUNNING if self.confirmed else State.UNSENT
            event = self.done.event if self.done else None
            self.result = Result(self.ticket, state, self.operation, event, problem)
        return self.result

    def _later(self, event: Envelope) -> bool:
        state = self.until.events.get(event.type) if self.until else None
        same = self.ticket.envelope is not None and event.subject == self.ticket.envelope.subject
        if state is None or not same or event.correlationid != self.ticket.correlation:
            return False
        self.result = self._end(state, event)
        return True

    def _succeed(self, result: Result) -> None:
        self.done = result
        if self.until is None:
            self.result = result

    def _end(self, state: State, event: Envelope) -> Result:
        problem = None
        if state is not State.DONE:
            given = event.data.get("problem")
            problem = _boot_problem(event.data) if given is None and "stage" in event.data else _problem(given)
        return Result(self.ticket, state, self.operation, event, problem)


def _problem(value: Any) -> Problem:
    try:
        return Problem.model_validate(value)
    except ValidationError:
        detail = str(value.get("detail", value)) if isinstance(value, dict) else "no reason was given"
        return Problem.of("failed", detail, todo="`bmi-publish operation show` tells more.")


def _boot_problem(boot: Mapping[str, Any]) -> Problem:
    """Of what a boot event, or the query about it, says."""
    seen = boot.get("evidence")
    steps = f" (seen: {', '.join(sorted(seen))})" if isinstance(seen, dict) and seen else ""
    detail = f"the node came as far as: {boot.get('stage')}, in {boot.get('attempt')} attempts{steps}"
    return Problem.of("boot-failed", detail, todo=str(boot.get("todo") or "Look at the node's console."))
