"""Rows against what is local to a head: targets, boot pointers, seeds, and who has its disks open. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bmid.drivers.base import ExportStatus, Pointer
from bmid.model.entity import DiskState
from bmid.model.finding import ABANDONED, BY_HAND, ROWLESS, Finding, Kind
from bmid.model.promise import PromisedDisk, Promises
from bmid.steps.sighting import Sightings

__all__ = ["audit_head"]

_HALF = (DiskState.MAKING, DiskState.REMOVING)
_LEFT = {Kind.TARGET_ORPHANED: "a target", Kind.POINTER_ORPHANED: "a boot pointer", Kind.SEED_ORPHANED: "a seed"}


def audit_head(rows: Promises, seen: Sightings) -> Iterator[Finding]:
    """All findings about the parts of a head that were looked at."""
    mine = {one.id: one for one in rows.disks.values() if one.home(seen.head)}
    for shard, exports in seen.targets.items():
        yield from _targets(rows, mine, seen, shard, exports)
    if seen.pointers is not None:
        yield from _pointers(rows, mine, seen, seen.pointers)
    if seen.seeds is not None:
        yield from _seeds(rows, mine, seen, seen.seeds)
    yield from _owners(rows, mine, seen)


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
            yield disk.finding(Kind.TARGET_MISSING, where, what, BY_HAND, seen.head)
        elif wrong := _wrong(disk, export, f"{seen.iqn_prefix}:{disk.id}"):
            what = f"the target of {disk.label} has {wrong}"
            yield disk.finding(Kind.TARGET_ASTRAY, where, what, "somebody changed it by hand", seen.head)
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
        yield Finding(kind, identifier, where, f"{what} of disk {identifier}, which has no row", ROWLESS, head,
                      details=details)  # fmt: skip
        return
    place = f"is at home at head {disk.head}, {disk.shard}" if disk.home(disk.head or "") else f"is {disk.state}"
    yield disk.finding(kind, where, f"{what} of {disk.label}, which {place}", ABANDONED, head, details)


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
            yield disk.finding(Kind.POINTER_MISSING, "boot", f"{lost}not there", BY_HAND, seen.head)
        elif pointer.disk != disk.id:
            other = rows.disks.get(pointer.disk)
            what = f"node {disk.node} is led to {other.label if other else f'disk {pointer.disk}'}, not to {disk.label}"
            yield disk.finding(Kind.POINTER_ASTRAY, "boot", what, "somebody changed it by hand", seen.head)
        elif not pointer.complete or pointer.generation != disk.generation:
            yield disk.finding(Kind.POINTER_MISSING, "boot", f"{lost}not whole", BY_HAND, seen.head)
    addresses = {one.address for one in mine.values()}
    for pointer in standing.values():
        if pointer.address not in addresses:
            details = {"address": pointer.address}
            yield from _left(rows, Kind.POINTER_ORPHANED, pointer.disk, f"boot {pointer.address}", seen.head, details)


def _seeds(rows: Promises, mine: dict[str, PromisedDisk], seen: Sightings, seeds: frozenset[str]) -> Iterator[Finding]:
    for disk in mine.values():
        if disk.seeded and disk.id not in seeds and not rows.busy(disk):
            what = f"the seed of {disk.label} is not there"
            yield disk.finding(Kind.SEED_MISSING, "seed", what, BY_HAND, seen.head)
    for identifier in sorted(seeds):
        if identifier not in mine or not mine[identifier].seeded:
            yield from _left(rows, Kind.SEED_ORPHANED, identifier, "seed", seen.head, {})


def _owners(rows: Promises, mine: dict[str, PromisedDisk], seen: Sightings) -> Iterator[Finding]:
    for identifier, owner in (seen.owners or {}).items():
        disk = mine.get(identifier)
        if disk is not None and disk.owner and owner != disk.owner and not rows.busy(disk):
            who = f"by {owner}" if owner else "by nobody, or by several"
            what = f"{disk.label} is open {who}, and not by {disk.owner}, which was noted"
            yield disk.finding(
                Kind.OWNER_ASTRAY, "owner", what, "a target was made by hand, or lost its client", seen.head
            )
