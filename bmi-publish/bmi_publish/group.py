"""The ends that say more than done or not: of a group its members, of a dry run its steps. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bmid.errors import Problem
from bmid.handlers.group import GroupFinished
from bmid.messages.envelope import Envelope
from bmid.messages.operation import OperationPlanned

__all__ = ["EARLY_ENDS", "group_problem", "parts_of"]

EARLY_ENDS = frozenset({GroupFinished.type, OperationPlanned.type})  # nothing that could be waited for follows them
MOST = 5  # nodes that a sentence names
SHORT = 40  # characters of a value in a line


def group_problem(event: Envelope) -> Problem | None:
    """What went wrong in a group: which nodes have failed, and why. None where none has."""
    failed = [one for one in _members(event) if one.get("phase") == "failed"]
    if event.type != GroupFinished.type or not failed:
        return None
    named = "; ".join(f"{one.get('node')}: {_why(one)}" for one in failed[:MOST])
    more = f"; and {len(failed) - MOST} more" if len(failed) > MOST else ""
    detail = f"{len(failed)} of {len(_members(event))} nodes failed: {named}{more}"
    nodes = [str(one.get("node")) for one in failed]
    todo = "The others are done. See to these, then send the command again for them, under a new id."
    return Problem.of("group-failed", detail, todo=todo, nodes=nodes)


def parts_of(event: Envelope) -> Iterator[dict[str, Any]]:
    """A record for each member of a group, or for each step of a plan; none for any other event."""
    if event.type == GroupFinished.type:
        for one in _members(event):
            done = one.get("phase") == "succeeded"
            yield {
                "node": one.get("node"),
                "state": "done" if done else "failed",
                "operation": one.get("operation"),
                "detail": "" if done else _why(one),
            }
    if event.type == OperationPlanned.type:
        for step in event.data.get("steps", ()):
            yield {"stage": step.get("stage"), "step": step.get("step"), "detail": _line(step.get("details") or {})}


def _members(event: Envelope) -> list[Mapping[str, Any]]:
    members = event.data.get("members")
    return [one for one in members if isinstance(one, dict)] if isinstance(members, list) else []


def _why(member: Mapping[str, Any]) -> str:
    problem = member.get("problem")
    return str(problem.get("detail", "")) if isinstance(problem, dict) else "no reason was given"


def _line(details: Mapping[str, Any]) -> str:
    plain = {key: str(value) for key, value in details.items() if isinstance(value, (str, int))}
    return " ".join(f"{key}={text}" for key, text in plain.items() if text and len(text) <= SHORT)
