"""What tenants may expect of a site: a model of a few sets that knows nothing of steps and claims, and its commands.

It takes commands one after the other. Nothing of bmid is used here, so that no mistake of it is copied.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

__all__ = ["FOREIGN", "End", "Model", "commands"]

End = bool | str  # of a command: whether it changed anything, or the problem that ended it
FOREIGN = "52:54:00:00:00:ff"  # a network card that may be in any node


@dataclass
class Model:
    """A site, as its tenants understand it. Each method is a command, and says how it must end."""

    projects: set[str] = field(default_factory=set)
    images: set[str] = field(default_factory=set)  # project/image
    nodes: dict[str, tuple[str, bool]] = field(default_factory=dict)  # MAC, and whether it has a BMC
    maps: dict[str, tuple[str, str]] = field(default_factory=dict)  # node: project, image
    running: set[str] = field(default_factory=set)  # mapped nodes that use their disk

    def project_create(self, project: str) -> End:
        changed = project not in self.projects
        self.projects.add(project)
        return changed

    def project_remove(self, project: str) -> End:
        owners = {image.split("/")[0] for image in self.images} | {owner for owner, _ in self.maps.values()}
        if project in owners:
            return "project-not-empty"
        changed = project in self.projects
        self.projects.discard(project)
        return changed

    def image_import(self, project: str, image: str, source: dict[str, str]) -> End:
        if project not in self.projects:
            return "project-unknown"
        if f"{project}/{image}" in self.images:
            return "image-exists"
        if source["file"] == "absent.raw":
            return "file-unknown"
        self.images.add(f"{project}/{image}")
        return True

    def image_remove(self, project: str, image: str) -> End:
        name = f"{project}/{image}"
        if name in {used for _, used in self.maps.values()}:
            return "image-in-use"
        changed = name in self.images
        self.images.discard(name)
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
        return self.nodes.pop(node, None) is not None

    def node_map(self, project: str, node: str, image: str, power: str | None) -> End:
        if project not in self.projects:
            return "project-unknown"
        if image not in self.images:
            return "image-unknown"
        if node not in self.nodes:
            return "node-unknown"
        if node in self.maps:
            return False if self.maps[node] == (project, image) else "disk-in-place"
        if power == "cycle" and not self.nodes[node][1]:
            return "no-power-driver"
        self.maps[node] = (project, image)
        return True

    def node_unmap(self, project: str, node: str, force: bool) -> End:
        if node not in self.nodes:
            return "node-unknown"
        if node not in self.maps:
            return False
        if self.maps[node][0] != project:
            return "node-of-another-project"
        if node in self.running and not self.nodes[node][1] and not force:
            return "session-live"
        del self.maps[node]
        self.running.discard(node)
        return True


def commands() -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    """Any command, right or wrong, with names so few that they meet; mostly maps and unmaps."""
    project, image = st.sampled_from(["p1", "p1", "p1", "p2"]), st.sampled_from(["i1", "i1", "i1", "i2"])
    node = st.sampled_from(["n1", "n2", "n3"])
    whole = st.builds("{}/{}".format, project, image)
    file = st.sampled_from(["debian.raw", "debian.raw", "absent.raw"]).map(lambda name: {"file": name})
    power = st.sampled_from([None, None, None, "cycle", "none"])
    fields = {
        "project.create": st.fixed_dictionaries({"project": project}),
        "project.remove": st.fixed_dictionaries({"project": project}),
        "image.import": st.fixed_dictionaries({"project": project, "image": image, "source": file}),
        "image.remove": st.fixed_dictionaries({"project": project, "image": image}),
        "node.register": node.flatmap(_registration),
        "node.remove": st.fixed_dictionaries({"node": node}),
        "node.map": st.fixed_dictionaries({"project": project, "node": node, "image": whole, "power": power}),
        "node.unmap": st.fixed_dictionaries({"project": project, "node": node, "force": st.booleans()}),
    }
    kinds = [*fields, *["node.map"] * 7, *["node.unmap"] * 5]
    return st.sampled_from(kinds).flatmap(lambda kind: st.tuples(st.just(kind), fields[kind]))


def _registration(name: str) -> st.SearchStrategy[dict[str, Any]]:
    own = f"52:54:00:00:0{name[1:]}"
    mac = st.sampled_from([f"{own}:01", f"{own}:01", f"{own}:02", FOREIGN])
    power = st.sampled_from([None, {"driver": "memory", "address": f"bmc-{name}"}])
    return st.fixed_dictionaries({"node": st.just(name), "macs": mac.map(lambda one: [one]), "power": power})
