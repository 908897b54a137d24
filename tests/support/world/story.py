"""Stories: what is asked of a world and what befalls it, all drawn from one seed. Each event can be left out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from tests.support.world.addition import SEED_MOMENTS, named, rare, struck
from tests.support.world.event import Command, Fault

__all__ = ["Command", "Fault", "Story"]

LONG, SHORT = 60.0, 31.0  # seconds of silence after which a head is taken for dead
SPAN = 60.0  # seconds within which commands come
AFTERMATH = 60.0  # seconds in which things go on being wrong, where a head may be taken for dead
PUBLISHERS = ("alice", "bob", "carol")
NODES = ("n1", "n2", "n3", "n4")
BMCS = ("n1", "n2", "n3")
_MOMENTS = (
    "isolation.allows", "storage.clone", "storage.fence", "storage.owner", "storage.discard", "storage.describe",
    "storage.freeze", "storage.duplicate", "storage.cut_off", "storage.seal_image", "storage.remove_image",
    "storage.clone_image", "target.create", "target.admit", "target.remove", "target.status",
    "boot.point", "boot.clear", "power.request", "power.state", "imaging.copy", "imaging.poll", "commit", "publish",
    "acknowledge",
)  # fmt: skip
MOMENTS = (*_MOMENTS, *SEED_MOMENTS)


@dataclass(frozen=True)
class Story:
    """One seed's commands and faults. A head that is silent for `dead_after` seconds has its disks taken over. `cared`:
    bmid looks again and again whether all is right, clears what is left, empties a trash that is kept for a moment, and
    sets nodes aside; in the other ones nothing is mended that was not to be wrong at all."""

    seed: int
    commands: tuple[Command, ...]
    faults: tuple[Fault, ...] = field(default=())
    dead_after: float = LONG
    cared: bool = False

    @property
    def span(self) -> float:
        """Seconds until nothing goes wrong any more."""
        return SPAN + AFTERMATH if self.dead_after < LONG else SPAN

    @property
    def events(self) -> list[Command | Fault]:
        """All that could be left out."""
        return [*self.faults, *self.commands]

    def without(self, *gone: Command | Fault) -> Story:
        """The same with less in it."""
        return replace(
            self,
            commands=tuple(one for one in self.commands if one not in gone),
            faults=tuple(one for one in self.faults if one not in gone),
        )

    def __str__(self) -> str:
        return "\n".join(str(one) for one in [*self.commands, *self.faults])

    @classmethod
    def of(cls, seed: int, commands: int = 16, faults: int = 7) -> Story:
        """Drawn from the seed."""
        chance = Random(seed)  # noqa: S311
        sent = _commands(chance, chance.randint(max(1, commands - 8), commands + 8))
        drawn = [_fault(chance) for _ in range(chance.randint(0, 2 * faults))]
        later = Random(f"later {seed}")  # noqa: S311
        sent = named(later, sent)
        drawn += struck(later)
        cared = later.random() < 0.5
        sent += rare(later, SPAN, restores=not cared)
        if chance.random() < 0.5:
            return cls(seed, sent, tuple(drawn), cared=cared)
        drawn += [_departure(chance) for _ in range(chance.randint(1, 3))]
        if chance.random() < 0.3:
            drawn.append(Fault("off", chance.choice(["h1", "h2"]), at=chance.uniform(5, SPAN)))
        return cls(seed, sent, tuple(drawn), SHORT, cared)


def _commands(chance: Random, number: int) -> tuple[Command, ...]:
    """A publisher's messages arrive in the order it sent them; those of different ones in any."""
    times = sorted(chance.uniform(0, SPAN) for _ in range(number))
    free: dict[str, float] = {}
    found = []
    for index, sent in enumerate(times):
        user = chance.choice(PUBLISHERS)
        free[user] = at = max(sent + chance.choice([0, 0, 1, 15]) * chance.random(), free.get(user, 0))
        twice = at + chance.choice([0.0, 5.0, 60.0]) * chance.random() if chance.random() < 0.25 else None
        kind, data = _command(chance)
        found.append(Command(at, f"c{index}", user, kind, data, twice))
    return tuple(found)


def _command(chance: Random) -> tuple[str, dict[str, Any]]:
    pick = chance.choice
    p = {"project": pick(["p1", "p1", "p2"])}
    node, image, yes = {"node": pick(NODES)}, pick(["p1/i1", "p1/i1", "p2/i1", "p1/i2"]), pick([True, False])
    power, disk = pick([None, None, "none"]), pick(["d1", "d2"])
    kinds: list[tuple[int, str, dict[str, Any]]] = [
        (12, "node.map", p | node | {"image": image, "power": power}),
        (2, "node.map", p | node | {"disk": disk, "power": power}),
        (7, "node.unmap", p | node | {"force": yes, "disk": pick(["discard", "discard", "park"])}),
        (3, "node.rebuild", p | node | {"image": pick([None, image]), "force": yes}),
        (2, "node.snapshot", p | node | {"image": pick(["i2", "i3"]), "crash_consistent": True}),
        (2, "node.power", p | node | {"action": pick(["on", "off", "cycle"])}),
        (2, "disk.create", p | {"disk": disk, "image": image}),
        (1, "disk.remove", p | {"disk": disk}),
        (1, "disk.snapshot", p | {"disk": disk, "image": pick(["i2", "i3"])}),
        (1, "image.import", p | {"image": "i2", "source": {"file": "debian.raw"}}),
        (1, "image.copy", p | {"image": image, "to": "i3", "to_project": None, "flatten": yes}),
        (1, "image.remove", p | {"image": pick(["i1", "i2", "i3"])}),
        (1, "node.remove", node),
        (1, "project.create", p),
        (1, "project.remove", p),
    ]
    _, kind, data = chance.choices(kinds, [weight for weight, *_ in kinds])[0]
    return kind, data


def _departure(chance: Random) -> Fault:
    """One head's disks go to the other one."""
    head, at = chance.choice(["h1", "h2"]), chance.uniform(5, 2 * SPAN)
    kinds = [
        (3, Fault("stop", head, at=at, seconds=chance.uniform(20, 120))),
        (2, Fault("freeze", head, at=at, seconds=chance.uniform(35, 120))),
        (2, Fault("kill", head, at=at, seconds=chance.uniform(35, 120))),
        (3, Fault("drain", head, at=at, seconds=chance.uniform(1, 60))),
        (2, Fault("move", head, at=at, value=chance.choice(["10.77.0.1", "10.77.0.2"]))),
    ]
    return chance.choices([one for _, one in kinds], [weight for weight, _ in kinds])[0]


def _fault(chance: Random) -> Fault:
    head, at, nth = chance.choice(["h1", "h2"]), chance.uniform(0, SPAN), chance.randint(1, 150)
    seconds = chance.choice([3.0, 20.0, 45.0, 90.0]) * chance.uniform(0.5, 1.0)
    error = chance.choice(["transient", "surprise", "permanent", "lost"])
    kinds = [
        (5, Fault("kill", head, nth=nth, seconds=seconds)),
        (5, Fault("freeze", head, nth=nth, seconds=seconds)),
        (4, Fault("error", head, nth=nth, value=error)),
        (2, Fault("slow", head, nth=nth, seconds=seconds)),
        (1, Fault("freeze", head, at=at, seconds=seconds)),
        (1, Fault("kill", head, at=at, seconds=seconds)),
        (1, Fault("tgtd", head, at=at, value=chance.choice(["0", "1"]))),
        (1, Fault("shard", head, at=at, seconds=seconds, value=chance.choice(["0", "1"]))),
        (1, Fault("bmc", chance.choice(BMCS), at=at, seconds=seconds, value=chance.choice(["dead", "lies"]))),
        (1, Fault("database", head, at=at, seconds=seconds)),
        (1, Fault("broker", "", at=at, seconds=seconds)),
        (1, Fault("confirm", "", at=at, value=str(chance.randint(1, 3)))),
        (1, Fault("clock", "", at=at, seconds=chance.choice([-3600.0, -40.0, 40.0, 3600.0]))),
    ]
    found = chance.choices([one for _, one in kinds], [weight for weight, _ in kinds])[0]
    if found.nth < 0 or chance.random() < 0.3:
        return found
    when, of = chance.choice(["before", "after"]), chance.choice(_MOMENTS)
    if when == "before" and of.startswith("storage.") and found.seconds > 20:
        when = "within"  # who stands still there is past his look at the claims
    what = f"{when} {of}"
    return replace(found, where="", nth=chance.randint(1, 40 if "commit" in what else 4), what=what)
