"""project.create: a tenant. The same name again succeeds and changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bmid.handlers.base import Context, Handler, Outcome
from bmid.messages.base import Command, Event
from bmid.model.change import Put
from bmid.model.claim import Key
from bmid.model.entity import Project
from bmid.model.name import ProjectName
from bmid.steps.base import Plan

__all__ = ["HANDLER", "CreateProject", "ProjectCreated"]


class CreateProject(Command):
    """Make a project."""

    type: ClassVar[str] = "bmi.project.create.v1"
    project: ProjectName

    def subject(self) -> str:
        """The project."""
        return f"project/{self.project}"


class ProjectCreated(Event):
    """The project is there. `changed` is False if it was before."""

    type: ClassVar[str] = "bmi.project.created.v1"
    operation: str
    project: str
    changed: bool

    def subject(self) -> str:
        """The project."""
        return f"project/{self.project}"


def keys(command: CreateProject) -> tuple[Key, ...]:
    """The project, exclusively."""
    return (Key(f"project:{command.project}", exclusive=True),)


def plan(command: CreateProject, context: Context) -> Plan:
    """Nothing in the world; a row at the end."""
    return Plan(memo={"changed": context.view.project(command.project) is None})


def finish(command: CreateProject, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The row, unless it is there."""
    changed = bool(plan.memo["changed"])
    project = Project(id=context.operation, name=command.project, created_at=context.now)
    event = ProjectCreated(operation=context.operation, project=command.project, changed=changed)
    return Outcome(event, (Put(project),) if changed else ())


HANDLER = Handler(CreateProject, ProjectCreated, keys, plan, finish)
