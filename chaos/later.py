"""Commands that are asked for now and then, beside those of every day: what brings back, sets aside, exports, describes
and expires. They are drawn apart, so that a seed older than one of them keeps the rest. Nothing is sent here."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from bmid.handlers.export_image import ExportImage, ExportPlace
from bmid.handlers.maintain_image import MaintainImage
from bmid.handlers.maintain_node import MaintainNode
from bmid.handlers.restore_disk import RestoreDisk
from bmid.handlers.restore_image import RestoreImage
from bmid.handlers.update_image import UpdateImage
from bmid.messages.base import Command
from chaos.scene import Scene

__all__ = ["Later"]

OFTEN = 0.12  # the part of all commands
EXPIRING = 0.05
USER_DATA = "#cloud-config\nruncmd: [echo {}]\n"


class Later:
    """Of one publisher; `new` gives a name that nobody has."""

    def __init__(self, scene: Scene, chance: random.Random, new: Callable[[], str]) -> None:
        self._scene = scene
        self._chance = chance
        self._new = new

    def next(self) -> Command | None:
        """A command, or None: then it is one of every day."""
        if self._chance.random() >= OFTEN:
            return None
        kinds = [self._restore_disk, self._restore_image, self._maintain_node, self._maintain_image]
        return self._chance.choice([*kinds, self._export, self._update, self._restore_disk, self._maintain_node])()

    def expiring(self, command: Command) -> Command:
        """The same, or, now and then, one that nobody wants any more when it has waited for long."""
        if self._chance.random() >= EXPIRING:
            return command
        end = datetime.now(UTC) + timedelta(seconds=self._chance.uniform(0.5, 20))
        return command.model_copy(update={"expires_at": end})

    def system(self, *, one: bool = True) -> dict[str, Any]:
        """What half of all new systems are told; a group of nodes has no common name."""
        words: dict[str, Any] = {"hostname": f"host-{self._chance.randrange(100)}"} if one else {}
        if not one or self._chance.random() < 0.4:
            words["user_data"] = USER_DATA.format(self._chance.randrange(1000))
        return words if self._chance.random() < 0.5 else {}

    def _restore_disk(self) -> Command:
        project, disk = self._scene.thrown("disk", self._chance)
        return RestoreDisk(project=project, disk=disk, name=self._new() if self._chance.random() < 0.5 else None)

    def _restore_image(self) -> Command:
        project, image = self._scene.thrown("image", self._chance)
        return RestoreImage(project=project, image=image)

    def _maintain_node(self) -> Command:
        """Those that are aside are mostly taken back: the others have work to do."""
        idle = sorted(self._scene.idle)
        if idle and self._chance.random() < 0.8:
            return MaintainNode(node=self._chance.choice(idle), action="off")
        return MaintainNode(node=self._chance.choice(self._scene.nodes), action="on", reason="a fan")

    def _maintain_image(self) -> Command:
        project, image = self._scene.image(self._chance)
        if self._chance.random() < 0.6:
            return MaintainImage(project=project, image=image, action="off")
        return MaintainImage(project=project, image=image, action="on", reason="it panics")

    def _export(self) -> Command:
        project = self._chance.choice(self._scene.projects)
        image, form = self._chance.choice(self._scene.images_of(project)), self._chance.choice(["raw", "qcow2"])
        return ExportImage(project=project, image=image, to=ExportPlace(file=self._new(), format=form))

    def _update(self) -> Command:
        project, labels = self._chance.choice(self._scene.projects), {"os": self._chance.choice("ab")}
        image = self._chance.choice(self._scene.images_of(project))
        return UpdateImage(project=project, image=image, labels=labels, default_for=labels)
