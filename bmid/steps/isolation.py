"""Steps that ask the isolation layer who may have what."""

from __future__ import annotations

from typing import ClassVar

from bmid.errors import Refused
from bmid.steps.base import Step, Wait, World

__all__ = ["RequireAllocated"]


class RequireAllocated(Step):
    """The node is given to the project. First of all: nothing is made for somebody who may not have the node."""

    kind: ClassVar[str] = "require-allocated"
    project: str
    node: str

    def apply(self, world: World) -> Wait | None:
        """Ask each time, since it may be taken away meanwhile."""
        if not world.isolation.allows(self.project, self.node):
            detail = f"node {self.node} is not allocated to project {self.project}"
            raise Refused("node-not-allocated", detail, todo="Have it allocated to the project first.")
        return None
