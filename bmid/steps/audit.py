"""Rows against sightings: what was promised and isn't there, what is there and nobody knows, what leads astray.

Pure, and the same for the reconciling daemon, for `bmid fsck` and for tests. The storage and what is local to
a head have modules of their own; here they meet what rows say of each other, and files.
"""

from __future__ import annotations

from collections.abc import Iterator

from bmid.model.entity import DiskState
from bmid.model.finding import ABANDONED, ROWLESS, Finding, Kind
from bmid.model.promise import Promises
from bmid.steps.audit_head import audit_head
from bmid.steps.audit_storage import audit_storage
from bmid.steps.sighting import Sightings

__all__ = ["compare", "compare_both"]


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
        found += audit_storage(rows, seen.stored, seen.iqn_prefix)
    if "database" in seen.seen:
        found += [*_rows(rows), *rows.ledger]
    found += audit_head(rows, seen)
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


def _rows(rows: Promises) -> Iterator[Finding]:
    """What the rows of things say of each other."""
    for node, identifier in rows.nodes.items():
        disk = rows.disks.get(identifier)
        if f"node:{node}" not in rows.at_work and (disk is None or disk.node != node):
            what = f"node {node} points at {disk.label if disk else 'a disk that has no row'}, which isn't mapped to it"
            yield Finding(Kind.NODE_ASTRAY, node, "database", what, ROWLESS, node=node)
    for disk in rows.disks.values():
        mapped = disk.state == DiskState.MAPPED
        if rows.busy(disk) or disk.state == DiskState.PARKED or (mapped and rows.nodes.get(disk.node or "") == disk.id):
            continue
        what = f"{disk.label} is {disk.state}, and " + ("no node points at it" if mapped else "nobody is at work on it")
        yield disk.finding(Kind.DISK_UNFINISHED, "database", what, ABANDONED)
    for image in rows.images.values():
        if not image.ready and not rows.busy_image(image):
            what = f"image {image.project}/{image.name} is not ready, and nobody is at work on it"
            yield Finding(
                Kind.IMAGE_UNFINISHED, image.id, "database", what, ABANDONED, project=image.project, name=image.name
            )
