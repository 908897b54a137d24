"""How the ends of commands are told: records on standard output, problems on standard error, one exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from bmi_publish.group import parts_of
from bmi_publish.output import show
from bmi_publish.result import Result, State
from bmi_publish.ticket import Ticket
from bmid.errors import Problem

__all__ = ["Form", "complain", "note", "tell_results", "tell_tickets"]

SAID = frozenset({"operation", "project", "command", "id"})  # in other columns, or in the user's own words
SHORT = 31  # characters; what is longer is an id, a digest or a target's name


@dataclass(frozen=True)
class Form:
    """How the user wants it: format, columns, and whether it is about one thing (no list)."""

    format: str
    columns: tuple[str, ...]
    single: bool
    noun: str


def tell_tickets(names: Sequence[str], tickets: Sequence[Ticket], form: Form) -> None:
    """What was published, when nobody waits for its end."""
    records = [_identity(form.noun, name, ticket) for name, ticket in zip(names, tickets, strict=True)]
    show(records, form.format, form.columns, single=form.single, usual=(form.noun, "message", "correlation"))


def tell_results(names: Sequence[str], results: Sequence[Result], form: Form) -> int:
    """How they ended. Returns the exit code: the highest of all."""
    records = []
    for name, result in zip(names, results, strict=True):
        record = {**_identity(form.noun, name, result.ticket), "state": str(result.state)}
        record["operation"] = result.operation
        record["data"] = dict(result.event.data) if result.event else {}
        record["detail"] = _detail(result, name)
        if result.problem:
            record["problem"] = result.problem.model_dump(mode="json")
        records.append(record)
    if form.format == "table" and not form.columns and (parts := _parts(names, results, form)):
        show(parts, form.format, (), single=False, usual=tuple(dict.fromkeys(key for part in parts for key in part)))
    else:
        show(records, form.format, form.columns, single=form.single, usual=(form.noun, "state", "operation", "detail"))
    for name, result in zip(names, results, strict=True):
        if result.problem:
            complain(result.problem, f"{name}: {result.state}")
    return max((result.exit_code for result in results), default=0)


def _parts(names: Sequence[str], results: Sequence[Result], form: Form) -> list[dict[str, Any]]:
    """Members of groups and steps of plans, for people; nothing, unless all that ended has such parts."""
    found: list[dict[str, Any]] = []
    for name, result in zip(names, results, strict=True):
        parts = list(parts_of(result.event)) if result.event else []
        if not parts:
            return []
        found += parts if form.single else [{form.noun: name, **part} for part in parts]
    return found


def note(text: str) -> None:
    """How something stands that goes on, on standard error."""
    click.echo(f"bmi-publish: {text}", err=True)


def complain(problem: Problem, about: str = "Error") -> None:
    """What went wrong, on standard error: title, detail, what to do next, what was undone."""
    lines = [f"{about}: {problem.title}: {problem.detail}"]
    if problem.step:
        lines.append(f"  failed step: {problem.step}")
    if problem.undone:
        lines.append(f"  undone: {', '.join(problem.undone)}")
    if problem.todo:
        lines.append(f"  next: {problem.todo}")
    for line in lines:
        click.echo("".join(char if char.isprintable() else " " for char in line), err=True)


def _identity(noun: str, name: str, ticket: Ticket) -> dict[str, Any]:
    return {noun: name, "message": ticket.id, "correlation": ticket.correlation}


def _detail(result: Result, name: str) -> str:
    """The few values of the outcome that a person wants to see in a line."""
    if result.state is not State.DONE:
        return result.problem.detail if result.problem else ""
    data = result.event.data if result.event else {}
    shown = {
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in data.items()
        if key not in SAID and isinstance(value, (str, int))
    }
    return " ".join(f"{key}={text}" for key, text in shown.items() if text != name and len(text) <= SHORT)
