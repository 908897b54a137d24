"""Query image.show: one image and what hangs on it."""

from __future__ import annotations

from typing import Any, ClassVar

from bmid.handlers.base import QueryHandler, View
from bmid.handlers.shape import image_shape, unknown
from bmid.messages.base import Query
from bmid.model.name import ImageName, ProjectName

__all__ = ["QUERY", "ShowImage"]


class ShowImage(Query):
    """Show one image."""

    type: ClassVar[str] = "bmi.image.show.v1"
    project: ProjectName
    image: ImageName


def answer(query: ShowImage, view: View) -> dict[str, Any]:
    """With the disks that were cloned from it, and their nodes."""
    image = view.image(query.project, query.image)
    if image is None:
        raise unknown("image", f"{query.project}/{query.image}")
    disks = [{"disk": disk.name, "project": disk.project, "node": disk.node} for disk in view.disks_of(image.id)]
    return {"image": image_shape(image) | {"disks": disks}}


QUERY = QueryHandler(ShowImage, answer)
