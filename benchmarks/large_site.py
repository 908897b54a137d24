"""A large site as rows: thousands of nodes and disks that only the database knows, for what is asked of it.

The disks belong to a head that isn't there, so that nobody looks for their targets. No machine and no Ceph is touched.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert

from bmid.model.entity import Disk, DiskState, Firmware, Image, Node, PowerAddress, Project, Seed
from bmid.model.operation import Operation, Phase
from bmid.store import schema
from bmid.store.database import Database
from bmid.store.rows import columns

__all__ = ["DISKS", "NODES", "fill"]

NODES, DISKS, IMAGES, PROJECTS, OPERATIONS = 3500, 2048, 200, 20, 20000
BATCH = 500
START = datetime(2026, 1, 1, tzinfo=UTC)


def fill(database: Database, standing: int) -> None:
    """Write the site's rows beside the `standing` nodes that are there."""
    images = [_image(number) for number in range(IMAGES)]
    disks = [_disk(number, images[number % IMAGES]) for number in range(DISKS)]
    nodes = [_node(number, disks[number] if number < DISKS else None) for number in range(NODES - standing)]
    operations = [_operation(number, nodes[number % len(nodes)]) for number in range(OPERATIONS)]
    projects = [Project(_id(), f"site-{number}", START) for number in range(PROJECTS)]
    for table, things in (
        (schema.project, projects),
        (schema.image, images),
        (schema.disk, disks),
        (schema.node, nodes),
        (schema.operation, operations),
    ):
        _write(database, table, [columns(thing) for thing in things])


def _write(database: Database, table: Any, rows: Sequence[dict[str, Any]]) -> None:
    for start in range(0, len(rows), BATCH):
        with database.write() as tx:
            tx.execute(insert(table), rows[start : start + BATCH])


def _id() -> str:
    return uuid.uuid4().hex


def _time(number: int) -> datetime:
    return START + timedelta(seconds=number)


def _image(number: int) -> Image:
    return Image(
        id=_id(), project=f"site-{number % PROJECTS}", name=f"image-{number:03}", size=10 << 30, format="qcow2",
        sha256="0" * 64, firmware=("bios", "uefi"), created_at=_time(number), labels={"os": "debian"}, ready=True,
    )  # fmt: skip


def _disk(number: int, image: Image) -> Disk:
    name = f"n{number:04}"
    return Disk(
        id=_id(), project=f"site-{number % PROJECTS}", name=f"{name}-{number:012x}", image=image.id, size=10 << 30,
        number=1_000_000 + number, state=DiskState.MAPPED, created_at=_time(number), node=name, network="elsewhere",
        address=f"10.9.{number >> 8}.{number & 255}", hostname=name, head="elsewhere", shard="s0",
        seed=Seed(("ssh-ed25519 " + "A" * 68,), "#cloud-config\n" + "packages: []\n" * 80),
    )  # fmt: skip


def _node(number: int, disk: Disk | None) -> Node:
    mac = f"52:54:01:00:{number >> 8:02x}:{number & 255:02x}"
    return Node(
        id=_id(), name=f"n{number:04}", macs=(mac,), boot_mac=mac, firmware=Firmware.ANY, created_at=_time(number),
        labels={"rack": f"r{number % 40}", "gpu": "a100" if number % 4 else "none"},
        power=PowerAddress("redfish", f"https://bmc-{number}.example.org/redfish/v1/Systems/1", "bmc"),
        disk=disk.id if disk else None,
    )  # fmt: skip


def _operation(number: int, node: Node) -> Operation:
    command = {"project": f"site-{number % PROJECTS}", "node": node.name, "image": "image-000", "force": False}
    return Operation(
        id=_id(), seq=-OPERATIONS + number, type="bmi.node.map.v1", command=command, user="alice", source="/bench",
        message=_id(), correlation=_id(), phase=Phase.SUCCEEDED, accepted_at=_time(number), due_at=_time(number),
        project=f"site-{number % PROJECTS}", plan={"stages": [[{"kind": "clone-disk", "id": _id()}] * 4]},
        marks={"clone-disk": {"id": _id()}}, ended_at=_time(number),
    )  # fmt: skip
