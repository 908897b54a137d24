"""image.export: a golden image goes to a file in the site's export folder, or to an RBD image in a listed pool.

Nothing is ever overwritten. A file can be fetched from the head by whoever has the token of the command.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bmid.handlers import demand, place
from bmid.handlers.base import Context, Handler, Outcome
from bmid.handlers.place import FileName, RbdImage, Sha256
from bmid.messages.base import Command, Event
from bmid.model.claim import Key
from bmid.model.entity import Image
from bmid.model.name import ImageName, ProjectName
from bmid.model.site import Site
from bmid.steps.base import Plan, Stages
from bmid.steps.export import WRITTEN, PlaceFile, ReleaseForeign, WriteFile, WriteForeign

__all__ = ["HANDLER", "ExportImage", "ExportPlace", "ImageExported"]


class ExportPlace(BaseModel):
    """Where the image goes: exactly one of file and rbd."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: FileName | None = Field(None, description="name of a new file in the site's export folder")
    format: Literal["raw", "qcow2"] | None = Field(None, description="of the file; qcow2 if not said")
    token: Sha256 | None = Field(None, description="SHA-256 (hex) of the token that the file may be fetched with")
    rbd: RbdImage | None = Field(None, description="a new RBD image in a pool that the site's settings list")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.file is None) == (self.rbd is None):
            raise ValueError("give exactly one of file and rbd")
        if self.rbd and (self.format or self.token):
            raise ValueError("format and token are a file's; an RBD image is raw, and is fetched from its pool")
        return self


class ExportImage(Command):
    """Export a golden image to a file or to an RBD image; never over anything that is there."""

    type: ClassVar[str] = "bmi.image.export.v1"
    project: ProjectName
    image: ImageName
    to: ExportPlace = Field(description="where it goes: exactly one of file and rbd")

    def subject(self) -> str:
        """The image."""
        return f"image/{self.project}/{self.image}"


class ImageExported(Event):
    """The image is whole at its new place. A file is `size` bytes long; an RBD image is as large as the node's disk."""

    type: ClassVar[str] = "bmi.image.exported.v1"
    operation: str
    project: str
    image: str
    size: int = Field(description="bytes of the file, or of the RBD image")
    format: str
    sha256: str = Field(description="SHA-256 of the file; empty for an RBD image")
    file: str | None = Field(None, description="the file's name in the export folder")
    rbd: str | None = Field(None, description="the RBD image, as `POOL/IMAGE`")
    url: str | None = Field(None, description="the address to GET the file from, where the command had a token")

    def subject(self) -> str:
        """The image."""
        return f"image/{self.project}/{self.image}"


def keys(command: ExportImage) -> tuple[Key, ...]:
    """Project and image shared: who takes a name outside of BMI first is settled there."""
    return (
        Key(f"project:{command.project}", exclusive=False),
        Key(f"image:{command.project}/{command.image}", exclusive=False),
    )


def accept(command: ExportImage, site: Site) -> None:
    """Only to pools that the settings list."""
    if command.to.rbd:
        place.require_listed(command.to.rbd.pool, site.export_pools, "export to")


def plan(command: ExportImage, context: Context) -> Plan:
    """Write it under a name that nobody takes for the real thing, then give it its name."""
    demand.require_project(context.view, command.project)
    image = demand.require_image(context.view, command.image, None, command.project)
    return Plan(stages=_stages(command.to, image), home=context.head, memo={"size": image.size})


def _stages(to: ExportPlace, image: Image) -> Stages:
    if to.rbd:
        pool, name = to.rbd.pool, to.rbd.image
        write = WriteForeign(image=image.id, size=image.size, pool=pool, name=name)
        return ((write,), (ReleaseForeign(pool=pool, name=name),))
    file = to.file or ""
    return (
        (WriteFile(image=image.id, size=image.size, file=file, format=to.format or "qcow2"),),
        (PlaceFile(file=file),),
    )


def finish(command: ExportImage, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """Where it is, and how it can be fetched."""
    to, written = command.to, marks.get(WRITTEN) or {}
    event = ImageExported(
        operation=context.operation,
        project=command.project,
        image=command.image,
        size=written.get("size", plan.memo["size"]),
        format="raw" if to.rbd else to.format or "qcow2",
        sha256=written.get("sha256", ""),
        file=to.file,
        rbd=f"{to.rbd.pool}/{to.rbd.image}" if to.rbd else None,
        url=f"{context.site.upload_url}/v1/downloads/{context.operation}" if to.token else None,
    )
    return Outcome(event)


HANDLER = Handler(ExportImage, ImageExported, keys, plan, finish, accept=accept)
