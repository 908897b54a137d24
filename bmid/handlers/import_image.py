"""image.import: a file or somebody else's RBD image becomes a golden image. A file comes by upload, or lies in the
site's import folder; an RBD image lies in a pool that the settings list, and is left as it was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bmid.handlers import demand, golden, place
from bmid.handlers.base import Context, Handler, Outcome
from bmid.handlers.place import FileName, RbdImage, RbdName, Sha256
from bmid.messages.base import Command, Event
from bmid.model.change import Put
from bmid.model.claim import Key
from bmid.model.entity import Image
from bmid.model.name import ImageName, ProjectName, Text
from bmid.model.site import Site
from bmid.steps.base import Plan, Stages
from bmid.steps.copy import CopyForeign
from bmid.steps.image import CopyImage, DigestFile, InspectFile, ReceiveUpload, SealImage, TidyStaging

__all__ = ["HANDLER", "ImageImported", "ImageSource", "ImportImage", "RbdSource"]


class RbdSource(RbdImage):
    """An RBD image of somebody else, or a snapshot of it."""

    snapshot: RbdName | None = Field(
        None, description="a snapshot of it; without one nobody may have the image open for writing"
    )


class ImageSource(BaseModel):
    """Where the bytes come from: exactly one of the three."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upload: Sha256 | None = Field(None, description="SHA-256 (hex) of the token that the upload will be made with")
    file: FileName | None = Field(None, description="name of a file in the site's import folder")
    rbd: RbdSource | None = Field(
        None, description="an RBD image, raw, in a pool that the site's settings list; it is left as it was found"
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if sum(one is not None for one in (self.upload, self.file, self.rbd)) != 1:
            raise ValueError("give exactly one of upload, file and rbd")
        return self


class ImportImage(Command):
    """Import a raw or qcow2 file, plain or compressed with gz, xz or zst; or an RBD image."""

    type: ClassVar[str] = "bmi.image.import.v1"
    project: ProjectName
    image: ImageName
    source: ImageSource
    format: Literal["raw", "qcow2"] | None = Field(None, description="found out once, and then forced, if not said")
    sha256: Sha256 | None = Field(None, description="digest of the file as it comes in; checked if given")
    description: Text = ""

    @model_validator(mode="after")
    def _of_a_file(self) -> Self:
        if self.source.rbd and (self.format or self.sha256):
            raise ValueError("format and sha256 are a file's; an RBD image is raw, and no file comes in to be digested")
        return self

    def subject(self) -> str:
        """The image."""
        return f"image/{self.project}/{self.image}"


class ImageImported(Event):
    """The image is golden. `firmware` lists what can boot it; empty: nothing that was recognised."""

    type: ClassVar[str] = "bmi.image.imported.v1"
    operation: str
    project: str
    image: str
    id: str
    size: int
    format: str
    sha256: str = Field(description="SHA-256 of the file as it came in; empty where an RBD image was the source")
    firmware: tuple[str, ...]

    def subject(self) -> str:
        """The image."""
        return f"image/{self.project}/{self.image}"


def keys(command: ImportImage) -> tuple[Key, ...]:
    """The project shared, the image exclusively."""
    image = Key(f"image:{command.project}/{command.image}", exclusive=True)
    return (Key(f"project:{command.project}", exclusive=False), image)


def accept(command: ImportImage, site: Site) -> None:
    """Only from pools that the settings list."""
    if command.source.rbd:
        place.require_listed(command.source.rbd.pool, site.import_pools, "import from")


def plan(command: ImportImage, context: Context) -> Plan:
    """The bytes into the storage, then sealed."""
    demand.require_free_image(context.view, command.project, command.image)
    image = _image(command, context, {})
    seal = golden.seal(image, context.site)
    if rbd := command.source.rbd:
        limit = context.site.max_size
        copy = CopyForeign(image=image.id, pool=rbd.pool, source=rbd.image, snapshot=rbd.snapshot, limit=limit)
        return Plan((Put(image),), ((copy,), (seal,)), home=context.head)
    return Plan((Put(image),), _stages(command, context, seal), home=context.head)


def _stages(command: ImportImage, context: Context, seal: SealImage) -> Stages:
    """Receive, look, copy and digest at once, seal, tidy up."""
    deadline = context.now + timedelta(seconds=context.site.upload_deadline)
    receive: Stages = ((ReceiveUpload(deadline=deadline),),) if command.source.upload else ()
    file = command.source.file
    return (
        *receive,
        (InspectFile(file=file, format=command.format, sha256=command.sha256),),
        (CopyImage(image=seal.image, file=file), DigestFile(file=file, sha256=command.sha256)),
        (seal,),
        (TidyStaging(),),
    )


def _image(command: ImportImage, context: Context, marks: Mapping[str, Any]) -> Image:
    found = marks.get("found") or {}
    return Image(
        id=context.operation,
        project=command.project,
        name=command.image,
        size=found.get("virtual_size", 0),
        format=found.get("format", ""),
        sha256=marks.get("sha256", ""),
        firmware=tuple(marks.get("firmware") or ()),
        created_at=context.now,
        description=command.description,
        ready=bool(found),
    )


def finish(command: ImportImage, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The row, with what was found."""
    begun = context.view.image_by_id(context.operation)
    image = _image(command, context, marks)
    image = replace(image, created_at=begun.created_at) if begun else image  # as its metadata say
    event = ImageImported(
        operation=context.operation,
        project=image.project,
        image=image.name,
        id=image.id,
        size=image.size,
        format=image.format,
        sha256=image.sha256,
        firmware=image.firmware,
    )
    return Outcome(event, (Put(image),))


HANDLER = Handler(
    ImportImage,
    ImageImported,
    keys,
    plan,
    finish,
    undo=golden.undo,
    upload=lambda command: command.source.upload,
    accept=accept,
)
