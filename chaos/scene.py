"""What publishers know of the site, from the events alone: which nodes are on disks, which disks and images there are.

It may be late or wrong, as every publisher's view is; commands that it leads to are then refused.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field

from bmid.messages.envelope import Envelope

__all__ = ["BASE", "Scene"]

BASE = "base"  # the image that each project has for ever


@dataclass
class Scene:
    """Shared by subscriber and publishers. `bmc`: the nodes whose power can be switched."""

    nodes: tuple[str, ...]
    bmc: frozenset[str]
    projects: tuple[str, ...]
    mapped: dict[str, tuple[str, str]] = field(default_factory=dict)  # node → project, disk
    parked: set[tuple[str, str]] = field(default_factory=set)  # project, disk
    images: set[tuple[str, str]] = field(default_factory=set)  # project, image; besides the base ones
    idle: set[str] = field(default_factory=set)  # nodes that are set aside
    gone: dict[tuple[str, str, str], None] = field(default_factory=dict)  # disk or image, project, name; in the trash
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hear(self, event: Envelope) -> None:
        """One event."""
        kind, data = event.type.removeprefix("bmi.").removesuffix(".v1"), event.data
        with self._lock:
            if kind == "node.mapped":
                self.mapped[data["node"]] = (data["project"], data["disk"])
                self.parked.discard((data["project"], data["disk"]))
            elif kind == "node.unmapped":
                self.mapped.pop(data["node"], None)
                if data.get("parked"):
                    self.parked.add((data["project"], data["disk"]))
                elif data.get("disk"):
                    self.gone["disk", data["project"], data["disk"]] = None
            elif kind in ("disk.created", "disk.restored", "disk.removed"):
                self._set(self.parked, (data["project"], data["disk"]), kind != "disk.removed")
            elif kind in ("image.imported", "image.created", "image.restored", "image.removed"):
                self._set(self.images, (data["project"], data["image"]), kind != "image.removed")
            elif kind == "image.copied":
                self.images.add((data["to_project"], data["image"]))
            elif kind in ("node.maintained", "node.set-aside"):
                (self.idle.discard if data.get("state") == "in-use" else self.idle.add)(data["node"])
            if kind in ("disk.removed", "image.removed"):
                what = kind.partition(".")[0]
                self.gone[what, data["project"], data[what]] = None

    def _set(self, where: set[tuple[str, str]], what: tuple[str, str], there: bool) -> None:
        if what[1] == BASE:
            return
        if there:
            where.add(what)
        else:
            where.discard(what)

    def free(self, chance: random.Random) -> str:
        """A node that is free, if there is one."""
        with self._lock:
            return chance.choice([node for node in self.nodes if node not in self.mapped] or self.nodes)

    def busy(self, chance: random.Random) -> tuple[str, str, str]:
        """A node, project and disk that belong together, if there are any."""
        with self._lock:
            found = [(node, *where) for node, where in sorted(self.mapped.items())]
        return chance.choice(found or [(self.nodes[0], self.projects[0], "none")])

    def kept(self, chance: random.Random) -> tuple[str, str]:
        """Project and name of a parked disk, if there is one."""
        with self._lock:
            return chance.choice(sorted(self.parked) or [(self.projects[0], "none")])

    def image(self, chance: random.Random) -> tuple[str, str]:
        """Project and name of an image that may go, if there is one."""
        with self._lock:
            return chance.choice(sorted(self.images) or [(self.projects[0], "none")])

    def thrown(self, what: str, chance: random.Random) -> tuple[str, str]:
        """Project and name of one of the last disks or images that were thrown away, if there are any."""
        with self._lock:
            found = [(project, name) for kind, project, name in self.gone if kind == what]
        return chance.choice(found[-20:] or [(self.projects[0], "none")])

    def images_of(self, project: str) -> list[str]:
        """What a node of a project can be put on."""
        with self._lock:
            return [BASE, *sorted(image for owner, image in self.images if owner == project)]

    @property
    def load(self) -> float:
        """The part of the nodes that is on disks."""
        return len(self.mapped) / len(self.nodes)
