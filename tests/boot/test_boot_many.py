"""Twenty-four nodes are mapped at once, and each boots a disk of its own; in waves, since the machine is small."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bmid.handlers.list_disks import ListDisks
from bmid.handlers.map_node import MapNode
from bmid.handlers.show_node import ShowNode
from lab.image.foreign import ForeignImage
from lab.layout import Layout
from lab.process import wait_for
from lab.trace import look
from tests.support.site import CACHE, PROJECT, Tenant, marker, standing

NODES = 24
WAVE = 4


@pytest.fixture(scope="module")
def tenant(request: pytest.FixtureRequest) -> Iterator[Tenant]:
    with standing(Layout(nodes=NODES, local_disk_every=0), request) as one:
        one.tiny()
        yield one


def stage(tenant: Tenant, node: str) -> str:
    with tenant.site.client() as client:
        return str(client.query(ShowNode(node=node))["node"]["boot"]["stage"])


@pytest.mark.long
@pytest.mark.timeout(900)
def test_24_nodes_mapped_at_once_are_24_disks_and_each_boots(tenant: Tenant) -> None:
    site, names = tenant.site, tenant.site.layout.names
    commands = (MapNode(project=PROJECT, node=name, image="tiny", power="none") for name in names)
    results = tenant.do(*commands, timeout=120)
    assert all(result.ok for result in results), results
    with site.client() as client:
        disks = client.query(ListDisks(project=PROJECT))["disks"]
    for what in ("id", "disk", "address", "node"):
        assert len({disk[what] for disk in disks}) == NODES, what

    wrote = set()
    for start in range(0, NODES, WAVE):
        wave = names[start : start + WAVE]
        for name in wave:
            site.node(name).power_on()
        for name in wave:
            site.node(name).wait_for_console("BMI-TINY", 150)
            said = marker(site, name)
            assert (said["host"], said["found"]) == (name, "-")
            wrote.add(said["wrote"])
            wait_for(lambda name=name: stage(tenant, name) == "booted", 20, f"{name} is seen to have booted")  # type: ignore[misc]
        for name in wave:
            site.node(name).power_off()
    assert len(wrote) == NODES

    unmapped = tenant.unmap(*names, force=True)
    assert all(result.ok for result in unmapped), unmapped
    assert look(site).none


@pytest.mark.long
@pytest.mark.timeout(600)
def test_an_image_made_without_any_code_of_the_lab_imports_maps_and_boots(tenant: Tenant) -> None:
    """mmdebstrap and Debian's own GRUB made it; both kinds of firmware boot it."""
    site = tenant.site
    foreign = tenant.image("foreign", ForeignImage(CACHE).build())
    results = tenant.map("n1", "n2", image=foreign, timeout=400)
    assert all(result.ok for result in results), results
    for name in ("n1", "n2"):
        assert "login:" in site.node(name).wait_for_console("login:", 120)
    assert all(result.ok for result in tenant.unmap("n1", "n2"))
