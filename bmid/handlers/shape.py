"""How things look in the answers to queries. No message of its own."""

from __future__ import annotations

from typing import Any

from bmid.errors import Refused
from bmid.handlers.base import View
from bmid.model.entity import Boot, Disk, Image, Node, Project
from bmid.model.operation import Operation

__all__ = ["NodeShapes", "boot_shape", "disk_shape", "image_shape", "operation_shape", "project_shape", "unknown"]


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
        "id": image.id,
    }


def disk_shape(disk: Disk, image: Image | None) -> dict[str, Any]:
    """A disk and where it is."""
    return {
        "project": disk.project,
        "disk": disk.name,
        "state": disk.state.value,
        "image": f"{image.project}/{image.name}" if image else None,
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


class NodeShapes:
    """Nodes with their disks; what many of them share is read once."""

    def __init__(self, view: View) -> None:
        self._disks = {disk.id: disk for disk in view.disks()}
        self._images = {image.id: image for image in view.images()}

    def of(self, node: Node) -> dict[str, Any]:
        """One node."""
        disk = self._disks.get(node.disk or "")
        image = self._images.get(disk.image) if disk else None
        return {
            "node": node.name,
            "state": disk.state.value if disk else "free",
            "project": disk.project if disk else None,
            "image": f"{image.project}/{image.name}" if image else None,
            "disk": disk.name if disk else None,
            "address": disk.address if disk else node.address,
            "firmware": node.firmware.value,
            "boot_mac": node.boot_mac,
            "macs": list(node.macs),
            "labels": node.labels,
            "power": node.power.driver if node.power else None,
        }


def operation_shape(operation: Operation) -> dict[str, Any]:
    """An operation; `why` says what it waits for, `problem` why it failed."""
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
        "problem": operation.problem,
    }
