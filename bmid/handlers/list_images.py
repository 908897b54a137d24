"""Query image.list: the images of a project, or all, with their lineage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import Field

from bmid.handlers.base import QueryHandler, View
from bmid.handlers.page import AsideFilter, ListQuery, NamedOrder, Pattern
from bmid.handlers.shape import image_shape
from bmid.model.name import ImageRef, Labels, ProjectName
from bmid.model.page import ListedImage

__all__ = ["QUERY", "ListImages"]


class ListImages(ListQuery):
    """List images. `children` and `disks` say how many hang on each."""

    type: ClassVar[str] = "bmi.image.list.v1"
    project: ProjectName | None = Field(None, description="only images of this project")
    state: Literal["importing", "ready"] | None = Field(None, description="only images in this state")
    parent: ImageRef | None = Field(
        None, description="only images made from this one: project/image, or image of `project`"
    )
    labels: Labels = Field(default_factory=dict, description="only images with all of these labels")
    aside: AsideFilter = None
    name: Pattern | None = Field(None, description="only names like this; * stands for anything, ? for a character")
    order: NamedOrder = Field("name", description="what they are ordered by; with -: the last one first")


def answer(query: ListImages, view: View) -> dict[str, Any]:
    """One page."""

    def shapes(rows: Sequence[ListedImage]) -> list[dict[str, Any]]:
        defaults = view.default_labels([one.id for one in rows if one.defaults])
        return [image_shape(one, defaults.get(one.id, ())) for one in rows]

    return query.answered(view, ListedImage, "images", shapes)


QUERY = QueryHandler(ListImages, answer)
