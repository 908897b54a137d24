"""The addresses of portals on their way between machines: each machine asks what `bmid head carries` asks, and adds or
removes them, as keepalived does at a site. And the operator, who drains heads and moves addresses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bmid.care.roster import Roster
from bmid.care.solitude import Solitude
from bmid.errors import Refused, TransientError
from tests.support.world.database import HeadDatabase

if TYPE_CHECKING:
    from tests.support.world.host import Host
    from tests.support.world.world import World

__all__ = ["Carriers", "Operator"]

EVERY, RARELY = 4.0, 12.0  # seconds between two looks, while things go wrong and after


class WorldRoster(Roster):
    """The real one, asked on a machine of the world; `name` is empty for one that has no head."""

    def __init__(self, world: World, name: str, away: Callable[[], bool], local: Callable[[str], bool]) -> None:
        self._database = HeadDatabase(world.engine, world.clock, world.stage, lambda _: None)
        self._database.away = away
        self._dead_after = world.story.dead_after
        self._away = None
        folder = world.staging.parent / f"state-{name}"
        folder.mkdir()
        self._solitude = Solitude(folder, self._dead_after / 2, lambda: world.stage.now, world.is_well)
        self._me = name
        self._local = local


class Carriers:
    """`at` says which machine answers at an address."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._here: dict[str, list[Host]] = {head.address: [head] for head in world.heads}  # the last has announced it
        self.rosters = {
            head.name: WorldRoster(
                world,
                head.name,
                lambda head=head: head.database.away(),
                lambda one, head=head: self.local(head, one),  # type: ignore[misc]
            )
            for head in world.heads
        }

    def local(self, head: Host, address: str) -> bool:
        """Whether the address is on an interface of this machine."""
        return head in self._here[address]

    def at(self, address: str) -> Host | None:
        """Who announced it last, if that one is up."""
        there = self._here.get(address) or [None]
        return there[-1] if there[-1] and there[-1].up else None

    def answers(self, head: Host) -> bool:
        """Whether the machine has any address at which nodes may ask it something."""
        return any(self.at(address) is head for address in self._here)

    def gone(self, head: Host) -> None:
        """The machine has lost its power, and with it its addresses."""
        for there in self._here.values():
            while head in there:
                there.remove(head)

    def ask(self, head: Host) -> None:
        """What runs beside bmid on a machine, and goes on when that is killed or stands still."""
        while True:
            for address in self._here:
                try:
                    self._look(head, address)
                except TransientError:
                    continue  # who can't know keeps what it has
            self._world.stage.pause(RARELY if self._world.fate.quiet else EVERY)

    def _look(self, head: Host, address: str) -> None:
        wanted, here = self.rosters[head.name].carries(address), self.local(head, address)
        if wanted and not here:
            self._here[address].append(head)
            self._world.stage.tell(f"{address} is at {head.name} now")
            self._world.witness.arrived(address, head)
        elif here and not wanted:
            self._here[address].remove(head)
            self._world.stage.tell(f"{head.name} gives {address} back")


class Operator:
    """A person at the command line, who tries again while the database is away."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._roster = WorldRoster(world, "", world.database.away, lambda _: False)

    def drain(self, head: Host) -> None:
        """`bmid head drain`; with `--gone` for a machine that has no power."""
        self._ask(lambda: self._roster.drain(head.name, gone=head.off))

    def undrain(self, head: Host) -> None:
        """`bmid head undrain`."""
        self._ask(lambda: self._roster.undrain(head.name))

    def move(self, address: str, head: Host) -> None:
        """`bmid head move`."""
        self._ask(lambda: self._roster.move(address, head.name))

    def _ask(self, what: Callable[[], object]) -> None:
        try:
            what()
        except Refused as error:
            self._world.stage.tell(f"the operator is told: {error}")
