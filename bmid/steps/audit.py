"""Rows against sightings: what was promised and isn't there, what is there and nobody knows, what leads astray.

Pure. One module for the reconciling daemon, for `bmid fsck` and for tests, so that all of them mean the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from bmid.drivers.base import ExportStatus, Pointer, Stored
from bmid.model.entity import DiskState
from bmid.model.finding import SHARED, Finding, Kind
from bmid.model.promise import PromisedDisk, Promises
from bmid.steps.sighting import Sightings

__all__ = ["compare", "compare_both"]

_HAND = "somebody took it away by hand, or the part that keeps it forgot it"
_ABANDONED = "an operation was abandoned, or was carried out on a database that was put back since"
_ROWLESS = "its row is gone: a database was put back, rows were changed by hand, or a mistake of bmid"
_HALF = (DiskState.MAKING, DiskState.REMOVING)
_LEFT = {Kind.TARGET_ORPHANED: "a target", Kind.POINTER_ORPHANED: "a boot pointer", Kind.SEED_ORPHANED: "a seed"}


def compare_both(before: Promises, seen: Sightings, after: Promises) -> tuple[Finding, ...]:
    """What holds against the rows of before the look and against those of after it: so on a site at work, too, what is
    just being made or taken away is no finding."""
    still = {one.key for one in compare(before, seen)}
    moved = {name for name, disk in after.disks.items() if name in before.disks and before.disks[name] != disk}
    return tuple(one for one in compare(after, seen) if one.key in still and one.subject not in moved)


def compare(rows: Promises, seen: Sightings) -> tuple[Finding, ...]:
    """All findings against the rows of one moment. What was not looked at has none."""
    found: list[Finding] = []
    if seen.stored is not None:
        found += _storage(rows, seen.stored, seen.iqn_prefix)
    if "database" in seen.seen:
        found += [*_rows(rows), *rows.ledger]
    mine = {one.id: one for one in rows.disks.values() if one.home(seen.head)}
    for shard, exports in seen.targets.items():
        found += _targets(rows, mine, seen, shard, exports)
    if seen.pointers is not None:
        found += _pointers(rows, mine, seen, seen.pointers)
    if seen.seeds is not None:
        found += _seeds(rows, mine, seen, seen.seeds)
    found += _owners(rows, mine, seen)
    staged, exported = seen.staging or frozenset(), seen.exports or frozenset()
    found += [
        Finding(kind, name, where, f"{what} of no operation that goes on", "bmid was killed at it", seen.head)
        for names, kind, where, what in (
            (staged, Kind.STAGING_LEFT, "staging", "a file"),
            (exported, Kind.EXPORT_LEFT, "exports", "half an export"),
        )
        for name in sorted(names - rows.unfinished)
    ]
    return tuple(found)


def _storage(rows: Promises, stored: Iterable[Stored], iqn_prefix: str) -> Iterator[Finding]:
    there: dict[str, set[str]] = {"image": set(), "disk": set(), "trash": set()}
    known = {*rows.images, *rows.disks}
    for thing in stored:
        there.setdefault(thing.kind, set()).add(thing.id)
        if thing.kind == "stranger" or (
            thing.kind in ("image", "disk") and thing.id not in known and not _ours(thing, iqn_prefix)
        ):
            what = f"{thing.id} is not ours"
            if thing.kind != "stranger":
                what = f"{thing.kind} {thing.id} has a name like ours, and nothing in it says that it is"
            yield Finding(Kind.STRANGER, thing.id, "storage", what, "somebody else uses this pool or folder")
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
            hint = "it lies in the storage's trash" if disk.id in there["trash"] else _HAND
            what = f"{disk.label} is not in the storage"
            yield _of(disk, Kind.DISK_MISSING, SHARED, "storage", what, hint)
    for identifier, key in rows.trash.items():
        if identifier not in there["trash"] and identifier not in known and key not in rows.at_work:
            what = f"{key.replace(':', ' ')}, which was removed and could be restored, is not in the trash"
            yield Finding(Kind.TRASH_MISSING, identifier, "storage", what, _HAND)
    for image in rows.images.values():
        if image.ready and image.id not in there["image"] and not rows.busy_image(image):
            hint = "it lies in the storage's trash" if image.id in there["trash"] else _HAND
            what = f"image {image.project}/{image.name} is not in the storage"
            yield Finding(Kind.IMAGE_MISSING, image.id, "storage", what, hint, project=image.project, name=image.name)


def _ours(thing: Stored, iqn_prefix: str) -> bool:
    """Whether it says so itself. A disk names its target, too, and with it the site."""
    site = f"{iqn_prefix}:{thing.id}"
    return thing.metadata.get("id") == thing.id and thing.metadata.get("iqn") in (None, site)


def _orphan(thing: Stored) -> Finding:
    kind = Kind.IMAGE_ORPHANED if thing.kind == "image" else Kind.DISK_ORPHANED
    facts = {key: str(value) for key, value in thing.metadata.items() if isinstance(value, str)}
    project, name = facts.get("project"), facts.get("image" if thing.kind == "image" else "name")
    what = f"{thing.kind} {project}/{name} has no row"
    details = {"metadata": json.dumps(dict(thing.metadata), default=str)}
    return Finding(
        kind, thing.id, "storage", what, _ROWLESS, node=facts.get("node"), project=project, name=name, details=details
    )


def _snapshots(rows: Promises, thing: Stored) -> Iterator[Finding]:
    disk = rows.disks[thing.id]
    for snapshot in thing.snapshots:
        if snapshot not in rows.unfinished and not rows.busy(disk):
            what = f"{disk.label} has a snapshot of no operation that goes on"
            details = {"snapshot": snapshot}
            yield _of(disk, Kind.SNAPSHOT_ORPHANED, SHARED, f"storage @{snapshot}", what, _ABANDONED, details)


def _rows(rows: Promises) -> Iterator[Finding]:
    """What the rows of things say of each other."""
    for node, identifier in rows.nodes.items():
        disk = rows.disks.get(identifier)
        if f"node:{node}" not in rows.at_work and (disk is None or disk.node != node):
            what = f"node {node} points at {disk.label if disk else 'a disk that has no row'}, which isn't mapped to it"
            yield Finding(Kind.NODE_ASTRAY, node, "database", what, _ROWLESS, node=node)
    for disk in rows.disks.values():
        mapped = disk.state == DiskState.MAPPED
        if rows.busy(disk) or disk.state == DiskState.PARKED or (mapped and rows.nodes.get(disk.node or "") == disk.id):
            continue
        what = f"{disk.label} is {disk.state}, and " + ("no node points at it" if mapped else "nobody is at work on it")
        yield _of(disk, Kind.DISK_UNFINISHED, SHARED, "database", what, _ABANDONED)
    for image in rows.images.values():
        if not image.ready and not rows.busy_image(image):
            what = f"image {image.project}/{image.name} is not ready, and nobody is at work on it"
            yield Finding(
                Kind.IMAGE_UNFINISHED, image.id, "database", what, _ABANDONED, project=image.project, name=image.name
            )


def _of(
    disk: PromisedDisk, kind: Kind, head: str, where: str, what: str, why: str, details: dict[str, str] | None = None
) -> Finding:
    return Finding(
        kind, disk.id, where, what, why, head, node=disk.node, project=disk.project, name=disk.name,
        details=details or {},
    )  # fmt: skip


def _targets(
    rows: Promises, mine: dict[str, PromisedDisk], seen: Sightings, shard: str, exports: Iterable[ExportStatus]
) -> Iterator[Finding]:
    standing = {one.number: one for one in exports}
    where = f"target {shard}"
    wanted = {one.number: one for one in mine.values() if one.shard == shard}
    for disk in wanted.values():
        if rows.busy(disk):
            continue
        export = standing.get(disk.number)
        if export is None or not export.open:
            what = f"{disk.label} of node {disk.node} has no open target"
            yield _of(disk, Kind.TARGET_MISSING, seen.head, where, what, _HAND)
        elif wrong := _wrong(disk, export, f"{seen.iqn_prefix}:{disk.id}"):
            what = f"the target of {disk.label} has {wrong}"
            yield _of(disk, Kind.TARGET_ASTRAY, seen.head, where, what, "somebody changed it by hand")
    for export in standing.values():
        identifier = export.iqn.removeprefix(f"{seen.iqn_prefix}:")
        if identifier == export.iqn:
            what = f"target {export.number}, {export.iqn}, is not ours"
            why = "somebody else uses this tgtd, or the setting target.iqn_prefix was changed"
            yield Finding(Kind.STRANGER, export.iqn, where, what, why, seen.head)
        elif export.number not in wanted:  # else whoever wants the number is told of, and gets it back
            details = {"shard": shard, "number": str(export.number)}
            yield from _left(rows, Kind.TARGET_ORPHANED, identifier, where, seen.head, details)


def _wrong(disk: PromisedDisk, export: ExportStatus, iqn: str) -> str:
    """What of it is not the disk's; empty where all is."""
    if export.iqn != iqn:
        return f"the name {export.iqn}"
    if disk.id not in export.backing:
        return f"the backing {export.backing}"
    if export.addresses != (disk.address,):
        return f"an entrance for {', '.join(export.addresses)}"
    if export.user != disk.id:
        return f"the account {export.user}"
    if (export.seed is not None) != disk.seeded or (export.seed and disk.id not in export.seed):
        return f"the seed {export.seed}" if export.seed else "no seed"
    return ""


def _left(
    rows: Promises, kind: Kind, identifier: str, where: str, head: str, details: dict[str, str]
) -> Iterator[Finding]:
    """Something here belongs to a disk that isn't here, or is nowhere. What is here of one that is half removed is its
    own: that one is told of as unfinished."""
    disk, what = rows.disks.get(identifier), _LEFT[kind]
    if disk is not None and (rows.busy(disk) or (disk.head == head and disk.state in _HALF)):
        return
    if disk is None:
        yield Finding(kind, identifier, where, f"{what} of disk {identifier}, which has no row", _ROWLESS, head,
                      details=details)  # fmt: skip
        return
    place = f"is at home at head {disk.head}, {disk.shard}" if disk.home(disk.head or "") else f"is {disk.state}"
    yield _of(disk, kind, head, where, f"{what} of {disk.label}, which {place}", _ABANDONED, details)


def _pointers(
    rows: Promises, mine: dict[str, PromisedDisk], seen: Sightings, pointers: Iterable[Pointer]
) -> Iterator[Finding]:
    standing = {one.address: one for one in pointers}
    for disk in mine.values():
        if rows.busy(disk):
            continue
        pointer = standing.get(disk.address or "")
        lost = f"node {disk.node} is led nowhere: boot pointer {disk.address} is "
        if pointer is None:
            yield _of(disk, Kind.POINTER_MISSING, seen.head, "boot", f"{lost}not there", _HAND)
        elif pointer.disk != disk.id:
            other = rows.disks.get(pointer.disk)
            what = f"node {disk.node} is led to {other.label if other else f'disk {pointer.disk}'}, not to {disk.label}"
            yield _of(disk, Kind.POINTER_ASTRAY, seen.head, "boot", what, "somebody changed it by hand")
        elif not pointer.complete or pointer.generation != disk.generation:
            yield _of(disk, Kind.POINTER_MISSING, seen.head, "boot", f"{lost}not whole", _HAND)
    addresses = {one.address for one in mine.values()}
    for pointer in standing.values():
        if pointer.address not in addresses:
            details = {"address": pointer.address}
            yield from _left(rows, Kind.POINTER_ORPHANED, pointer.disk, f"boot {pointer.address}", seen.head, details)


def _seeds(rows: Promises, mine: dict[str, PromisedDisk], seen: Sightings, seeds: frozenset[str]) -> Iterator[Finding]:
    for disk in mine.values():
        if disk.seeded and disk.id not in seeds and not rows.busy(disk):
            what = f"the seed of {disk.label} is not there"
            yield _of(disk, Kind.SEED_MISSING, seen.head, "seed", what, _HAND)
    for identifier in sorted(seeds):
        if identifier not in mine or not mine[identifier].seeded:
            yield from _left(rows, Kind.SEED_ORPHANED, identifier, "seed", seen.head, {})


def _owners(rows: Promises, mine: dict[str, PromisedDisk], seen: Sightings) -> Iterator[Finding]:
    for identifier, owner in (seen.owners or {}).items():
        disk = mine.get(identifier)
        if disk is not None and disk.owner and owner != disk.owner and not rows.busy(disk):
            who = f"by {owner}" if owner else "by nobody, or by several"
            what = f"{disk.label} is open {who}, and not by {disk.owner}, which was noted"
            yield _of(
                disk, Kind.OWNER_ASTRAY, seen.head, "storage", what, "a target was made by hand, or lost its client"
            )
