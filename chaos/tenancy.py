"""Whose disk a node may be led to, and when, by the operations that put it there and took it away. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from bmid.handlers.map_node import MapNode
from bmid.handlers.rebuild_node import RebuildNode
from bmid.handlers.unmap_node import UnmapNode
from chaos.sighting import GAP, Seen

__all__ = ["Row", "Tenancies"]

SLACK = 2.0  # seconds between a look and the transaction that it is held against, on a busy machine
FOR_EVER = float("inf")


class Row(Protocol):
    """An operation; those without a plan have done nothing."""

    type: str
    command: Mapping[str, Any]
    plan: Mapping[str, Any] | None
    phase: str
    accepted_at: datetime
    ended_at: datetime | None


@dataclass
class Stay:
    """A node may be led to a disk from one time to another."""

    project: str
    disk: str
    since: float
    until: float = FOR_EVER


class Tenancies:
    """By node, from the rows of all operations."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._stays: dict[str, list[Stay]] = defaultdict(list)
        planned = [row for row in rows if row.plan and (row.plan.get("memo") or {}).get("changed")]
        for row in sorted(planned, key=lambda one: one.accepted_at):
            self._begin(row)
        for row in sorted(planned, key=lambda one: one.accepted_at):
            self._end(row)

    def _begin(self, row: Row) -> None:
        if row.type not in (MapNode.type, RebuildNode.type) or not row.plan:
            return
        stay = Stay(row.command["project"], row.plan["memo"]["disk"], row.accepted_at.timestamp())
        if row.type == MapNode.type and row.phase == "failed" and row.ended_at:
            stay.until = row.ended_at.timestamp()  # the way back led from it
        self._stays[row.command["node"]].append(stay)

    def _end(self, row: Row) -> None:
        """Whoever takes a disk away ends the stay that had begun before."""
        memo = (row.plan or {}).get("memo") or {}
        gone = {UnmapNode.type: memo.get("disk"), RebuildNode.type: memo.get("old")}.get(row.type)
        if row.phase != "succeeded" or not row.ended_at:
            return
        mine = [one for one in self._stays[row.command.get("node", "")] if one.disk == gone]
        before = [one for one in mine if one.since <= row.accepted_at.timestamp()] or mine[:1]
        if before:
            before[-1].until = min(before[-1].until, row.ended_at.timestamp())

    def wrong(self, node: str, seen: Seen) -> str | None:
        """What is wrong with a sighting; None where the node might be led there, all the time."""
        mine = [one for one in self._stays[node] if one.disk == seen.disk]
        if _covered(seen, mine):
            return None
        told = f"node {node} was led to disk {seen.disk} by {seen.head}"
        if not mine:
            return f"{told}, which is not its own"
        later = [one for one in self._stays[node] if one.since <= seen.until < one.until and one.disk != seen.disk]
        owners = ", ".join(f"project {one.project} by then" for one in later) or "nobody by then"
        late = seen.until - max(one.until for one in mine)
        when = f"{late:.1f} s after it had left it" if late > 0 else "before it was mapped there"
        return f"{told} of project {mine[-1].project} {when}, and was with {owners}"


def _covered(seen: Seen, stays: Iterable[Stay]) -> bool:
    """Whether the node might be led there all the time; whoever comes back to a disk between two looks may be."""
    until = seen.since
    for one in sorted(stays, key=lambda each: each.since):
        if one.since - SLACK <= until and one.until + SLACK >= seen.since:
            until = max(until, one.until + SLACK + GAP)
    return seen.until <= until - GAP
