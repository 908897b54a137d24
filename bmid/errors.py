"""Errors, sorted by what the engine does next.

Only kinds of errors live here. Which third-party exception becomes which kind is decided once, in a table
at the edge where that third party is called.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "BmiError",
    "ClaimLost",
    "Misconfigured",
    "PermanentError",
    "Problem",
    "Refused",
    "Rejected",
    "TransientError",
]


class Problem(BaseModel):
    """Problem details in the form of RFC 9457, with the members that an operator needs.

    `type` is a URN that never changes its meaning; `todo` says what to do next; `step` is the step of the plan
    that failed; `undone` lists the steps that were reverted; `extra` holds figures and names for programs.
    """

    model_config = ConfigDict(frozen=True)

    type: str
    title: str
    detail: str
    todo: str = ""
    step: str | None = None
    undone: tuple[str, ...] = ()
    extra: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, slug: str, detail: str, *, todo: str = "", **extra: object) -> Problem:
        """A problem named by its slug (`disk-in-place`), from which type and title follow."""
        title = slug.replace("-", " ").capitalize()
        return cls(type=f"urn:bmi:problem:{slug}", title=title, detail=detail, todo=todo, extra=extra)

    @property
    def slug(self) -> str:
        """The last part of the type."""
        return self.type.rpartition(":")[2]


class BmiError(Exception):
    """An error that carries a problem a person can act on."""

    def __init__(self, slug: str, detail: str, *, todo: str = "", **extra: object) -> None:
        super().__init__(detail)
        self.problem = Problem.of(slug, detail, todo=todo, **extra)


class Rejected(BmiError):
    """The message can never be accepted: answer `command.rejected` with all reasons, acknowledge, forget."""

    def __init__(self, slug: str, detail: str, *, todo: str = "", reasons: tuple[str, ...] = ()) -> None:
        super().__init__(slug, detail, todo=todo)
        self.reasons = reasons or (detail,)


class Refused(BmiError):
    """The state of the site says no: end the operation as failed, `refused: true`, with nothing done."""


class TransientError(BmiError):
    """It may work later: run the plan again from the top, after `delay` seconds or the usual back-off."""

    def __init__(self, slug: str, detail: str, *, todo: str = "", delay: float | None = None, **extra: object) -> None:
        super().__init__(slug, detail, todo=todo, **extra)
        self.delay = delay


class PermanentError(BmiError):
    """It will never work: undo what was done, then report."""


class ClaimLost(BmiError):
    """Another worker has the claim now: stop at once and touch nothing."""

    def __init__(self, detail: str = "the claim on this operation has passed to another worker") -> None:
        super().__init__("claim-lost", detail, todo="Nothing: whoever has the claim now goes on.")


class Misconfigured(BmiError):
    """The settings or the machine do not allow a start: say so and exit."""

    def __init__(self, detail: str, *, todo: str = "") -> None:
        super().__init__("misconfigured", detail, todo=todo)
