"""project.remove: refused while the project owns anything, and says what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from bmid.errors import Refused
from bmid.handlers.base import Context, Handler, Outcome
from bmid.handlers.trash import nobodys
from bmid.messages.base import Command, Event
from bmid.model.change import Drop, Put
from bmid.model.claim import Key
from bmid.model.entity import Disk, Image
from bmid.model.name import ProjectName
from bmid.steps.base import Plan

__all__ = ["HANDLER", "ProjectRemoved", "RemoveProject"]


class RemoveProject(Command):
    """Remove a project that owns nothing. What it has in the trash can't be restored any more."""

    type: ClassVar[str] = "bmi.project.remove.v1"
    project: ProjectName

    def subject(self) -> str:
        """The project."""
        return f"project/{self.project}"


class ProjectRemoved(Event):
    """The project is gone. `changed` is False if there was none."""

    type: ClassVar[str] = "bmi.project.removed.v1"
    operation: str
    project: str
    changed: bool

    def subject(self) -> str:
        """The project."""
        return f"project/{self.project}"


def keys(command: RemoveProject) -> tuple[Key, ...]:
    """The project, exclusively."""
    return (Key(f"project:{command.project}", exclusive=True),)


def plan(command: RemoveProject, context: Context) -> Plan:
    """Nothing in the world."""
    kinds = (("disk", Disk), ("image", Image))
    owned = [f"{word} {name}" for word, kind in kinds for name in context.view.names(kind, command.project)]
    if owned:
        detail = f"project {command.project} still owns {', '.join(owned)}"
        todo = "Unmap its nodes, then remove its disks and images."
        raise Refused("project-not-empty", detail, todo=todo, owned=owned)
    return Plan(memo={"changed": context.view.project(command.project) is not None})


def finish(command: RemoveProject, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The row goes. What was its own in the trash is nobody's then: whoever takes the name later can't restore it."""
    project = context.view.project(command.project)
    trashed = (Put(nobodys(one, context.now)) for one in context.view.trashed(command.project))
    event = ProjectRemoved(operation=context.operation, project=command.project, changed=plan.memo["changed"])
    return Outcome(event, (*((Drop(project),) if project else ()), *trashed))


HANDLER = Handler(RemoveProject, ProjectRemoved, keys, plan, finish)
