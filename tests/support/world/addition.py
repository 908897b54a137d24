"""What came to stories later: names and user data for new systems. Drawn apart from the rest, so that a seed which is
older than this keeps its commands and faults.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from tests.support.world.event import Command, Fault

__all__ = ["SEED_MOMENTS", "named", "struck"]

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
