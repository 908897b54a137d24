"""Which faults happen when: everything follows from the seed, so that an order can be run again. Pure."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Fault", "care", "parts_of", "schedule"]

QUIET = 4.0  # seconds at the beginning, in which there is something to break

# What may happen to a part, and for how many seconds. A claim lasts 10 s and a head counts as dead after 20 s here, so
# that some freezes outlast the one, and some the other. A machine is a head with its tgtd; another one takes it over.
HARM: dict[str, dict[str, tuple[float, float]]] = {
    "head": {"kill": (0.3, 6), "freeze": (2, 25)},
    "broker": {"kill": (0.5, 6), "freeze": (2, 25)},
    "database": {"kill": (0.5, 5), "freeze": (2, 20)},
    "osd": {"kill": (0.5, 5), "freeze": (2, 30)},
    "tgtd": {"kill": (0.2, 4), "freeze": (2, 20)},
    "machine": {"kill": (10, 60), "freeze": (10, 60)},
    "road": {"cut": (0.1, 3), "hold": (2, 20), "slow": (5, 15)},
}
# What an operator does to a head of several, whatever is broken meanwhile: it is drained for so long and then filled
# again; or the address that it brought in is moved, to it or to another one. A seed that is older than these keeps its
# faults: they are drawn apart.
CARE: dict[str, tuple[float, float]] = {"drain": (5, 45), "move": (5, 20)}


@dataclass(frozen=True)
class Fault:
    """One fault: `kind` of harm to `part` ("head-a", "tgtd-a", "road-broker"), from `begin` to `end`, in seconds of
    the run."""

    begin: float
    end: float
    kind: str
    part: str

    @property
    def name(self) -> str:
        """What is counted: the harm and the sort of part."""
        return f"{self.kind} {sort_of(self.part)}"


def sort_of(part: str) -> str:
    """The sort of a part: of "head-a" it is "head". Roads are told apart by where they lead."""
    return part if part.startswith("road") else part.partition("-")[0]


def parts_of(heads: Sequence[str], *, ceph: bool, postgresql: bool) -> tuple[str, ...]:
    """All that can be broken in a site."""
    letters = [name.partition("-")[2] for name in heads]
    parts = ["broker", "road-broker", *heads, *(f"tgtd-{letter}" for letter in letters)]
    parts += [f"machine-{letter}" for letter in letters] if len(letters) > 1 else []
    parts += ["osd"] if ceph else []
    return (*parts, *(("database", "road-database") if postgresql else ()))


def care(seed: int, seconds: float, heads: Sequence[str]) -> tuple[Fault, ...]:
    """What operators do in a run with several heads, one thing after the other; all is over before it ends."""
    chance = random.Random(f"care {seed}")
    done: list[Fault] = []
    now = QUIET
    deck: list[tuple[str, str]] = []
    while len(heads) > 1 and now < seconds - 1:
        if not deck:
            deck = [(f"portal-{name.partition('-')[2]}", kind) for name in heads for kind in CARE]
            chance.shuffle(deck)
        part, kind = deck.pop()
        least, most = CARE[kind]
        begin = now + chance.uniform(1, 15)
        end = begin + least + (most - least) * chance.random()
        if end < seconds:
            done.append(Fault(round(begin, 2), round(end, 2), kind, part))
        now = end
    return tuple(done)


def schedule(seed: int, seconds: float, parts: Sequence[str]) -> tuple[Fault, ...]:
    """The faults of a run, by their begin; all have ended before it does. No part is harmed twice at a time."""
    chance = random.Random(f"faults {seed}")
    faults: list[Fault] = []
    busy: dict[str, float] = {}
    now = QUIET
    for part, kind in _deck(chance, parts):
        if now >= seconds - 1:
            break
        least, most = HARM[part.partition("-")[0]][kind]
        begin = max([now, *(busy.get(one, 0.0) + 0.5 for one in _touched(part))])
        # Short ones are more frequent: most of what can go wrong does so around the begin and the end.
        end = begin + least + (most - least) * chance.random() ** 2
        if end < seconds:
            faults.append(Fault(round(begin, 2), round(end, 2), kind, part))
            busy.update(dict.fromkeys(_touched(part), end))
        # Every third one is met by the next before it has ended.
        now = begin + (end - begin) * chance.random() if chance.random() < 0.33 else end + chance.uniform(0.5, 5)
    return tuple(sorted(faults, key=lambda one: one.begin))


def _touched(part: str) -> tuple[str, ...]:
    """What else can't be harmed meanwhile."""
    sort, _, letter = part.partition("-")
    if sort == "machine":
        return part, f"head-{letter}", f"tgtd-{letter}"
    return (part, f"machine-{letter}") if sort in ("head", "tgtd") else (part,)


def _deck(chance: random.Random, parts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Every harm to every part before any comes again, in an order that changes."""
    cards = [(part, kind) for part in parts for kind in HARM[part.partition("-")[0]]]
    while True:
        chance.shuffle(cards)
        yield from cards
