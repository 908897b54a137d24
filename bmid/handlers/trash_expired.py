"""An operator has ended the time in which removed things could be restored. A fact, no command."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from pydantic import Field

from bmid.messages.base import Event

__all__ = ["EVENTS", "TrashExpired"]


class TrashExpired(Event):
    """What a project had in the trash can't be restored any more: an operator needs the space."""

    type: ClassVar[str] = "bmi.trash.expired.v1"
    project: str | None = Field(None, description="whose it was; absent for what no project could have restored")
    images: int = Field(description="how many images that is")
    disks: int = Field(description="how many disks")
    size: int = Field(description="in bytes, as nodes saw them")
    removed_before: datetime = Field(description="what was removed then, or earlier")
    reason: str = Field(description="as the operator said it")

    def subject(self) -> str:
        """The trash of a project."""
        return f"trash/{self.project or '-'}"


EVENTS = (TrashExpired,)
