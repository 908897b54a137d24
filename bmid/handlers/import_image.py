"""image.import: a file becomes a golden image. It comes by upload, or lies in the site's import folder."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from bmid.handlers import demand
from bmid.handlers.base import Context, Handler, Outcome
from bmid.messages.base import Command, Event
from bmid.model.change import Change, Drop, Put
from bmid.model.claim import Key
from bmid.model.entity import Image
from bmid.model.name import ImageName, ProjectName, Text
from bmid.steps.base import Plan, Step
from bmid.steps.image import CopyImage, InspectFile, ReceiveUpload, SealImage, TidyStaging

__all__ = ["HANDLER", "ImageImported", "ImageSource", "ImportImage"]

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9](?:\.?[A-Za-z0-9_+-])*$", max_length=200)]


class ImageSource(BaseModel):
    """Where the bytes come from: exactly one of the two."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upload: Sha256 | None = Field(None, description="SHA-256 (hex) of the token that the upload will be made with")
    file: FileName | None = Field(None, description="name of a file in the site's import folder")

    @model_validator(mode="after")
    def _one(self) -> ImageSource:
        if (self.upload is None) == (self.file is None):
            raise ValueError("give exactly one of upload and file")
        return self


class ImportImage(Command):
    """Import a raw or qcow2 file, plain or compressed with gz, xz or zst."""

    type: ClassVar[str] = "bmi.image.import.v1"
    project: ProjectName
    image: ImageName
    source: ImageSource
    format: Literal["raw", "qcow2"] | None = Field(None, description="found out once, and then forced, if not said")
    sha256: Sha256 | None = Field(None, description="digest of the file as it comes in; checked if given")
    description: Text = ""

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
    sha256: str
    firmware: tuple[str, ...]

    def subject(self) -> str:
        """The image."""
        return f"image/{self.project}/{self.image}"


def keys(command: ImportImage) -> tuple[Key, ...]:
    """The project shared, the image exclusively."""
    image = Key(f"image:{command.project}/{command.image}", exclusive=True)
    return (Key(f"project:{command.project}", exclusive=False), image)


def plan(command: ImportImage, context: Context) -> Plan:
    """Receive, look, copy, seal, tidy up."""
    demand.require_free_image(context.view, command.project, command.image)
    metadata = {"kind": "image", "project": command.project, "image": command.image, "id": context.operation}
    receive: tuple[tuple[Step, ...], ...] = ()
    if command.source.upload:
        receive = ((ReceiveUpload(deadline=context.now + timedelta(seconds=context.site.upload_deadline)),),)
    file = command.source.file
    stages: tuple[tuple[Step, ...], ...] = (
        *receive,
        (InspectFile(file=file, format=command.format, sha256=command.sha256),),
        (CopyImage(image=context.operation, file=file),),
        (SealImage(image=context.operation, metadata=metadata),),
        (TidyStaging(),),
    )
    return Plan(reserve=(Put(_image(command, context, {})),), stages=stages, home=context.head)


def _image(command: ImportImage, context: Context, marks: Mapping[str, Any]) -> Image:
    found = marks.get("found") or {}
    return Image(
        id=context.operation,
        project=command.project,
        name=command.image,
        size=found.get("virtual_size", 0),
        format=found.get("format", ""),
        sha256=found.get("sha256", ""),
        firmware=tuple(marks.get("firmware") or ()),
        created_at=context.now,
        description=command.description,
        ready=bool(found),
    )


def finish(command: ImportImage, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The row, with what was found."""
    image = _image(command, context, marks)
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


def undo(command: ImportImage, context: Context, plan: Plan, marks: Mapping[str, Any]) -> tuple[Change, ...]:
    """The name is free again."""
    image = context.view.image_by_id(context.operation)
    return (Drop(image),) if image else ()


HANDLER = Handler(
    ImportImage, ImageImported, keys, plan, finish, undo=undo, upload=lambda command: command.source.upload
)
