"""What tenants may expect of a site: a model of a few sets that knows nothing of steps and claims.

It takes commands one after the other. Nothing of bmid is used here, so that no mistake of it is copied.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.support.expectation_image import End, Images

__all__ = ["End", "Model"]


@dataclass(frozen=True)
class Disk:
    """A disk, as its project understands it. One that was made by a map has a name that nobody chose."""

    project: str
    image: str
    name: str | None = None


@dataclass
class Model(Images):
    """A site, as its tenants understand it. Each method is a command, and says how it must end."""

    nodes: dict[str, tuple[str, bool]] = field(default_factory=dict)  # MAC, and whether it has a BMC
    idle: set[str] = field(default_factory=set)  # nodes that are set aside
    maps: dict[str, Disk] = field(default_factory=dict)  # by node
    parked: list[Disk] = field(default_factory=list)
    running: set[str] = field(default_factory=set)  # mapped nodes that use their disk
    on: set[str] = field(default_factory=set)  # nodes that their BMC has switched on
    discarded: list[tuple[Disk, int]] = field(default_factory=list)  # and the id of its image

    def _disks(self) -> list[Disk]:
        return [*self.maps.values(), *self.parked]

    def _discard(self, disk: Disk) -> None:
        self.discarded.append((disk, self.ids[disk.image]))

    def _used(self) -> set[str]:
        return {disk.image for disk in self._disks()}

    def _named(self, project: str, name: str) -> Disk | None:
        return next((one for one in self._disks() if (one.project, one.name) == (project, name)), None)

    def _kept(self, project: str, name: str) -> Disk | str:
        """The parked disk, or why there is none."""
        if project not in self.projects:
            return "project-unknown"
        disk = self._named(project, name)
        if disk is None:
            return "disk-unknown"
        return disk if disk in self.parked else "disk-mapped"

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
    ) -> End:
        if project not in self.projects:
            return "project-unknown"
        if node not in self.nodes:
            return "node-unknown"
        image = self._meant(project, image_labels) if image_labels else image
        if node in self.maps:
            return self._again(self.maps[node], project, image, disk)
        if node in self.idle:
            return "node-set-aside"
        new: Disk | str = self._kept(project, disk) if disk else Disk(project, image or "")
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

    def _again(self, there: Disk, project: str, image: str | None, disk: str | None) -> End:
        if there.project != project:
            return "disk-in-place"
        if image and image not in self.images:
            return "image-unknown"
        return False if (there.name == disk if disk else there.image == image) else "disk-in-place"

    def _put(self, node: str, disk: Disk, power: str | None) -> None:
        if disk.name and disk in self.parked:
            self.parked.remove(disk)
        self.maps[node] = disk
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

    def node_rebuild(self, project: str, node: str, image: str | None, force: bool) -> End:
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
        self._put(node, Disk(project, image or old.image), None)
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

    def disk_create(self, project: str, disk: str, image: str) -> End:
        if project not in self.projects:
            return "project-unknown"
        if image not in self.images:
            return "image-unknown"
        known = self._named(project, disk)
        if known is not None:
            return False if known in self.parked and known.image == image else "disk-exists"
        if self._rests(image):
            return "image-set-aside"
        self.parked.append(Disk(project, image, disk))
        return True

    def disk_remove(self, project: str, disk: str) -> End:
        known = self._named(project, disk)
        if known is not None and known not in self.parked:
            return "disk-mapped"
        if known is not None:
            self.parked.remove(known)
            self._discard(known)
        return known is not None

    def disk_restore(self, project: str, disk: str, name: str | None) -> End:
        if project not in self.projects:
            return "project-unknown"
        found = [one for one in self.discarded if (one[0].project, one[0].name) == (project, disk)]
        if not found:
            return "trash-unknown"
        image = self._alive(found[-1][1])
        if image is None:
            return self._origin_gone(found[-1][1])
        if self._named(project, name or disk):
            return "disk-exists"
        self.discarded.remove(found[-1])
        self.parked.append(Disk(project, image, name or disk))
        return True

    def disk_snapshot(self, project: str, disk: str, image: str) -> End:
        kept = self._kept(project, disk)
        if isinstance(kept, str):
            return kept
        if f"{project}/{image}" in self.images:
            return "image-exists"
        self._make(f"{project}/{image}", kept.image)
        return True
