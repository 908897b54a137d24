"""A system is told who it is at its first boot, and stays that machine wherever its disk goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bmid.handlers.map_node import MapNode
from bmid.handlers.unmap_node import UnmapNode
from lab.layout import Layout
from tests.support.site import PROJECT, Tenant, marker, standing


@pytest.fixture(scope="module")
def tenant(request: pytest.FixtureRequest) -> Iterator[Tenant]:
    with standing(Layout(nodes=2, local_disk_every=0), request) as one:
        yield one


def park(tenant: Tenant, node: str) -> str:
    """Take a node off its disk, which is kept; the disk's name."""
    [result] = tenant.do(UnmapNode(project=PROJECT, node=node, disk="park"))
    assert result.ok, result
    assert result.event is not None
    return str(result.event.data["disk"])


def said(tenant: Tenant, node: str) -> tuple[dict[str, str], dict[str, str]]:
    """What the system of a node says it was told, and what it is."""
    system = marker(tenant.site, node, seconds=150)
    return marker(tenant.site, node, "BMI-SEED"), system


def test_a_system_learns_its_name_and_is_the_same_machine_when_its_disk_goes_on_elsewhere(tenant: Tenant) -> None:
    """n1 is a BIOS node and n2 one with UEFI; both find the seed beside the disk that their firmware booted."""
    [mapped] = tenant.map("n1", hostname="web1")
    assert mapped.ok, mapped
    told, first = said(tenant, "n1")
    assert (told["host"], told["first"]) == ("web1", "yes")
    assert (first["host"], first["found"]) == ("web1", "-")

    disk = park(tenant, "n1")
    commands = (
        MapNode(project=PROJECT, node="n2", disk=disk),
        MapNode(project=PROJECT, node="n1", image="tiny", hostname="web1"),
    )
    assert all(result.ok for result in tenant.do(*commands, timeout=120, booted=True))
    again, second = said(tenant, "n2")
    assert again == {**told, "first": "no"}
    assert (second["host"], second["found"]) == ("web1", first["wrote"])
    other, third = said(tenant, "n1")
    assert (other["host"], other["first"]) == ("web1", "yes")
    assert other["instance"] != told["instance"]
    assert third["found"] == "-"
    assert all(result.ok for result in tenant.unmap("n1", "n2"))
    assert list((tenant.site.bmid.folder / "seeds").iterdir()) == []
