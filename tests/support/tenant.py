"""What tenants ask of a site, at random: any command, with names so few that they meet."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

__all__ = ["FOREIGN", "commands"]

FOREIGN = "52:54:00:00:00:ff"  # a network card that may be in any node


def commands(*only: str) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    """Any command, or one of these, right or wrong, with names so few that they meet; mostly about nodes and what they
    are on."""
    project, image = st.sampled_from(["p1", "p1", "p1", "p2"]), st.sampled_from(["i1", "i1", "i1", "i2"])
    disk, new, yes = st.sampled_from(["d1", "d2"]), st.sampled_from(["i2", "i3"]), st.booleans()
    node, labels = st.sampled_from(["n1", "n2", "n3"]), st.sampled_from([{"os": "a"}, {"os": "b"}])
    aside = st.sampled_from(["off", "off", "on"])
    whole = st.builds("{}/{}".format, project, image)
    file = st.sampled_from(["debian.raw", "debian.raw", "absent.raw"]).map(lambda name: {"file": name})
    power = st.sampled_from([None, None, None, "cycle", "none"])
    host, told = st.sampled_from([None, None, None, "web"]), st.sampled_from([None, None, None, "#!/bin/sh\n"])
    system = {"hostname": host, "user_data": told}
    fields = {
        "project.create": st.fixed_dictionaries({"project": project}),
        "project.remove": st.fixed_dictionaries({"project": project}),
        "image.import": st.fixed_dictionaries({"project": project, "image": image, "source": file}),
        "image.remove": st.fixed_dictionaries({"project": project, "image": image}),
        "image.restore": st.fixed_dictionaries({"project": project, "image": image, "name": st.none() | new}),
        "image.copy": st.fixed_dictionaries(
            {"project": project, "image": whole, "to": new, "to_project": st.none() | project, "flatten": yes}
        ),
        "image.update": st.fixed_dictionaries(
            {"project": project, "image": image, "default_for": labels, "no_default": yes}
        ),
        "image.export": st.fixed_dictionaries(
            {"project": project, "image": image, "to": st.sampled_from(["e1", "e2"]).map(lambda one: {"file": one})}
        ),
        "node.register": node.flatmap(_registration),
        "node.remove": st.fixed_dictionaries({"node": node}),
        "node.map": st.fixed_dictionaries({"project": project, "node": node, "image": whole, "power": power} | system),
        "node.map ": st.fixed_dictionaries({"project": project, "node": node, "disk": disk, "power": power}),
        "node.map  ": st.fixed_dictionaries(
            {"project": project, "node": node, "image_labels": labels, "power": power} | system
        ),
        "node.unmap": st.fixed_dictionaries(
            {"project": project, "node": node, "force": yes, "disk": st.sampled_from(["discard", "discard", "park"])}
        ),
        "node.rebuild": st.fixed_dictionaries(
            {"project": project, "node": node, "image": st.none() | whole, "force": yes} | system
        ),
        "node.snapshot": st.fixed_dictionaries(
            {"project": project, "node": node, "image": new, "crash_consistent": yes}
        ),
        "node.maintenance": st.fixed_dictionaries({"node": node, "action": aside, "reason": st.just("a fan")}),
        "image.maintenance": st.fixed_dictionaries(
            {"project": project, "image": image, "action": aside, "reason": st.just("it panics")}
        ),
        "node.power": st.fixed_dictionaries(
            {"project": project, "node": node, "action": st.sampled_from(["on", "off", "cycle"])}
        ),
        "disk.create": st.fixed_dictionaries({"project": project, "disk": disk, "image": whole}),
        "disk.remove": st.fixed_dictionaries({"project": project, "disk": disk}),
        "disk.restore": st.fixed_dictionaries({"project": project, "disk": disk, "name": st.none() | disk}),
        "disk.snapshot": st.fixed_dictionaries({"project": project, "disk": disk, "image": new}),
    }
    often = {"node.map": 7, "node.map ": 4, "node.map  ": 2, "node.unmap": 5, "node.rebuild": 2, "node.snapshot": 2}
    often |= {"disk.create": 2, "image.update": 2, "image.restore": 1, "disk.restore": 2, "disk.remove": 1}
    kinds = [*fields, *(kind for kind, more in often.items() for _ in range(more))]
    kinds = [one for one in kinds if not only or one in only]
    return st.sampled_from(kinds).flatmap(lambda kind: st.tuples(st.just(kind.strip()), fields[kind]))


def _registration(name: str) -> st.SearchStrategy[dict[str, Any]]:
    own = f"52:54:00:00:0{name[1:]}"
    mac = st.sampled_from([f"{own}:01", f"{own}:01", f"{own}:02", FOREIGN])
    power = st.sampled_from([None, {"driver": "memory", "address": f"bmc-{name}"}])
    return st.fixed_dictionaries({"node": st.just(name), "macs": mac.map(lambda one: [one]), "power": power})
