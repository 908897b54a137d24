"""Which command comes next: random ones, most of which make sense. Nothing is sent here."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

from bmid.handlers.copy_image import CopyImage
from bmid.handlers.create_disk import CreateDisk
from bmid.handlers.create_project import CreateProject
from bmid.handlers.import_image import ImageSource, ImportImage
from bmid.handlers.map_node import MapNode
from bmid.handlers.power_node import PowerNode
from bmid.handlers.rebuild_node import RebuildNode
from bmid.handlers.remove_disk import RemoveDisk
from bmid.handlers.remove_image import RemoveImage
from bmid.handlers.snapshot_disk import SnapshotDisk
from bmid.handlers.snapshot_node import SnapshotNode
from bmid.handlers.unmap_node import UnmapNode
from bmid.messages.base import Command
from chaos.later import Later
from chaos.scene import Scene

__all__ = ["Choice"]

FULL = 0.7  # the part of the nodes that is to be on disks


class Choice:
    """The commands of one publisher. Names that it gives hold its own. `later` is what else is drawn than which command
    of what: an older seed keeps those."""

    def __init__(self, name: str, scene: Scene, chance: random.Random, later: random.Random, file: str) -> None:
        self._name = name
        self._scene = scene
        self._chance = chance
        self._file = file
        self._numbers = itertools.count(1)
        self._later = Later(scene, later, self._new)

    def next(self) -> Command:
        """One command."""
        return self._later.expiring(self._later.next() or self._usual())

    def _usual(self) -> Command:
        scene = self._scene
        more = 34 if scene.load < FULL else 8
        weights: dict[Callable[[], Command], int] = {
            self._map: more,
            self._map_group: 3,
            self._resume: 12,
            self._unmap: 42 - more,
            self._unmap_group: 2,
            self._rebuild: 6,
            self._power: 6,
            self._snapshot: 4,
            self._snapshot_disk: 4,
            self._copy: 3,
            self._import: 3,
            self._remove_image: 5,
            self._create_disk: 4,
            self._remove_disk: 5,
            self._project: 1,
            self._nonsense: 2,
        }
        return self._chance.choices(list(weights), list(weights.values()))[0]()

    def _new(self) -> str:
        return f"{self._name}-{next(self._numbers)}"

    def _project_name(self) -> str:
        return self._chance.choice(self._scene.projects)

    def _any_image(self, project: str) -> str:
        return self._chance.choice(self._scene.images_of(project))

    def _map(self) -> Command:
        project = self._project_name()
        node, image = self._scene.free(self._chance), self._any_image(project)
        return MapNode(project=project, node=node, image=image, force=True, **self._later.system())

    def _map_group(self) -> Command:
        project = self._project_name()
        nodes = tuple({self._scene.free(self._chance) for _ in range(3)})
        image = self._any_image(project)
        return MapNode(project=project, nodes=nodes, image=image, force=True, **self._later.system(one=False))

    def _resume(self) -> Command:
        project, disk = self._scene.kept(self._chance)
        return MapNode(project=project, node=self._scene.free(self._chance), disk=disk, force=True)

    def _unmap(self) -> Command:
        node, project, _ = self._scene.busy(self._chance)
        then = "park" if self._chance.random() < 0.5 else "discard"
        return UnmapNode(project=project, node=node, disk=then, force=self._chance.random() < 0.9)

    def _unmap_group(self) -> Command:
        _, project, _ = self._scene.busy(self._chance)
        mapped = {node for node, where in list(self._scene.mapped.items()) if where[0] == project}
        nodes = self._chance.sample(sorted(mapped), min(3, len(mapped))) or [self._scene.nodes[0]]
        return UnmapNode(project=project, nodes=tuple(nodes), disk="park", force=True)

    def _rebuild(self) -> Command:
        node, project, _ = self._scene.busy(self._chance)
        image = self._any_image(project) if self._chance.random() < 0.5 else None
        return RebuildNode(project=project, node=node, image=image, force=True, **self._later.system())

    def _power(self) -> Command:
        node, project, _ = self._scene.busy(self._chance)
        action = self._chance.choice(("on", "off", "cycle", "cycle"))
        return PowerNode(project=project, node=node, action=action)

    def _snapshot(self) -> Command:
        node, project, _ = self._scene.busy(self._chance)
        return SnapshotNode(project=project, node=node, image=self._new(), crash_consistent=True)

    def _snapshot_disk(self) -> Command:
        project, disk = self._scene.kept(self._chance)
        return SnapshotDisk(project=project, disk=disk, image=self._new())

    def _copy(self) -> Command:
        project, to = self._project_name(), self._project_name()
        flatten = self._chance.random() < 0.5
        return CopyImage(
            project=project, image=self._any_image(project), to=self._new(), to_project=to, flatten=flatten
        )

    def _import(self) -> Command:
        return ImportImage(project=self._project_name(), image=self._new(), source=ImageSource(file=self._file))

    def _remove_image(self) -> Command:
        project, image = self._scene.image(self._chance)
        return RemoveImage(project=project, image=image)

    def _create_disk(self) -> Command:
        project = self._project_name()
        return CreateDisk(project=project, disk=self._new(), image=self._any_image(project))

    def _remove_disk(self) -> Command:
        project, disk = self._scene.kept(self._chance)
        return RemoveDisk(project=project, disk=disk)

    def _project(self) -> Command:
        return CreateProject(project=self._new())

    def _nonsense(self) -> Command:
        """What is refused, or rejected."""
        if self._chance.random() < 0.5:
            return UnmapNode(project=self._project_name(), node="nowhere")
        return MapNode(project="nobody", node=self._scene.free(self._chance), image="nothing")
