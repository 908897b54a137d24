"""An operation: one accepted command, durable until its end and some time after."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

__all__ = ["FINAL", "Operation", "Phase"]


class Phase(StrEnum):
    """Where an operation is.

    pending: accepted, not yet planned. running: planned, its steps are being applied or waited for.
    reverting: it failed, what it did is being undone. stuck: it can't be undone without a person.
    succeeded, failed: ended; its final event is in the outbox.
    """

    PENDING = "pending"
    RUNNING = "running"
    REVERTING = "reverting"
    STUCK = "stuck"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


FINAL = frozenset({Phase.SUCCEEDED, Phase.FAILED})


@dataclass(frozen=True)
class Operation:
    """One accepted command.

    `plan` is the plan as it was stored (JSON), `marks` what its steps wrote down, `facts` among them;
    `attempts` counts failures in a row; `due_at` is the next look; `why` says what it waits for. `parent` is the
    operation of the command that asked for this one beside others. `clients` are the addresses at the storage of those
    who had it in hand, never gave it back, and are not cut off yet.
    """

    id: str
    seq: int
    type: str
    command: dict[str, Any]
    user: str
    source: str
    message: str
    correlation: str
    phase: Phase
    accepted_at: datetime
    due_at: datetime
    project: str | None = None
    traceparent: str | None = None
    home: str | None = None
    plan: dict[str, Any] | None = None
    marks: dict[str, Any] = field(default_factory=dict)
    attempts: int = 0
    first_failed_at: datetime | None = None
    why: str = ""
    problem: dict[str, Any] | None = None
    ended_at: datetime | None = None
    parent: str | None = None
    expires_at: datetime | None = None
    clients: tuple[str, ...] | None = None
