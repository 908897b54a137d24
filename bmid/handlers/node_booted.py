"""What is seen of a node's boot after node.map: it booted, or it didn't in time. Facts, no commands."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from bmid.messages.base import Event

__all__ = ["EVENTS", "NodeBootFailed", "NodeBooted"]


class BootEvent(Event):
    """What both say. `evidence` has the time of each step that was seen; `attempt` counts power cycles by us."""

    operation: str
    project: str
    node: str
    disk: str
    attempt: int
    started_at: datetime
    evidence: dict[str, str]

    def subject(self) -> str:
        """The node."""
        return f"node/{self.node}"


class NodeBooted(BootEvent):
    """The operating system of the node has logged in at its target, and reads. `seconds` since the power-on."""

    type: ClassVar[str] = "bmi.node.booted.v1"
    seconds: float


class NodeBootFailed(BootEvent):
    """The deadline has passed without an operating system; `stage` is the last step that was seen."""

    type: ClassVar[str] = "bmi.node.boot-failed.v1"
    stage: str
    todo: str


EVENTS = (NodeBooted, NodeBootFailed)
