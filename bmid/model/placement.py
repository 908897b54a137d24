"""Where a map goes: home, address, and what is written on the disk about it. Pure choices, no message."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from typing import Any, Protocol

from bmid.errors import Refused, TransientError
from bmid.model.entity import Disk, Image, Network, Node
from bmid.model.site import Site

__all__ = ["Home", "choose_address", "choose_home", "metadata"]


class Home(Protocol):
    """A shard of a living head, its portal (IP:PORT), and how many disks it exports."""

    @property
    def head(self) -> str: ...
    @property
    def shard(self) -> str: ...
    @property
    def load(self) -> int: ...
    @property
    def portal(self) -> str: ...
    @property
    def draining(self) -> bool: ...


def choose_home(homes: Sequence[Home]) -> Home:
    """The shard with the fewest disks; of equal ones that of the head with the fewest, so that shards fill in turns
    over all heads; by name where these are equal, too. A draining head gets nothing new."""
    if not homes:
        # Heads come back within seconds, and then nobody behind this command should wait for minutes.
        raise TransientError("no-home", "no head with an iSCSI target is alive", todo="Start bmid on a head.", delay=5)
    ready = [home for home in homes if not home.draining]
    if not ready:
        names = ", ".join(sorted({home.head for home in homes}))
        detail = f"every head that is alive is being drained ({names}), so none takes a new disk"
        raise TransientError("heads-draining", detail, todo="bmid head undrain NAME, or start another head.", delay=10)
    load: Counter[str] = Counter()
    for home in ready:
        load[home.head] += home.load
    return min(ready, key=lambda home: (home.load, load[home.head], home.head, home.shard))


def choose_address(network: Network, taken: Mapping[str, str], wished: str | None, node: str) -> str:
    """The wished address if it is free, else the first free one of the range."""
    if wished is not None:
        if wished in taken:
            detail = f"address {wished}, which node {node} wishes for, is in use by {taken[wished]}"
            raise Refused("address-taken", detail, todo="Unmap that one, or register the node with another address.")
        return wished
    first, last = int(ipaddress.ip_address(network.first)), int(ipaddress.ip_address(network.last))
    free = _first_free(first, last, taken)
    if free is None:
        detail = f"all {last - first + 1} addresses of boot network {network.name} are in use"
        raise Refused("network-full", detail, todo="Unmap nodes, or widen the range in the settings.")
    return free


def _first_free(first: int, last: int, taken: Container[str]) -> str | None:
    every = (str(ipaddress.ip_address(number)) for number in range(first, last + 1))
    return next((address for address in every if address not in taken), None)


def metadata(disk: Disk, image: Image, node: Node | None, site: Site, state: str) -> dict[str, Any]:
    """What is written beside the disk in the storage: enough to make the rows of disk and node again without a
    database. One that is parked has no node. No secret is in it: of a seed only that there is one."""
    return {
        **_told(node),
        "created_at": disk.created_at.isoformat(),
        "seeded": disk.seed is not None,
        "portal": disk.portal,
        "kind": "disk",
        "site": site.id,
        "id": disk.id,
        "name": disk.name,
        "project": disk.project,
        "image": image.id,
        "image_name": image.reference,
        "node": node.name if node else None,
        "macs": list(node.macs) if node else [],
        "boot_mac": node.boot_mac if node else None,
        "firmware": node.firmware.value if node else None,
        "network": disk.network,
        "address": disk.address,
        "hostname": disk.hostname,
        "head": disk.head,
        "shard": disk.shard,
        "number": disk.number,
        "iqn": site.target(disk.id),
        "generation": disk.generation,
        "state": state,
    }


def _told(node: Node | None) -> dict[str, Any]:
    """What a disk's metadata have of its node beyond its name, its cards and its firmware."""
    if node is None:
        return {}
    return {
        "node_id": node.id,
        "node_created_at": node.created_at.isoformat(),
        "node_generation": node.generation,
        "node_address": node.address,
        "node_labels": dict(node.labels),
        "node_hil_name": node.hil_name,
    }
