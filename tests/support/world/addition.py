"""What came to stories later: names and user data for new systems, and rarer commands. Drawn apart from the rest, so
that a seed which is older than this keeps its commands and faults.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from tests.support.world.event import Command, Fault

__all__ = ["SEED_MOMENTS", "named", "rare", "struck"]

NEW_SYSTEM = ("node.map", "node.rebuild")
SEED_MOMENTS = ("seeds.write", "seeds.remove")
HOSTS = ("web", "db")
USER_DATA = ("#cloud-config\npackages: [a]\n", "#!/bin/sh\necho b\n")


def named(chance: Random, commands: tuple[Command, ...]) -> tuple[Command, ...]:
    """Half of those that make a new system tell it who it is."""
    return tuple(_named(chance, one) if one.kind in NEW_SYSTEM else one for one in commands)


def _named(chance: Random, one: Command) -> Command:
    told = {"hostname": chance.choice(HOSTS), "user_data": chance.choice([None, *USER_DATA])}
    if chance.random() < 0.5 or one.data.get("disk") is not None:
        return one
    return replace(one, data=one.data | told)


def struck(chance: Random) -> tuple[Fault, ...]:
    """Now and then a head is struck while it writes a seed or removes one."""
    head, what = chance.choice(["h1", "h2"]), f"{chance.choice(['before', 'after'])} {chance.choice(SEED_MOMENTS)}"
    kind, seconds = chance.choice(["kill", "kill", "freeze", "error"]), chance.uniform(3.0, 80.0)
    value = chance.choice(["transient", "surprise", "permanent"])
    if chance.random() < 0.7:
        return ()
    return (Fault(kind, chance.choice(["", head]), nth=chance.randint(1, 3), seconds=seconds, value=value, what=what),)


def rare(chance: Random, span: float, *, restores: bool) -> tuple[Command, ...]:
    """A publisher of its own: what brings back, sets aside, exports and describes, and what expires. `restores`: the
    trash keeps what is in it."""
    times = sorted(chance.uniform(0, span) for _ in range(chance.randint(0, 6)))
    found = []
    for number, at in enumerate(times):
        kind, data = _rare(chance)
        expires = chance.choice([0.5, 10.0, 40.0])
        if kind.endswith(".restore") and not restores:
            continue
        kept = None if chance.random() < 0.7 else expires
        found.append(Command(at, f"r{number}", "dora", kind, data, expires=kept))
    return tuple(found)


def _rare(chance: Random) -> tuple[str, dict[str, Any]]:
    pick = chance.choice
    p, aside = {"project": pick(["p1", "p1", "p2"])}, {"action": pick(["on", "off", "off"]), "reason": "a fan"}
    image, disk, node = (
        {"image": pick(["i1", "i1", "i2", "i3"])},
        {"disk": pick(["d1", "d2"])},
        pick(["n1", "n2", "n3"]),
    )
    kinds: list[tuple[str, dict[str, Any]]] = [
        ("node.maintenance", {"node": node, **aside}),
        ("image.maintenance", p | {"image": pick(["i2", "i3"]), **aside}),
        ("image.export", p | image | {"to": {"file": pick(["e1", "e2"])}}),
        ("image.update", p | image | {"default_for": {"os": "a"}, "no_default": False}),
        ("image.restore", p | image | {"name": pick([None, "i4"])}),
        ("disk.restore", p | disk | {"name": None}),
        ("disk.restore", p | disk | {"name": None}),
        ("node.map", p | {"node": node, "image": "p1/i1", "power": None}),
        ("node.unmap", p | {"node": node, "force": True, "disk": pick(["discard", "park"])}),
    ]
    return pick(kinds)
