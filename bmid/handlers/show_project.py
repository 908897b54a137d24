"""Query project.show: one project and what it owns."""

from __future__ import annotations

from typing import Any, ClassVar

from bmid.handlers.base import QueryHandler, View
from bmid.handlers.shape import project_shape, unknown
from bmid.messages.base import Query
from bmid.model.entity import Disk, Image
from bmid.model.name import ProjectName

__all__ = ["QUERY", "ShowProject"]


class ShowProject(Query):
    """Show one project."""

    type: ClassVar[str] = "bmi.project.show.v1"
    project: ProjectName


def answer(query: ShowProject, view: View) -> dict[str, Any]:
    """With the names of its images and disks."""
    project = view.project(query.project)
    if project is None:
        raise unknown("project", query.project)
    owned = {
        "images": list(view.names(Image, project.name)),
        "disks": list(view.names(Disk, project.name)),
    }
    return {"project": project_shape(project) | owned}


QUERY = QueryHandler(ShowProject, answer)
