"""How things look in the answers to queries. No message of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bmid.errors import Refused
from bmid.handlers.base import View
from bmid.model.entity import Boot, Disk, Image, Node, Project
from bmid.model.operation import Operation
from bmid.model.page import Lineage

__all__ = [
    "boot_shape",
    "disk_shape",
    "image_shape",
    "lineage_shape",
    "node_shapes",
    "operation_shape",
    "project_shape",
    "unknown",
]


def unknown(kind: str, name: str) -> Refused:
    """There is no such thing."""
    return Refused(f"{kind}-unknown", f"there is no {kind} {name}", todo=f"bmi-publish {kind} list shows them.")


def project_shape(project: Project) -> dict[str, Any]:
    """A project."""
    return {"project": project.name, "created_at": project.created_at.isoformat()}


def image_shape(image: Image) -> dict[str, Any]:
    """An image; sizes in bytes."""
    return {
        "project": image.project,
        "image": image.name,
        "state": "ready" if image.ready else "importing",
        "size": image.size,
        "format": image.format,
        "firmware": list(image.firmware),
        "sha256": image.sha256,
        "created_at": image.created_at.isoformat(),
        "description": image.description,
        "labels": image.labels,
        "id": image.id,
    }


def lineage_shape(lineage: Lineage) -> dict[str, Any]:
    """Where an image comes from, and how much hangs on it."""
    return {
        "parent": lineage.parent,
        "children": lineage.children,
        "disks": lineage.disks,
        "default_for": [dict(labels) for labels in lineage.defaults],
    }


def disk_shape(disk: Disk, image: str | None) -> dict[str, Any]:
    """A disk and where it is; `image` is project/name."""
    return {
        "project": disk.project,
        "disk": disk.name,
        "state": disk.state.value,
        "image": image,
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


def node_shapes(view: View, nodes: Sequence[Node]) -> list[dict[str, Any]]:
    """Nodes with their disks. No more is read than these nodes need."""
    disks = view.disks_by_id(node.disk for node in nodes)
    images = view.image_names(disk.image for disk in disks.values())
    return [_node_shape(node, disks.get(node.disk or ""), images) for node in nodes]


def _node_shape(node: Node, disk: Disk | None, images: Mapping[str, str]) -> dict[str, Any]:
    return {
        "node": node.name,
        "state": disk.state.value if disk else "free",
        "project": disk.project if disk else None,
        "image": images.get(disk.image) if disk else None,
        "disk": disk.name if disk else None,
        "address": disk.address if disk else node.address,
        "firmware": node.firmware.value,
        "boot_mac": node.boot_mac,
        "macs": list(node.macs),
        "labels": node.labels,
        "power": node.power.driver if node.power else None,
        "created_at": node.created_at.isoformat(),
    }


def operation_shape(operation: Operation) -> dict[str, Any]:
    """An operation; `why` says what it waits for, `problem` why it failed; `refused`: the site's state said no, and
    nothing was done."""
    return {
        "operation": operation.id,
        "command": operation.type,
        "project": operation.project,
        "phase": operation.phase.value,
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
