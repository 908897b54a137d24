"""How things look in the answers to queries. No message of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bmid.errors import Refused
from bmid.model.entity import Boot, Project
from bmid.model.operation import Operation
from bmid.model.page import ListedDisk, ListedImage, ListedNode, ListedOperation, ListedProject, ListedTrash

__all__ = [
    "boot_shape",
    "disk_shape",
    "image_shape",
    "node_shape",
    "operation_shape",
    "project_shape",
    "trash_shape",
    "unknown",
]


def unknown(kind: str, name: str) -> Refused:
    """There is no such thing."""
    return Refused(f"{kind}-unknown", f"there is no {kind} {name}", todo=f"bmi-publish {kind} list shows them.")


def project_shape(project: Project | ListedProject) -> dict[str, Any]:
    """A project."""
    return {"project": project.name, "created_at": project.created_at.isoformat()}


def image_shape(image: ListedImage, defaults: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """An image, where it comes from and how much hangs on it; sizes in bytes. `defaults` are the sets of labels that
    it is the default for."""
    return {
        "project": image.project,
        "image": image.name,
        "state": "ready" if image.ready else "importing",
        "size": image.size,
        "format": image.format,
        "firmware": image.firmware,
        "sha256": image.sha256,
        "created_at": image.created_at.isoformat(),
        "description": image.description,
        "labels": image.labels,
        "id": image.id,
        "parent": image.parent,
        "children": image.children,
        "disks": image.disks,
        "default_for": list(defaults),
        "aside": image.aside,
    }


def disk_shape(disk: ListedDisk) -> dict[str, Any]:
    """A disk and where it is."""
    return {
        "project": disk.project,
        "disk": disk.name,
        "state": disk.state,
        "image": disk.image,
        "node": disk.node,
        "address": disk.address,
        "hostname": disk.hostname,
        "head": disk.head,
        "shard": disk.shard,
        "size": disk.size,
        "created_at": disk.created_at.isoformat(),
        "id": disk.id,
    }


def boot_shape(boot: Boot) -> dict[str, Any]:
    """A boot as it was seen."""
    return {
        "stage": boot.stage.value,
        "attempt": boot.attempt,
        "started_at": boot.started_at.isoformat(),
        "deadline": boot.deadline.isoformat() if boot.deadline else None,
        "evidence": boot.evidence,
    }


def node_shape(node: ListedNode) -> dict[str, Any]:
    """A node and what it is on."""
    return {
        "node": node.name,
        "state": node.state,
        "project": node.project,
        "image": node.image,
        "disk": node.disk,
        "address": node.address,
        "firmware": node.firmware,
        "boot_mac": node.boot_mac,
        "macs": node.macs,
        "labels": node.labels,
        "power": node.power,
        "created_at": node.created_at.isoformat(),
        "aside": node.aside,
    }


def operation_shape(operation: Operation | ListedOperation) -> dict[str, Any]:
    """An operation; `why` says what it waits for, `problem` why it failed; `refused`: the site's state said no, and
    nothing was done."""
    return {
        "operation": operation.id,
        "command": operation.type,
        "project": operation.project,
        "phase": str(operation.phase),
        "why": operation.why,
        "attempts": operation.attempts,
        "user": operation.user,
        "source": operation.source,
        "message": operation.message,
        "correlation": operation.correlation,
        "accepted_at": operation.accepted_at.isoformat(),
        "ended_at": operation.ended_at.isoformat() if operation.ended_at else None,
        "expires_at": operation.expires_at.isoformat() if operation.expires_at else None,
        "group": operation.parent,
        "refused": bool(operation.problem and operation.problem.get("refused")),
        "problem": operation.problem,
    }


def trash_shape(one: ListedTrash) -> dict[str, Any]:
    """Something removed; `image` is what it was made from, `operation` what removed it."""
    return {
        "kind": one.kind,
        "project": one.project,
        "name": one.name,
        "image": one.image,
        "size": one.size,
        "removed_at": one.removed_at.isoformat(),
        "expires_at": one.expires_at.isoformat(),
        "id": one.id,
        "operation": one.operation,
    }
