"""A node: power that a BMC or nobody switches, a boot pointer that it follows, and a system that writes and verifies.

It does what it wants with its disk for as long as it is let: a system that was unmapped by force goes on until its
disk is cut off.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bmid.drivers.boot.script import read_pointer
from chaos.initiator import Broken, Initiator, Stalled
from chaos.ledger import BLOCK, BLOCKS, SECTOR, Ledger, offset
from chaos.road import Road, Roads
from chaos.sighting import Sightings
from lab.node import BootDevice

__all__ = ["Machine", "Place", "Way"]

PATIENCE = 6.0  # seconds without an answer, after which it looks whether its disk is still its own


@dataclass(frozen=True)
class Place:
    """Where a head keeps its boot scripts and host entries."""

    head: str
    tftp: Path
    hosts: Path


@dataclass(frozen=True)
class Way:
    """What a boot script says: the disk, and how to log in."""

    disk: str
    generation: int
    address: str
    iqn: str
    user: str
    secret: str
    portal: str

    def url(self, port: int) -> str:
        """The target behind a road's port."""
        return f"iscsi://{self.user}%{self.secret}@127.0.0.1:{port}/{self.iqn}/1"


class Machine:
    """One node. With a BMC it is off at first, without one it is always on. `reach` says where a portal really is."""

    def __init__(
        self,
        name: str,
        mac: str,
        folder: Path,
        places: tuple[Place, ...],
        roads: Roads,
        ledger: Ledger,
        reach: Callable[[str], tuple[str, int] | None],
        seed: int,
        bmc: bool,
        sightings: Sightings,
    ) -> None:
        self.name = name
        self.mac = mac
        self.bmc = bmc
        self.boot_once: BootDevice | None = None
        self.alive = not bmc
        self.sightings = sightings
        self.longest_stall = 0.0
        self.writes = 0  # that it was told are on disk
        self.troubles: list[str] = []
        self._folder = folder
        self._places = places
        self._roads = roads
        self._ledger = ledger
        self._reach = reach
        self._chance = random.Random(f"{name} {seed}")
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._initiator: Initiator | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._boots = 0
        self._used: tuple[str, Road] | None = None  # portal, and the road there

    def start(self) -> None:
        """Begin."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._thread.start()

    def stop(self) -> None:
        """End it, in the middle of whatever it does."""
        self._ended.set()
        with self._lock:
            if self._initiator:
                self._initiator.kill()
        if self._thread.is_alive():
            self._thread.join(30)

    def moved(self, address: str) -> None:
        """An address is somewhere else now: connections to it are at their end."""
        used = self._used
        if used and used[0].rpartition(":")[0] == address:
            used[1].sever()

    # What the BMC does.

    def power_on(self) -> None:
        """On, if it is off."""
        self.alive = True

    def power_off(self) -> None:
        """The plug is pulled."""
        with self._lock:
            self.alive = False
            self._boots += 1
            if self._initiator:
                self._initiator.kill()

    def reset(self) -> None:
        """Off and on."""
        self.power_off()
        self.power_on()

    def press_button(self) -> None:
        """Its system obeys at once."""
        self.power_off()

    # What it does by itself.

    def _run(self) -> None:
        while not self._ended.is_set():
            way = self._look() if self.alive else None
            if way is None:
                self._ended.wait(0.5)
                continue
            road = self._roads.road(lambda portal=way.portal: self._reach(portal), way.address)  # type: ignore[misc]
            self._used = way.portal, road
            try:
                self._boot(way, road)
            except (Broken, Stalled) as error:
                self.troubles.append(f"{self.name}: {way.disk}: {error}")
                self._ended.wait(self._chance.uniform(0.3, 1.5))
            finally:
                with self._lock:
                    initiator, self._initiator = self._initiator, None
                if initiator:
                    initiator.close()
                self._used = None
                self._roads.drop(road)

    def _boot(self, way: Way, road: Road) -> None:
        """Log in and work, until the power goes or the disk is cut off."""
        boots = self._boots
        initiator = Initiator(self._folder, way.url(road.port))
        with self._lock:
            self._initiator = initiator
            if not self.alive or self._ended.is_set():
                return
        initiator.open(30)
        while not self._ended.is_set() and boots == self._boots:
            for _ in range(self._chance.randrange(1, 4)):
                self._write(initiator, way, boots)
            for _ in range(self._chance.randrange(1, 4)):
                self._verify(initiator, way)
            self._ended.wait(self._chance.uniform(0.5, 3.0))

    def _write(self, initiator: Initiator, way: Way, boots: int) -> None:
        block = self._chance.randrange(BLOCKS)
        number, data = self._ledger.begin(way.disk, block, way.generation, self.name)
        began = time.monotonic()
        try:
            initiator.write(offset(block), data, PATIENCE)
        except Stalled:
            while True:
                self._require(way, boots)
                with suppress(Stalled):
                    initiator.resume(BLOCK, PATIENCE)
                    break
        self.longest_stall = max(self.longest_stall, time.monotonic() - began)
        self._ledger.told(way.disk, block, number, way.generation, self.name)
        self.writes += 1

    def _require(self, way: Way, boots: int) -> None:
        """Broken, unless the disk is still what this node is led to: a system without its disk is dead."""
        if self._ended.is_set() or boots != self._boots or self._look() != way:
            raise Broken("the disk is not this node's any more")

    def _verify(self, initiator: Initiator, way: Way) -> None:
        written = self._ledger.written(way.disk)
        block = self._chance.choice(written) if written and self._chance.random() < 0.8 else self._random()
        found = initiator.read(offset(block), SECTOR, 30)
        self._ledger.check(way.disk, block, found, self.name)

    def _random(self) -> int:
        return self._chance.randrange(BLOCKS)

    def _look(self) -> Way | None:
        """Its boot script, found by its MAC as DHCP and TFTP would. The newest, where heads differ."""
        found: list[Way] = []
        for place in self._places:
            at = self.sightings.now()
            if way := self._read(place):
                self.sightings.note(place.head, way.disk, way.portal, at)
                found.append(way)
        return max(found, key=lambda way: way.generation, default=None)

    @property
    def led(self) -> bool:
        """Whether it is on, and its boot script leads it to a disk: then it is to write."""
        return self.alive and self._look() is not None

    def _read(self, place: Place) -> Way | None:
        try:
            for entry in place.hosts.iterdir():
                if not entry.name.startswith(".") and self.mac in entry.read_text():
                    return parse((place.tftp / entry.name / "boot.ipxe").read_text())
        except OSError:
            return None
        return None


def parse(script: str) -> Way | None:
    """A boot script; None for the one that waits."""
    pointer = read_pointer(script)
    if pointer is None:
        return None
    lines = [line.split() for line in script.splitlines()]
    said = {line[1]: line[2] for line in lines if len(line) == 3 and line[0] == "set"}
    target = next(line[1] for line in lines if line and line[0] == "sanboot")
    _, portal, _, port, _ = target.split(":", 4)
    return Way(
        disk=pointer.disk,
        generation=pointer.generation,
        address=pointer.address,
        iqn=pointer.iqn,
        user=said["username"],
        secret=said["password"],
        portal=f"{portal}:{port}",
    )
