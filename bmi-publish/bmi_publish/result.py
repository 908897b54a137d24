"""How a command ended, as far as its publisher knows. No waiting here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bmi_publish.ticket import Ticket
from bmid.errors import Problem
from bmid.messages.envelope import Envelope
from bmid.model.exit import Exit

__all__ = ["Result", "State"]

NOT_ALLOWED = frozenset({"not-allowed", "forbidden"})


class State(StrEnum):
    """done: as asked. failed: tried, and undone. refused: the state of the site said no, nothing was done.
    rejected: the message can never be accepted. running: not ended within the time allowed.
    unsent: the broker never confirmed the message, so it may be safely sent again with the same id."""

    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    REJECTED = "rejected"
    RUNNING = "running"
    UNSENT = "unsent"


EXIT_CODES = {
    State.DONE: Exit.DONE,
    State.FAILED: Exit.FAILED,
    State.REFUSED: Exit.REFUSED,
    State.REJECTED: Exit.REFUSED,
    State.RUNNING: Exit.RUNNING,
    State.UNSENT: Exit.UNAVAILABLE,
}


@dataclass(frozen=True)
class Result:
    """The end of a command. `event` is the event that ended it (None if only the operation query told of it),
    `operation` the operation's id where one is known, `problem` what went wrong."""

    ticket: Ticket
    state: State
    operation: str | None = None
    event: Envelope | None = None
    problem: Problem | None = None

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return self.state is State.DONE

    @property
    def exit_code(self) -> Exit:
        """What bmi-publish ends with."""
        if self.state is State.REJECTED and self.problem and self.problem.slug in NOT_ALLOWED:
            return Exit.FORBIDDEN
        return EXIT_CODES[self.state]
