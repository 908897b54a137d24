"""node.snapshot: the disk of a node becomes a golden image. The node keeps its disk, and its power is left alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from bmid.handlers import demand, golden, snapshot
from bmid.handlers.base import Context, Handler, Outcome
from bmid.handlers.snapshot import ImageCreated, NewImage
from bmid.messages.base import NodeCommand
from bmid.model.change import Put
from bmid.model.claim import Key
from bmid.model.name import ProjectName
from bmid.steps.base import Plan
from bmid.steps.snapshot import RequireUntouched
from bmid.steps.target import NoteSessions, RequireQuiet

__all__ = ["HANDLER", "SnapshotNode"]

NAME_LIMIT = 63


class SnapshotNode(NewImage, NodeCommand):
    """Make a golden image of a node's disk; of a group, one for each node, called `<image>-<node>`."""

    type: ClassVar[str] = "bmi.node.snapshot.v1"
    project: ProjectName
    crash_consistent: bool = Field(
        False, description="also while the node runs: as after a power cut, where the storage can do that"
    )

    @model_validator(mode="after")
    def _names_fit(self) -> Self:
        if too_long := [name for name in map(self._name, self.nodes or ()) if len(name) > NAME_LIMIT]:
            raise ValueError(f"image names have at most {NAME_LIMIT} characters, and {too_long[0]} has more")
        return self

    def members(self) -> Sequence[SnapshotNode]:
        """Each with an image of its own."""
        return [
            self.model_copy(update={"node": node, "nodes": None, "image": self._name(node)})
            for node in self.nodes or ()
        ]

    def _name(self, node: str) -> str:
        return f"{self.image}-{node}"


def keys(command: SnapshotNode) -> tuple[Key, ...]:
    """The project shared, the new image and the node exclusively. What the disk was made from its row holds."""
    return (
        Key(f"project:{command.project}", exclusive=False),
        Key(f"image:{command.project}/{command.image}", exclusive=True),
        Key(f"node:{command.node}", exclusive=True),
    )


def plan(command: SnapshotNode, context: Context) -> Plan:
    """Make sure that nobody writes, freeze, copy, seal, thaw."""
    demand.require_project(context.view, command.project)
    _, disk = demand.require_mapped(context.view, command.project, command.node)
    image = snapshot.new_image(command, context, disk)
    home = {"shard": disk.shard or "", "number": disk.number}
    quiet = RequireQuiet.of(disk, "crash-consistent" if command.crash_consistent else "snapshot")
    untouched = RequireUntouched(image=image.id, node=command.node, **home)
    stages = (
        (quiet, NoteSessions(**home)),
        *snapshot.copied(disk, image),
        (untouched,),
        *snapshot.sealed(disk, image, context.site),
    )
    return Plan((Put(image),), stages, home=disk.head, memo={"disk": disk.id})


def finish(command: SnapshotNode, context: Context, plan: Plan, marks: Mapping[str, Any]) -> Outcome:
    """The image is ready."""
    return snapshot.created(context, plan, marks, node=command.node, crash_consistent=command.crash_consistent)


HANDLER = Handler(SnapshotNode, ImageCreated, keys, plan, finish, undo=golden.undo)
