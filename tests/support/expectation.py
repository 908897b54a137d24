"""What tenants may expect of a site: a model of a few sets that knows nothing of steps and claims.

It takes commands one after the other. Nothing of bmid is used here, so that no mistake of it is copied.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tests.support.expectation_disk import Disk, Disks, told
from tests.support.expectation_image import End

__all__ = ["End", "Model"]


@dataclass
class Model(Disks):
    """A site, as its tenants understand it. Each method is a command, and says how it must end."""

    nodes: dict[str, tuple[str, bool]] = field(default_factory=dict)  # MAC, and whether it has a BMC
    idle: set[str] = field(default_factory=set)  # nodes that are set aside
    running: set[str] = field(default_factory=set)  # mapped nodes that use their disk
    on: set[str] = field(default_factory=set)  # nodes that their BMC has switched on

    def _mapped(self, project: str, node: str) -> Disk | str:
        """The disk that the project has on the node, or why there is none."""
        if project not in self.projects:
            return "project-unknown"
        if node not in self.nodes:
            return "node-unknown"
        if node not in self.maps:
            return "node-not-mapped"
        return self.maps[node] if self.maps[node].project == project else "node-of-another-project"

    def project_create(self, project: str) -> End:
        changed = project not in self.projects
        self.projects.add(project)
        return changed

    def project_remove(self, project: str) -> End:
        owners = {image.split("/")[0] for image in self.images} | {disk.project for disk in self._disks()}
        if project in owners:
            return "project-not-empty"
        changed = project in self.projects
        self.projects.discard(project)
        self.removed = [one for one in self.removed if one[0].split("/")[0] != project]
        self.discarded = [one for one in self.discarded if one[0].project != project]
        return changed

    def node_register(self, node: str, macs: list[str], power: dict[str, str] | None) -> End:
        if any(other != node and mac in macs for other, (mac, _) in self.nodes.items()):
            return "mac-taken"
        if node in self.maps and self.nodes[node][0] != macs[0]:
            return "node-mapped"
        before, self.nodes[node] = self.nodes.get(node), (macs[0], power is not None)
        return before != self.nodes[node]

    def node_remove(self, node: str) -> End:
        if node in self.maps:
            return "node-mapped"
        self.idle.discard(node)
        return self.nodes.pop(node, None) is not None

    def node_maintenance(self, node: str, action: str, reason: str) -> End:
        if node not in self.nodes:
            return "node-unknown"
        changed = (node in self.idle) != (action == "on")
        (self.idle.add if action == "on" else self.idle.discard)(node)
        return changed

    def node_map(
        self,
        project: str,
        node: str,
        power: str | None,
        image: str | None = None,
        disk: str | None = None,
        image_labels: dict[str, str] | None = None,
        hostname: str | None = None,
        user_data: str | None = None,
    ) -> End:
        if project not in self.projects:
            return "project-unknown"
        if node not in self.nodes:
            return "node-unknown"
        image = self._meant(project, image_labels) if image_labels else image
        if node in self.maps:
            return self._again(self.maps[node], Disk(project, image or "", disk, hostname, told(hostname, user_data)))
        if node in self.idle:
            return "node-set-aside"
        fresh = Disk(project, image or "", None, hostname, told(hostname, user_data))
        new = self._kept(project, disk) if disk else fresh
        if isinstance(new, str):
            return new
        if new.image not in self.images:
            return "image-unknown"
        if not disk and self._rests(new.image):
            return "image-set-aside"
        if power == "cycle" and not self.nodes[node][1]:
            return "no-power-driver"
        self._put(node, new, power)
        return True

    def _again(self, there: Disk, asked: Disk) -> End:
        if there.project != asked.project:
            return "disk-in-place"
        if asked.name:
            return False if there.name == asked.name else "disk-in-place"
        if asked.host not in (None, there.host) or asked.seed not in (None, there.seed):
            return "disk-in-place"
        if asked.image not in self.images:
            return "image-unknown"
        return False if there.image == asked.image else "disk-in-place"

    def _put(self, node: str, disk: Disk, power: str | None) -> None:
        if disk.name and disk in self.parked:
            self.parked.remove(disk)
        self.maps[node] = replace(disk, host=disk.host or node)
        if self.nodes[node][1] and power != "none":
            self.on.add(node)

    def node_unmap(self, project: str, node: str, force: bool, disk: str = "discard") -> End:
        if node not in self.nodes:
            return "node-unknown"
        if node not in self.maps:
            return False
        if self.maps[node].project != project:
            return "node-of-another-project"
        if node in self.running and not self.nodes[node][1] and not force:
            return "session-live"
        gone = self.maps.pop(node)
        if disk == "park":
            self.parked.append(gone)
        else:
            self._discard(gone)
        self.running.discard(node)
        if self.nodes[node][1]:
            self.on.discard(node)
        return True

    def node_rebuild(
        self,
        project: str,
        node: str,
        image: str | None,
        force: bool,
        hostname: str | None = None,
        user_data: str | None = None,
    ) -> End:
        old = self._mapped(project, node)
        if isinstance(old, str):
            return old
        if node in self.idle:
            return "node-set-aside"
        if image and image not in self.images:
            return "image-unknown"
        if self._rests(image or old.image):
            return "image-set-aside"
        if node in self.running and not self.nodes[node][1] and not force:
            return "session-live"
        self._discard(old)
        seed = (user_data or old.seed[0],) if old.seed else told(hostname, user_data)
        self._put(node, Disk(project, image or old.image, None, hostname or old.host, seed), None)
        self.running.discard(node)
        return True

    def node_snapshot(self, project: str, node: str, image: str, crash_consistent: bool) -> End:
        disk = self._mapped(project, node)
        if isinstance(disk, str):
            return disk
        if f"{project}/{image}" in self.images:
            return "image-exists"
        if node in self.running and not crash_consistent:
            return "session-live"
        self._make(f"{project}/{image}", disk.image)
        return True

    def node_power(self, project: str, node: str, action: str) -> End:
        why = self._mapped(project, node)
        if isinstance(why, str) and why != "node-not-mapped":
            return why
        if not self.nodes[node][1]:
            return "no-power-driver"
        changed = action == "cycle" or (node in self.on) != (action == "on")
        (self.on.discard if action == "off" else self.on.add)(node)
        return changed
