"""image.copy: a golden image under another name, in the same project or another one.

It shares its bytes with the original where the storage can, which then can't be removed before it; with `flatten` it
stands alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from bmid.handlers import demand, golden
from bmid.handlers.base import Context, Handler, Outcome
from bmid.messages.base import Command, Event
from bmid.model.change import Put
from bmid.model.claim import Key, ordered
from bmid.model.name import ImageName, ImageRef, ProjectName, split_image
from bmid.steps.base import Plan
from bmid.steps.copy import CLONED, CopyStored

__all__ = ["HANDLER", "CopyImage", "ImageCopied"]


class CopyImage(Command):
    """Copy a golden image to another name or project, as a clone or in full."""

    type: ClassVar[str] = "bmi.image.copy.v1"
    project: ProjectName
    image: ImageRef = Field(description="the golden image that is copied, `image` of this project or `project/image`")
    to: ImageName = Field(description="the name of the copy")
    to_project: ProjectName | None = Field(None, description="the project that gets the copy; `project` if not said")
    flatten: bool = Field(
        False, description="a full copy, which the original can be removed without; it takes time and space"
    )

    def target(self) -> tuple[str, str]:
        """Project and name of the copy."""
        return self.to_project or self.project, self.to

    def subject(self) -> str:
        """The copy."""
        return "image/{}/{}".format(*self.target())


class ImageCopied(Event):
    """The copy is golden. `cloned`: it hangs on the original, which can't be removed before it."""

    type: ClassVar[str] = "bmi.image.copied.v1"
    operation: str
    project: str = Field(description="the project of the command")
    image: str = Field(description="the name of the copy")
    to_project: str = Field(description="the project that has the copy")
    source: str = Field(description="the original, as `project/image`")
    id: str
    size: int
    format: str
    sha256: str = Field(description="that of the original; empty where there was no file")
    firmware: tuple[str, ...]
    cloned: bool = Field(description="true: it shares its bytes with the original and hangs on it")

    def subject(self) -> str:
        """The copy."""
        return f"image/{self.to_project}/{self.image}"


def keys(command: CopyImage) -> tuple[Key, ...]:
    """Both projects and the original shared, the copy's name exclusively."""
    owner, source = split_image(command.image, command.project)
    project, name = command.target()
    wanted = {f"project:{one}": False for one in (command.project, owner, project)}
    wanted[f"image:{owner}/{source}"] = False
    wanted[f"image:{project}/{name}"] = True
    return ordered(*(Key(key, exclusive) for key, exclusive in wanted.items()))


def plan(command: CopyImage, context: Context) -> Plan:
    """Clone or copy, then seal."""
    demand.require_project(context.view, command.project)
    demand.require_free_image(context.view, *command.target())
    source = demand.require_image(context.view, command.image, None, command.project)
    project, name = command.target()
    copy = replace(
        source, id=context.operation, project=project, name=name, created_at=context.now, parent=source.id, ready=False
    )
    step = CopyStored(source=source.id, image=copy.id, size=source.size, flatten=command.flatten)
    stages = ((step,), (golden.seal(copy, context.site, parent_mark=CLONED),))
    return Plan((Put(copy),), stages, home=context.head, memo={"source": source.reference})


def finish(command: CopyImage, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The copy is ready; it forgets its parent where it doesn't hang on it."""
    image = golden.reserved(context)
    cloned = bool(marks.get(CLONED))
    ready = replace(image, ready=True, parent=image.parent if cloned else None)
    event = ImageCopied(
        operation=context.operation,
        project=command.project,
        image=image.name,
        to_project=image.project,
        source=plan.memo["source"],
        id=image.id,
        size=image.size,
        format=image.format,
        sha256=image.sha256,
        firmware=image.firmware,
        cloned=cloned,
    )
    return Outcome(event, (Put(ready),))


HANDLER = Handler(CopyImage, ImageCopied, keys, plan, finish, undo=golden.undo)
