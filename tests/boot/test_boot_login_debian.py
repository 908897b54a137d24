"""A real system with cloud-init: whoever was named at the map logs in; on another node it is still the same machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bmid.handlers.map_node import MapNode
from bmid.handlers.show_node import ShowNode
from bmid.handlers.unmap_node import UnmapNode
from lab.image.debian import DebianImage
from lab.layout import Layout
from lab.login import Login
from tests.support.site import CACHE, PROJECT, Tenant, standing

# One kind of host key instead of three saves ten seconds here. The second card isn't there; its configuration must be.
USER_DATA = """#cloud-config
ssh_genkeytypes: [ed25519]
runcmd: ["echo first >> /var/lib/boots"]
"""
NETWORK_CONFIG = "version: 2\nethernets: {lan9: {addresses: [10.9.9.9/24]}}\n"
SAID = {
    "name": "hostname --fqdn",
    "instance": "cat /var/lib/cloud/data/instance-id",
    "first boots": "cat /var/lib/boots",
    "machine": "cat /etc/machine-id",
    "host key": "cat /etc/ssh/ssh_host_*_key.pub",
    "seed": "lsblk --noheadings --nodeps --output LABEL,RO /dev/sdb",
    "second card": "cat /etc/systemd/network/10-cloud-init-lan9.network",
    "trouble": "grep -c Traceback /var/log/cloud-init.log",
}


@pytest.fixture(scope="module")
def tenant(request: pytest.FixtureRequest) -> Iterator[Tenant]:
    with standing(Layout(nodes=2, local_disk_every=0, memory=1024), request) as one:
        yield one


def address(tenant: Tenant, node: str) -> str:
    with tenant.site.client() as client:
        return str(client.query(ShowNode(node=node))["node"]["address"])


def said(tenant: Tenant, login: Login, node: str) -> dict[str, str]:
    """What the system of a node says of itself, once its first boot is through."""
    place = address(tenant, node)
    login.run(place, "sudo cloud-init status --wait > /dev/null; true", 300)
    return {"address": place} | {what: login.run(place, f"sudo {how} || true") for what, how in SAID.items()}


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_the_key_of_the_command_logs_in_and_a_resumed_disk_is_still_the_same_machine(tenant: Tenant) -> None:
    image = tenant.image("debian", DebianImage(CACHE).build())
    login = Login(tenant.site.folder / "login")
    [mapped] = tenant.map(
        "n1",
        image=image,
        timeout=400,
        hostname="web1",
        ssh_keys=(login.public_key(),),
        user_data=USER_DATA,
        network_config=NETWORK_CONFIG,
    )
    assert mapped.ok, mapped.problem
    first = said(tenant, login, "n1")
    assert (first["name"], first["first boots"], first["trouble"]) == ("web1", "first", "0")
    assert first["seed"].split() == ["cidata", "1"]
    assert "Address=10.9.9.9/24" in first["second card"].splitlines()
    login.run(first["address"], "echo kept > ~/kept; sync")

    [parked] = tenant.do(UnmapNode(project=PROJECT, node="n1", disk="park"), timeout=120)
    assert parked.ok, parked.problem
    assert parked.event is not None
    disk = parked.event.data["disk"]
    [resumed] = tenant.do(MapNode(project=PROJECT, node="n2", disk=disk), timeout=400, booted=True)
    assert resumed.ok, resumed.problem
    # The same address with another host key would be refused as another machine.
    assert said(tenant, login, "n2") == first
    assert login.run(first["address"], "cat ~/kept") == "kept"
