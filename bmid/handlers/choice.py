"""How commands say which golden image they mean: by its name, or by labels. No message of its own."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bmid.model.claim import Key
from bmid.model.name import ImageRef, Labels, split_image

__all__ = ["ImageChoice", "LabelsChoice", "image_keys"]

ImageChoice = Annotated[
    ImageRef | None, Field(description="a golden image, `image` of this project or `project/image`")
]
LabelsChoice = Annotated[
    Labels | None,
    Field(min_length=1, description="in place of `image`: the one that the project has as default for these labels"),
]


def image_keys(image: str | None, project: str) -> tuple[Key, ...]:
    """The image, shared. By labels there is none: which image that is shows when the command's turn has come."""
    if image is None:
        return ()
    owner, name = split_image(image, project)
    return (Key(f"image:{owner}/{name}", exclusive=False),)
