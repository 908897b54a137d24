"""Examples of messages, made from their schemas and from values that fit a field of that name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmid.errors import Problem
from bmid.messages.base import Message

__all__ = ["example"]

OPERATION = "019abc0f3a5c7d21b0c4e5f60718293a"
SHA256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
PROBLEM = Problem.of("disk-in-place", "node n1 is mapped to disk n1-e5f60718293a of project p1", todo="Unmap it first.")
GOLDEN_GONE = Problem.of("image-missing", f"there is no golden image-{OPERATION}", todo="Import it again.")
BMC_DEAF = Problem.of(
    "bmc-down", "the BMC at https://bmc-n1.example/redfish/v1/Systems/1 doesn't answer", todo="Look at it."
)
# By the field's name; "TYPE FIELD" for one message alone. Optional fields that are not here are left out.
VALUES: Mapping[str, Any] = {
    "address": "10.77.0.11",
    "boot_mac": "52:54:00:12:34:56",
    "command": "bmi.node.map.v1",
    "disk": "n1-e5f60718293a",
    "evidence": {"booted": "2026-11-21T09:00:31+00:00 reads after it wrote", "bytes_read": "61341696"},
    "firmware": "uefi",
    "format": "qcow2",
    "hostname": "n1",
    "id": OPERATION,
    "image": "debian-12",
    "macs": ["52:54:00:12:34:56"],
    "message": "019abc0f-3a5c-7d21-b0c4-e5f60718293a",
    "node": "n1",
    "operation": OPERATION,
    "portal": "10.77.0.1:3260",
    "power": "cycle",
    "restorable_until": "2026-11-28T09:00:00+00:00",
    "problem": PROBLEM.model_dump(mode="json", exclude_none=True),
    "project": "p1",
    "sha256": SHA256,
    "source": "/my-service",
    "stage": "firmware",
    "started_at": "2026-11-21T09:00:00+00:00",
    "target": f"iqn.2026-11.org.example.bmi:{OPERATION}",
    "bmi.command.rejected.v1 reasons": ["image: Field required"],
    "bmi.command.rejected.v1 problem": Problem.of(
        "data-invalid", "image: Field required", todo="The fields of this command are project, node, image."
    ).model_dump(mode="json", exclude_none=True),
    "bmi.disk.create.v1 disk": "data",
    "bmi.disk.created.v1 disk": "data",
    "bmi.disk.created.v1 image": "p1/debian-12",
    "bmi.disk.created.v1 location": f"bmi/disk-{OPERATION}",
    "bmi.disk.created.v1 size": 10737418240,
    "bmi.disk.snapshot.v1 image": "web-1",
    "bmi.disk.restored.v1 image": "p1/debian-12",
    "bmi.disk.restored.v1 size": 10737418240,
    "bmi.image.restored.v1 size": 10737418240,
    "bmi.group.finished.v1 command": "bmi.node.map.v1",
    "bmi.group.finished.v1 members": [{"node": "n1", "operation": OPERATION, "phase": "succeeded"}],
    "bmi.group.finished.v1 failed": 0,
    "bmi.image.created.v1 format": "raw",
    "bmi.node.snapshot.v1 image": "web-1",
    "bmi.operation.planned.v1 steps": [{"step": "clone-disk", "stage": 2, "details": {"disk": OPERATION}}],
    "bmi.image.copied.v1 source": "p1/debian-12",
    "bmi.image.copied.v1 image": "debian-13",
    "bmi.image.copied.v1 to_project": "p2",
    "bmi.image.copied.v1 firmware": ["bios", "uefi"],
    "bmi.image.copied.v1 size": 10737418240,
    "bmi.image.copy.v1 to": "debian-13",
    "bmi.image.copy.v1 to_project": "p2",
    "bmi.image.created.v1 firmware": ["bios", "uefi"],
    "bmi.image.created.v1 image": "grown",
    "bmi.image.created.v1 parent": "p1/debian-12",
    "bmi.image.created.v1 size": 10737418240,
    "bmi.image.export.v1 to": {"file": "debian-12.qcow2", "format": "qcow2", "token": SHA256},
    "bmi.image.exported.v1 file": "debian-12.qcow2",
    "bmi.image.exported.v1 size": 361758720,
    "bmi.image.exported.v1 url": f"http://head.example:8470/v1/downloads/{OPERATION}",
    "bmi.image.import.v1 source": {"upload": SHA256},
    "bmi.image.update.v1 labels": {"release": "12.8"},
    "bmi.image.update.v1 default_for": {"os": "debian"},
    "bmi.image.maintenance.v1 action": "on",
    "bmi.image.maintenance.v1 reason": "a kernel that panics",
    "bmi.image.maintained.v1 before": "in-use",
    "bmi.image.maintained.v1 state": "maintenance",
    "bmi.image.maintained.v1 reason": "a kernel that panics",
    "bmi.image.set-aside.v1 failures": 5,
    "bmi.image.set-aside.v1 problem": GOLDEN_GONE.model_dump(mode="json", exclude_none=True),
    "bmi.image.set-aside.v1 reason": f"5 operations in a row failed in clone-disk: {GOLDEN_GONE.detail}",
    "bmi.node.maintenance.v1 action": "on",
    "bmi.node.maintenance.v1 reason": "a fan is loud",
    "bmi.node.maintained.v1 before": "in-use",
    "bmi.node.maintained.v1 state": "maintenance",
    "bmi.node.maintained.v1 reason": "a fan is loud",
    "bmi.node.set-aside.v1 failures": 5,
    "bmi.node.set-aside.v1 problem": BMC_DEAF.model_dump(mode="json", exclude_none=True),
    "bmi.node.set-aside.v1 reason": f"5 operations in a row failed in cycle-power: {BMC_DEAF.detail}",
    "bmi.image.updated.v1 description": "",
    "bmi.image.updated.v1 labels": {"release": "12.8"},
    "bmi.image.updated.v1 defaults": [{"os": "debian"}],
    "bmi.image.imported.v1 firmware": ["bios", "uefi"],
    "bmi.node.boot-failed.v1 todo": "It never logged in: look at its power, boot order, cable and DHCP.",
    "bmi.node.register.v1 power": {
        "driver": "redfish",
        "address": "https://bmc-n1.example/redfish/v1/Systems/1",
        "credential": "bmc",
    },
    "bmi.node.power.v1 action": "cycle",
    "bmi.node.powered.v1 action": "cycle",
    "bmi.node.powered.v1 power": "on",
    "bmi.node.unmapped.v1 power": "off",
    "bmi.portal.moved.v1 address": "10.77.0.1",
    "bmi.portal.moved.v1 portals": ["10.77.0.1:3260"],
    "bmi.portal.moved.v1 origin": "head-a",
    "bmi.portal.moved.v1 head": "head-b",
    "bmi.portal.moved.v1 why": "dead",
    "bmi.portal.moved.v1 disks": 24,
    "bmi.portal.moved.v1 failed": 0,
    "bmi.portal.move.v1 address": "10.77.0.1",
    "bmi.portal.move.v1 portals": ["10.77.0.1:3260"],
    "bmi.portal.move.v1 origin": "head-a",
    "bmi.portal.move.v1 head": "head-b",
    "bmi.portal.move.v1 why": "dead",
    "bmi.orphan.remove.v1 head": "",
    "bmi.orphan.remove.v1 kind": "disk-orphaned",
    "bmi.orphan.removed.v1 head": "",
    "bmi.orphan.removed.v1 kind": "disk-orphaned",
    "bmi.site.reconcile.v1 head": "head-a",
    "bmi.site.reconciled.v1 head": "head-a",
    "bmi.site.reconciled.v1 findings": {"stranger": 1, "target-missing": 2},
    "bmi.site.reconciled.v1 failed": 0,
    "bmi.site.reconciled.v1 mended": 2,
    "bmi.claim.broken.v1 key": "node:n1",
    "bmi.claim.broken.v1 keys": ["node:n1", f"operation:{OPERATION}"],
    "bmi.claim.broken.v1 holder": "head-a/0f3a5c7d21b0",
    "bmi.claim.broken.v1 alive": False,
    "bmi.claim.broken.v1 reason": "head-a lost its network",
    "bmi.operation.abandoned.v1 reason": "the BMC is gone for good",
    "bmi.operation.abandoned.v1 left": [
        {
            "kind": "disk-unfinished",
            "subject": OPERATION,
            "where": "database",
            "what": "disk p1/n1-e5f60718293a is making, and nobody is at work on it",
            "todo": "send the command again: unmap its node, or remove the disk",
            "parts": [f"disk {OPERATION} in the storage"],
        }
    ],
    "bmi.operation.abandoned.v1 steps": ["require-allocated", "clone-disk", "export-disk", "point-boot"],
    "bmi.operation.retried.v1 phase": "reverting",
    "bmi.trash.expired.v1 removed_before": "2026-11-19T09:00:00+00:00",
    "bmi.trash.expired.v1 reason": "the pool is full",
    "bmi.operation.retried.v1 reason": "the boot folder is mounted again",
    "bmi.operation.accepted.v1 about": "node/n1",
    "bmi.operation.accepted.v1 upload": f"http://head.example:8470/v1/uploads/{OPERATION}",
    "bmi.operation.progressed.v1 command": "bmi.image.import.v1",
}
OMITTED = {
    "bmi.disk.restore.v1 id",
    "bmi.image.restore.v1 id",
    "bmi.trash.list.v1 operation",
    "bmi.image.import.v1 sha256",
    "bmi.node.map.v1 disk",
    "bmi.node.map.v1 hostname",
    "bmi.node.rebuild.v1 hostname",
    "bmi.node.unmap.v1 disk",
    "bmi.operation.show.v1 message",
    "bmi.operation.show.v1 source",
}
SIMPLE: Mapping[str, Any] = {"string": "text", "integer": 1, "number": 31.4, "boolean": True, "array": [], "object": {}}


def example(message: type[Message]) -> dict[str, Any]:
    """Data of such a message; valid by its schema, or ValidationError is raised."""
    properties = message.model_json_schema().get("properties", {})
    data = {}
    for name, field in message.model_fields.items():
        own = f"{message.type} {name}"
        if own in OMITTED or not (field.is_required() or name in VALUES or own in VALUES):
            continue
        fallback = SIMPLE.get(properties[name].get("type", "string"))
        data[name] = VALUES.get(own, VALUES.get(name, fallback))
    return message.model_validate(data).model_dump(mode="json", exclude_unset=True)
