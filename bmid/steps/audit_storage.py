"""Rows against the storage: what is lost, what has lost its row, and whose it is that has none. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from bmid.drivers.base import Stored
from bmid.model.entity import DiskState
from bmid.model.finding import ABANDONED, BY_HAND, ROWLESS, Finding, Kind
from bmid.model.promise import Promises

__all__ = ["audit_storage"]


def audit_storage(rows: Promises, stored: Iterable[Stored], iqn_prefix: str) -> Iterator[Finding]:
    """All findings about what is in the storage."""
    there: dict[str, set[str]] = {"image": set(), "disk": set(), "trash": set()}
    known = {*rows.images, *rows.disks}
    for thing in stored:
        there.setdefault(thing.kind, set()).add(thing.id)
        if thing.kind == "stranger" or (
            thing.kind in ("image", "disk") and thing.id not in known and not _ours(thing, rows.site, iqn_prefix)
        ):
            yield _stranger(thing)
        elif thing.kind in ("image", "disk") and thing.id not in known:
            yield _orphan(thing)
        elif thing.kind == "disk":
            yield from _snapshots(rows, thing)
    for disk in rows.disks.values():
        if (
            disk.id not in there["disk"]
            and not rows.in_the_making(disk)
            and disk.state in (DiskState.MAPPED, DiskState.PARKED)
        ):
            hint = "it lies in the storage's trash" if disk.id in there["trash"] else BY_HAND
            what = f"{disk.label} is not in the storage"
            yield disk.finding(Kind.DISK_MISSING, "storage", what, hint)
    for identifier, key in rows.trash.items():
        if identifier not in there["trash"] and identifier not in known and key not in rows.at_work:
            what = f"{key.replace(':', ' ')}, which was removed and could be restored, is not in the trash"
            yield Finding(Kind.TRASH_MISSING, identifier, "storage", what, BY_HAND)
    for image in rows.images.values():
        if image.ready and image.id not in there["image"] and not rows.busy_image(image):
            hint = "it lies in the storage's trash" if image.id in there["trash"] else BY_HAND
            what = f"image {image.project}/{image.name} is not in the storage"
            yield Finding(Kind.IMAGE_MISSING, image.id, "storage", what, hint, project=image.project, name=image.name)


def _ours(thing: Stored, site: str, iqn_prefix: str) -> bool:
    """Whether it says so itself. Sites may share a pool, and even a prefix: the id of each is in all that it makes."""
    told = thing.metadata
    return (told.get("id"), told.get("site")) == (thing.id, site) and told.get("iqn") in (
        None,
        f"{iqn_prefix}:{thing.id}",
    )


def _stranger(thing: Stored) -> Finding:
    what = f"{thing.id} is not ours"
    if thing.kind != "stranger":
        site = thing.metadata.get("site")
        says = f"says that it is of site {site}" if site else "nothing in it says that it is"
        what = f"{thing.kind} {thing.id} has a name like ours, and {says}"
    return Finding(Kind.STRANGER, thing.id, "storage", what, "somebody else uses this pool or folder")


def _orphan(thing: Stored) -> Finding:
    kind = Kind.IMAGE_ORPHANED if thing.kind == "image" else Kind.DISK_ORPHANED
    facts = {key: str(value) for key, value in thing.metadata.items() if isinstance(value, str)}
    project, name = facts.get("project"), facts.get("image" if thing.kind == "image" else "name")
    what = f"{thing.kind} {project}/{name} has no row"
    details = {"metadata": json.dumps(dict(thing.metadata), default=str), "size": str(thing.size)}
    return Finding(
        kind, thing.id, "storage", what, ROWLESS, node=facts.get("node"), project=project, name=name, details=details
    )


def _snapshots(rows: Promises, thing: Stored) -> Iterator[Finding]:
    disk = rows.disks[thing.id]
    for snapshot in thing.snapshots:
        if snapshot not in rows.unfinished and not rows.busy(disk):
            what = f"{disk.label} has a snapshot of no operation that goes on"
            details = {"snapshot": snapshot}
            yield disk.finding(Kind.SNAPSHOT_ORPHANED, f"storage @{snapshot}", what, ABANDONED, details=details)
