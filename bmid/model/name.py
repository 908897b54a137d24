"""The forms of names, and nothing that gives them a meaning.

Projects and nodes are RFC 1123 labels, because they appear in routing keys. Images and disks may also have
single dots and underscores inside. No name can hold a path separator, a quote, `..` or a control character.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints

__all__ = [
    "DiskName",
    "ImageName",
    "ImageRef",
    "Label",
    "LabelKey",
    "Labels",
    "Mac",
    "NodeName",
    "ProjectName",
    "Text",
    "split_image",
]

LABEL = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
DOTTED = r"[a-z0-9](?:(?:\.?[a-z0-9_-])*\.?[a-z0-9])?"
MAC = re.compile(r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$")

Label = Annotated[str, StringConstraints(pattern=LABEL, max_length=63)]
ProjectName = Label
NodeName = Label
ImageName = Annotated[str, StringConstraints(pattern=rf"^{DOTTED}$", max_length=63)]
DiskName = ImageName
ImageRef = Annotated[
    str, StringConstraints(pattern=rf"^(?:[a-z0-9](?:[a-z0-9-]{{0,61}}[a-z0-9])?/)?{DOTTED}$", max_length=127)
]
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=255)]
LabelKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9._/-]{0,61}[a-z0-9])?$")]
Labels = Annotated[dict[LabelKey, Text], Field(max_length=64)]


def _mac(value: str) -> str:
    text = value.strip().lower().replace("-", ":")
    if not MAC.match(text):
        raise ValueError("a MAC address has the form 52:54:00:12:34:56")
    if int(text[:2], 16) & 1:
        raise ValueError("this is a multicast address, not the address of a network card")
    return text


Mac = Annotated[str, AfterValidator(_mac)]


def split_image(reference: str, project: str) -> tuple[str, str]:
    """`project/image` or `image` (of the given project) as (project, image)."""
    owner, slash, name = reference.partition("/")
    return (owner, name) if slash else (project, reference)
