"""Query image.list: the images of a project, or all."""

from __future__ import annotations

from typing import Any, ClassVar

from bmid.handlers.base import QueryHandler, View
from bmid.handlers.shape import image_shape
from bmid.messages.base import Query
from bmid.model.name import ProjectName

__all__ = ["QUERY", "ListImages"]


class ListImages(Query):
    """List images."""

    type: ClassVar[str] = "bmi.image.list.v1"
    project: ProjectName | None = None


def answer(query: ListImages, view: View) -> dict[str, Any]:
    """By name."""
    return {"images": [image_shape(one) for one in view.images(query.project)]}


QUERY = QueryHandler(ListImages, answer)
