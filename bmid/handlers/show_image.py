"""Query image.show: one image and what hangs on it."""

from __future__ import annotations

from typing import Any, ClassVar

from bmid.handlers.base import QueryHandler, View
from bmid.handlers.shape import image_shape, unknown
from bmid.messages.base import Query
from bmid.model.name import ImageName, ProjectName
from bmid.model.page import Asked, ListedImage

__all__ = ["QUERY", "ShowImage"]


class ShowImage(Query):
    """Show one image."""

    type: ClassVar[str] = "bmi.image.show.v1"
    project: ProjectName
    image: ImageName


def answer(query: ShowImage, view: View) -> dict[str, Any]:
    """With the images and disks that were made from it, and the nodes that run it."""
    found = view.page(ListedImage, Asked("name", where={"project": query.project, "name": query.image})).rows
    if not found:
        raise unknown("image", f"{query.project}/{query.image}")
    image = found[0]
    disks = view.disks_of(image.id)
    hanging = {
        "children": [child.reference for child in view.children(image.id)],
        "disks": [{"disk": disk.name, "project": disk.project, "node": disk.node} for disk in disks],
        "nodes": sorted(disk.node for disk in disks if disk.node),
    }
    defaults = view.default_labels([image.id] if image.defaults else [])
    return {"image": image_shape(image, defaults.get(image.id, ())) | hanging}


QUERY = QueryHandler(ShowImage, answer)
