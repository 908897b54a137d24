"""What lies in a storage beside images and disks, as it was written when they were made: the reading side.

What is written is decided in placement.py and in the handlers of images; what rows follow, in recovery.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from bmid.errors import Refused
from bmid.model.entity import Firmware
from bmid.model.name import DiskName, ImageName, Labels, Mac, NodeName, ProjectName

__all__ = ["DiskNote", "ImageNote", "N", "Remnant", "of_one_site", "read_note"]


@dataclass(frozen=True)
class Remnant:
    """Something of ours in the storage: an image (golden, or never finished), a disk, or one of them in the trash.

    `firmware`: what was read off an image that doesn't say it. `removed_at`: when it came into the trash.
    """

    kind: Literal["image", "disk"]
    id: str
    metadata: Mapping[str, object] = field(default_factory=dict)
    size: int = 0
    trashed: bool = False
    firmware: tuple[str, ...] | None = None
    removed_at: datetime | None = None


class _Note(BaseModel):
    """A later version may write more."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    created_at: AwareDatetime | None = None


N = TypeVar("N", bound=_Note)


class ImageNote(_Note):
    """What is said of an image. What has a default was not written by the first version."""

    kind: Literal["image"]
    project: ProjectName
    image: ImageName
    format: str = ""
    sha256: str = ""
    firmware: tuple[str, ...] | None = None
    description: str = ""
    labels: Labels = Field(default_factory=dict)
    parent: str | None = None


class DiskNote(_Note):
    """What is said of a disk, and of the node that has it. What has a default was not written by the first version."""

    kind: Literal["disk"]
    project: ProjectName
    name: DiskName
    image: str
    image_name: str
    node: NodeName | None
    macs: tuple[Mac, ...]
    boot_mac: Mac | None
    firmware: Firmware | None
    network: str | None
    address: str | None
    hostname: str | None
    head: str | None
    shard: str | None
    number: Annotated[int, Field(gt=0)]
    iqn: str
    generation: int
    state: Literal["mapped", "parked", "discarded"]
    seeded: bool = False
    portal: str | None = None
    node_id: str | None = None
    node_created_at: AwareDatetime | None = None
    node_generation: int | None = None
    node_address: str | None = None
    node_labels: Labels = Field(default_factory=dict)
    node_hil_name: str | None = None

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if self.state == "mapped" and not (self.node and self.macs and self.boot_mac and self.head and self.shard):
            raise ValueError("it is mapped, and doesn't say to which node, or where")
        return self


def of_one_site(found: Sequence[Remnant], wanted: str | None) -> tuple[Sequence[Remnant], str]:
    """What is of one site, and the id of that site; empty where nothing says of which it is, as an early version
    did not. Such things are of the only site there is, and where there are several, of none.

    Refused `several-sites` where it has to be said which is `wanted`, and `site-unknown` where nothing is of that one.
    """
    count = Counter(str(one.metadata["site"]) for one in found if one.metadata.get("site"))
    if wanted is None and len(count) > 1:
        detail = "things of several sites are in this storage: "
        detail += ", ".join(f"{number} of {site}" for site, number in count.most_common())
        raise Refused("several-sites", detail, todo="Say which with --site; those of the others stay as they are.")
    if wanted is not None and wanted not in count:
        raise Refused("site-unknown", f"nothing in this storage is of site {wanted}", todo="Leave --site out.")
    site = wanted or next(iter(count), "")
    ours = {site, None} if len(count) < 2 else {site}
    return [one for one in found if (one.metadata.get("site") or None) in ours], site


def read_note(kind: type[N], one: Remnant) -> N | str:
    """What a thing says of itself; or why that can't be used."""
    if not one.metadata:
        return "it says nothing of itself: it was never finished"
    try:
        note = kind.model_validate(dict(one.metadata))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return f"what it says of itself can't be read ({where + ': ' if where else ''}{first['msg']})"
    # Copies begin with what was said of their original.
    return note if note.id == one.id else f"it says that it is {note.id}: it was never finished"
