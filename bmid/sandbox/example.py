"""What a sandbox has before its first message: a site to begin with, or what an earlier run of it left behind."""

from __future__ import annotations

import hashlib
import os

from bmid.drivers.base import Power, PowerAction, Storage
from bmid.model.change import Put
from bmid.model.entity import DiskState, Firmware, Image, Node, PowerAddress, Project
from bmid.model.ident import uuid7
from bmid.store.database import Database
from bmid.store.rows import apply
from bmid.store.view import StoreView

__all__ = ["DRIVER", "recall", "settle"]

DRIVER = "redfish"  # as it says in the documents; here it is a driver in memory
PROJECT, IMAGE, NODES = "p1", "debian-12", 8
SIZE = 2 << 30  # bytes


def settle(database: Database) -> None:
    """Project p1 with the image debian-12, and nodes n1 to n8 with power. Nothing where there is a project already."""
    with database.write() as tx:
        if StoreView(tx, 0).projects():
            return

        def fresh() -> str:
            return uuid7(tx.now, os.urandom(10)).hex

        image = Image(
            id=fresh(),
            project=PROJECT,
            name=IMAGE,
            size=SIZE,
            format="qcow2",
            sha256=hashlib.sha256(b"").hexdigest(),
            firmware=(Firmware.BIOS.value, Firmware.UEFI.value),
            created_at=tx.now,
            description="of the sandbox",
            ready=True,
        )
        apply(tx, [Put(Project(id=fresh(), name=PROJECT, created_at=tx.now)), Put(image)])
        for number in range(1, NODES + 1):
            name, mac = f"n{number}", f"02:00:00:00:00:{number:02x}"
            power = PowerAddress(DRIVER, f"https://bmc-{name}.sandbox/redfish/v1/Systems/1", "bmc")
            node = Node(fresh(), name, (mac,), mac, Firmware.ANY, tx.now, power=power)
            apply(tx, [Put(node)])


def recall(database: Database, storage: Storage, power: Power) -> None:
    """Make what the rows speak of, and memory has forgotten: images and disks, and nodes that were running.

    Targets and boot pointers are not made: bmid misses them by itself, as after a restart of tgtd.
    """
    with database.read() as tx:
        view = StoreView(tx, 0)
        images, disks, nodes = view.images(), view.disks(), view.nodes()
    for image in images:
        storage.create_image(image.id, image.size)
        if image.ready:
            storage.seal_image(image.id, {"id": image.id})
    for disk in disks:
        if disk.state is not DiskState.MAKING:
            storage.clone(disk.image, disk.id, {"id": disk.id})
    for node in nodes:
        if node.disk and node.power:
            power.request(node.power, PowerAction.ON)
