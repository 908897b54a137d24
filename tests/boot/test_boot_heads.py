"""Two heads on one boot network: each node boots from the head that is its disk's home, and from no other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bmi_publish import State
from lab.head import Head
from lab.layout import Layout
from lab.process import LabError, wait_for
from lab.site import Site
from tests.support.site import Tenant, marker, standing

TWO = Layout(nodes=2, heads=2, database="postgresql", local_disk_every=0)


def home(site: Site, node: str) -> Head:
    """The one head that has a DHCP entry for a node."""
    mac = site.layout.mac(int(node[1:]))
    [found] = [head for head in site.heads if any(mac in file.read_text() for file in head.dnsmasq.hosts.iterdir())]
    return found


def booted(tenant: Tenant, *nodes: str) -> None:
    """Map nodes at once, and wait until their systems are up."""
    results = tenant.map(*nodes)
    assert [result.state for result in results] == [State.DONE] * len(nodes), results


def serves(head: Head) -> dict[str, Any]:
    """What one head has for nodes: targets, boot scripts, DHCP entries."""
    shown = [tgtd.tgtadm("--mode", "target", "--op", "show") for tgtd in head.tgtds]
    return {
        "targets": sum(text.count("Target ") for text in shown),
        "sessions": sum(text.count("I_T nexus:") for text in shown),
        "scripts": len(list(head.dnsmasq.tftp.glob("*/boot.ipxe"))),
        "entries": len(list(head.dnsmasq.hosts.iterdir())),
    }


def answered(head: Head, mac: str) -> bool:
    """Whether this head's DHCP has ever offered this node an address."""
    lines = head.dnsmasq.process.log.read_text().splitlines()
    return any("DHCPOFFER" in line and mac in line for line in lines)


def left(site: Site, name: str) -> str:
    """What `bmid head drain` says is left there; empty if nothing is."""
    try:
        site.bmid.run("head", "drain", name)
    except LabError as error:
        return str(error)
    return ""


@pytest.fixture(scope="module")
def tenant(request: pytest.FixtureRequest) -> Any:
    with standing(TWO, request) as made:
        yield made


def test_two_nodes_boot_from_two_heads_and_one_of_them_from_the_other_after_a_drain(tenant: Tenant) -> None:
    site, nodes = tenant.site, ("n1", "n2")
    nothing = {"targets": 0, "sessions": 0, "scripts": 0, "entries": 0}
    booted(tenant, *nodes)
    homes = {name: home(site, name) for name in nodes}
    assert sorted(head.name for head in homes.values()) == ["head-a", "head-b"]
    for name in nodes:
        assert marker(site, name)["host"] == name
        mac = site.layout.mac(int(name[1:]))
        assert [head.name for head in site.heads if answered(head, mac)] == [homes[name].name]
    assert [{**serves(head), "sessions": 1} for head in site.heads] == [dict.fromkeys(nothing, 1)] * 2

    first = next(name for name in nodes if homes[name].name == "head-a")
    assert first in left(site, "head-a")
    wait_for(lambda: left(site, "head-a") == "", 60, "head-a to be empty: its node's disk goes to the other head")
    wait_for(lambda: serves(site.heads[0]) == nothing, 30, "head-a to sweep away what it had for its node")
    assert home(site, first).name == "head-b"
    assert serves(site.heads[1])["targets"] == 2
    [unmapped] = tenant.unmap(first)
    assert unmapped.ok, unmapped

    booted(tenant, first)
    assert home(site, first).name == "head-b"
    assert marker(site, first)["host"] == first
    assert serves(site.heads[0]) == nothing
    assert serves(site.heads[1])["targets"] == 2
    rows = {row["head"]: row for row in json.loads(site.bmid.run("heads", "-o", "json"))}
    assert [(row["state"], row["draining"]) for row in rows.values()] == [("alive", True), ("alive", False)]
    assert [rows[name]["shards"]["s0"]["disks"] for name in ("head-a", "head-b")] == [0, 2]
