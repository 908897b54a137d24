"""Which portals pass to which head: pure choices, rows in, moves out.

All portals of one address are carried by one head, and move together. A head that is dead loses its addresses; so
does one that they are bound away from, as soon as nobody answers there any more. One that was stopped in order keeps
them: its targets are still at work.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bmid.model.entity import Portal

__all__ = ["GRACE", "Carrier", "Move", "bereft", "carries", "choose_carrier", "due", "grouped", "stalled"]

GRACE = 5.0  # seconds in which a dead head's machine, if it runs, can still give its addresses back by itself


class Carrier(Protocol):
    """A head as it last said of itself; `age` in seconds, `shards` by name."""

    @property
    def name(self) -> str: ...
    @property
    def age(self) -> float: ...
    @property
    def draining(self) -> bool: ...
    @property
    def stopped(self) -> bool: ...
    @property
    def shards(self) -> Mapping[str, str]: ...


@dataclass(frozen=True)
class Move:
    """An address that is to be moved now: with these portals, from its carrier, which is `dead` or not."""

    address: str
    portals: tuple[Portal, ...]
    origin: str
    to: str
    dead: bool


def grouped(portals: Sequence[Portal]) -> dict[tuple[str, str], tuple[Portal, ...]]:
    """Portals by address and carrier."""
    found: dict[tuple[str, str], tuple[Portal, ...]] = {}
    for one in portals:
        key = (one.address, one.head)
        found[key] = (*found.get(key, ()), one)
    return found


def choose_carrier(
    portals: Sequence[Portal], heads: Sequence[Carrier], loads: Mapping[str, int], dead_after: float
) -> str | None:
    """The living head that isn't being drained, with the fewest disks, that has the shards of these portals."""
    shards = {one.shard for one in portals}
    fit = [
        one
        for one in heads
        if _alive(one, dead_after) and not one.draining and one.name != portals[0].head and shards <= set(one.shards)
    ]
    return min(fit, key=lambda one: (loads.get(one.name, 0), one.name)).name if fit else None


def due(
    portals: Sequence[Portal],
    heads: Sequence[Carrier],
    loads: Mapping[str, int],
    dead_after: float,
    silent: Collection[str] | None = None,
) -> tuple[list[Move], list[str]]:
    """What is to be moved now, and the addresses that should be but nobody can take. `silent`: only these heads may be
    dead; None: any."""
    known = {one.name: one for one in heads}
    moves, orphans, more = [], [], dict(loads)
    for (address, origin), group in grouped(portals).items():
        carrier = known.get(origin)
        dead = carrier is not None and (silent is None or origin in silent) and _dead(carrier, dead_after)
        gone = dead and carrier is not None and _dead(carrier, dead_after + GRACE)
        bound = group[0].bound_for
        if not (dead or bound) or not (gone or all(one.withdrawn_at for one in group)):
            continue
        wished = known.get(bound or "")
        usable = wished is not None and wished.name != origin and _alive(wished, dead_after)
        to = bound if usable else choose_carrier(group, heads, more, dead_after)
        if to is None:
            orphans.append(address)
            continue
        more[to] = more.get(to, 0) + more.get(origin, 0)
        moves.append(Move(address, group, origin, to, dead))
    return moves, orphans


def carries(portals: Sequence[Portal], address: str, head: Carrier | None, dead_after: float) -> bool:
    """Whether a head is to have an address now. One that was stopped in order keeps what it has."""
    mine = [one for one in portals if one.address == address and head is not None and one.head == head.name]
    if head is None or not mine:
        return False
    return not _dead(head, dead_after) and all(one.ready and one.bound_for is None for one in mine)


def stalled(
    portals: Sequence[Portal], heads: Sequence[Carrier], going: Collection[str], dead_after: float
) -> list[str]:
    """Addresses whose carrier waits for exports that nobody makes: what made them was given up. `going`: addresses
    whose disks are being exported."""
    living = {one.name for one in heads if _alive(one, dead_after)}
    return sorted({one.address for one in portals if not one.ready and one.head in living} - {*going})


def bereft(
    portals: Sequence[Portal], heads: Sequence[Carrier], silent: Collection[str], dead_after: float
) -> list[str]:
    """Heads without an address whose operations nobody carries out any more, unless somebody else does."""
    carriers = {one.head for one in portals}
    return [
        one.name
        for one in heads
        if one.name not in carriers
        and (one.draining if one.stopped else one.name in silent and _dead(one, dead_after + GRACE))
    ]


def _dead(head: Carrier, dead_after: float) -> bool:
    return not head.stopped and head.age >= dead_after


def _alive(head: Carrier, dead_after: float) -> bool:
    return not head.stopped and head.age < dead_after
