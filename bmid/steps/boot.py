"""Steps on the boot pointer: what a node's firmware is led to."""

from __future__ import annotations

from typing import ClassVar

from bmid.drivers.base import BootEntry
from bmid.model.entity import Disk, Firmware, Node
from bmid.model.site import Site
from bmid.steps.base import Step, Wait, World

__all__ = ["REMOVING", "ClearBoot", "PointBoot"]

REMOVING = "removing"  # the mark of an operation that has begun to take a disk from its node


class PointBoot(Step):
    """The node is led to its target. The visible step: everything it leads to is there before."""

    kind: ClassVar[str] = "point-boot"
    node: str
    disk: str
    shard: str
    generation: int
    mac: str
    address: str
    hostname: str
    firmware: Firmware
    iqn: str
    initiator: str
    portal: str = ""

    @classmethod
    def of(cls, node: Node, disk: Disk, site: Site) -> PointBoot:
        """For a disk that has its home and address."""
        return cls(
            node=node.name,
            disk=disk.id,
            shard=disk.shard or "",
            generation=disk.generation,
            mac=node.boot_mac,
            address=disk.address or "",
            hostname=disk.hostname or node.name,
            firmware=node.firmware,
            iqn=site.target(disk.id),
            initiator=site.initiator(node.name),
            portal=disk.portal or "",
        )

    def entry(self, portal: tuple[str, int], secret: str) -> BootEntry:
        """What the boot driver is told."""
        return BootEntry(
            node=self.node,
            disk=self.disk,
            generation=self.generation,
            mac=self.mac,
            address=self.address,
            hostname=self.hostname,
            firmware=self.firmware,
            portal=portal,
            iqn=self.iqn,
            initiator=self.initiator,
            user=self.disk,
            secret=secret,
        )

    def apply(self, world: World) -> Wait | None:
        """Write host entry and script, the script last. Where the node finds its target doesn't change when another
        head carries the address."""
        address, _, port = self.portal.rpartition(":")
        portal = (address, int(port)) if address else world.target.portal(self.shard)
        world.boot.point(self.entry(portal, world.secret(self.disk, self.generation)))
        return None

    def revert(self, world: World) -> Wait | None:
        """The node finds nothing."""
        world.boot.clear(self.address, self.disk)
        return None


class ClearBoot(Step):
    """Nothing leads to the disk any more. First on the way out: a node never boots a half-removed disk."""

    kind: ClassVar[str] = "clear-boot"
    disk: str
    address: str

    def apply(self, world: World) -> Wait | None:
        """Remove script and host entry, the script first; from here on there is only one way."""
        if not world.notes.mark(REMOVING):
            world.notes.write(REMOVING, True)
        world.boot.clear(self.address, self.disk)
        return None
