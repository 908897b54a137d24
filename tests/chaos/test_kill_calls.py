"""kill -9 of bmid at the driver calls of the commands that do most: before, within and after a call, on real parts.

Whatever it was in the middle of ends once after the next start, with the right bytes, and nothing else is left.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import select

from bmi_publish import Ticket
from bmid.care.roster import Roster
from bmid.handlers.copy_image import CopyImage
from bmid.handlers.import_image import ImageSource, ImportImage
from bmid.handlers.map_node import MapNode
from bmid.handlers.move_portal import PortalMoved
from bmid.handlers.rebuild_node import RebuildNode
from bmid.handlers.restore_export import ExportRestored, RestoreExport
from bmid.handlers.snapshot_node import SnapshotNode
from bmid.messages.base import Command, Event
from bmid.settings_file import load
from bmid.store import portals, schema
from tests.support.bmid import House, building
from tests.support.image import bios_disk
from tests.support.pair import Pair, pair
from tests.support.traffic import require_told, require_world
from tests.support.trap import WAYS, Trap

__all__ = ["pair"]
CONTENT = bios_disk()
Moment = tuple[int, str]


class Site:
    """A house whose bmid can be trapped, with a node on an image."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.trap = Trap(house.bmid)
        house.start()
        self.project = house.project()
        self.image = house.image(self.project, CONTENT)
        self.source: ImageSource = house.file(CONTENT)
        self.node: str = house.mapped(self.project, self.image)["node"]

    def command(self, kind: type[Command]) -> Command:
        """One of these; each makes an image, or a disk, of its own."""
        told = {"project": self.project}
        if kind is RebuildNode:
            return RebuildNode(**told, node=self.node, image=self.image)
        name = self.house.name("i")
        if kind is SnapshotNode:
            return SnapshotNode(**told, node=self.node, image=name, crash_consistent=True)
        if kind is CopyImage:
            return CopyImage(**told, image=self.image, to=name, flatten=True)
        return ImportImage(**told, image=name, source=self.source)

    def end(self, ticket: Ticket) -> None:
        """It is done, it was told once, and what it has made holds the bytes of the image."""
        [result] = self.house.client().wait_all([ticket], 60)
        assert result.ok, result.problem
        assert result.event is not None
        require_told(self.house, [ticket])
        require_world([self.house])
        if "size" in result.event.data:
            made = result.event.data["id"]
            assert self.house.ports.storage.read_image(made, 0, len(CONTENT)) == CONTENT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Site]:
    """One for all kills of a single head."""
    for service in ("rabbitmq", "ceph", "postgresql"):  # what is asked for first ends last
        request.getfixturevalue(service)
    with building(tmp_path_factory.mktemp("kills"), request) as made:
        yield Site(made.house(ceph=True, postgresql=True, start=False))


def some(calls: Sequence[str]) -> list[Moment]:
    """Three moments, spread over the calls, one of each way to be killed."""
    return [(len(calls) * (2 * number + 1) // 6, way) for number, way in enumerate(WAYS)]


def every(calls: Sequence[str]) -> list[Moment]:
    """All of them."""
    return list(itertools.product(range(len(calls)), WAYS))


def kill_at(site: Site, kind: type[Command], moments: Callable[[Sequence[str]], list[Moment]]) -> list[str]:
    """The command once undisturbed, and once for each moment; what was struck."""
    site.trap.set(kind.type)
    ticket = site.house.ticket(site.command(kind))
    site.house.client().publish(ticket)
    site.end(ticket)
    calls, struck = site.trap.seen, []
    for number, way in moments(calls):
        site.trap.set(kind.type, number, way)
        ticket = site.house.ticket(site.command(kind))
        site.house.client().publish(ticket)
        struck.append(f"{kind.type}: killed {way} {site.trap.sprung()} ({number + 1} of {len(calls)})")
        site.end(ticket)
    return struck


KINDS = [pytest.param(one, id=one.type) for one in (RebuildNode, SnapshotNode, CopyImage, ImportImage)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_that_was_killed_at_some_of_its_driver_calls_ends_once(
    site: Site, kind: type[Command], capsys: pytest.CaptureFixture[str]
) -> None:
    struck = kill_at(site, kind, some)
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(struck) + "\n")


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("kind", KINDS)
def test_a_command_that_was_killed_at_any_of_its_driver_calls_ends_once(site: Site, kind: type[Command]) -> None:
    assert kill_at(site, kind, every)


class Move:
    """Moves an address between two heads that can be trapped, with the disks of two nodes."""

    def __init__(self, heads: Pair) -> None:
        self.heads = heads
        self.traps = {}
        for house in (heads.a, heads.b):
            house.bmid.stop()
            self.traps[house.bmid.name] = Trap(house.bmid)
        heads.start()
        heads.drain("head-b")
        project = heads.a.project()
        image = heads.a.image(project, CONTENT)
        client = heads.a.client()
        maps = [client.ticket(MapNode(project=project, node=heads.a.node(), image=image)) for _ in range(2)]
        self.events = [result.event.data for result in client.wait_all(maps, 60) if result.event and result.ok]
        heads.drain()
        assert set(heads.homes().values()) == {"head-a"}
        self.roster = Roster(load(heads.a.bmid.config))
        self.address = str(self.events[0]["portal"]).partition(":")[0]
        self.carrier = "head-a"
        self.disks = len(heads.homes())
        self.moved = 0
        self.told = len(self._told(PortalMoved))  # by whoever used these heads before

    def go(self, number: int = -1, way: str = "before") -> str:
        """To the other head, which dies at that call of those that put the exports there; the call."""
        to = "head-b" if self.carrier == "head-a" else "head-a"
        self.traps[to].set(RestoreExport.type, number, way)
        self.roster.move(self.address, to)
        with self.heads.a.database.write() as tx:  # the loopback never goes away
            portals.withdraw(tx, self.address, self.carrier)
        struck = self.traps[to].sprung() if number >= 0 else ""
        self.heads.a.until(lambda: self._there(to), 60)
        self.carrier, self.moved = to, self.moved + 1
        require_told(self.heads.a, [])
        require_world([self.heads.a, self.heads.b])
        self._require_ends()
        return struck

    def _there(self, to: str) -> bool:
        rows = [row for row in self.roster.portals() if row["portal"].startswith(f"{self.address}:")]
        return all(row["head"] == to and row["ready"] for row in rows)

    def _require_ends(self) -> None:
        """Each move has told one end, and each of its exports has."""
        moves = self._told(PortalMoved)[self.told :]
        assert [(one["disks"], one["failed"]) for one in moves] == [(self.disks, 0)] * self.moved
        exports = [data["operation"] for data in self._told(ExportRestored)]
        with self.heads.a.database.read() as tx:
            members = tx.execute(select(schema.operation.c.type, schema.operation.c.ended_at)).all()
        assert len(exports) == len(set(exports)) == sum(row.type == RestoreExport.type for row in members)
        assert all(row.ended_at for row in members)

    def _told(self, kind: type[Event]) -> list[dict[str, Any]]:
        with self.heads.a.database.read() as tx:
            mine = select(schema.outbox.c.envelope).where(schema.outbox.c.type == kind.type)
            return [row.envelope["data"] for row in tx.execute(mine.order_by(schema.outbox.c.position))]


def killed_moves(heads: Pair, moments: Callable[[Sequence[str]], list[Moment]]) -> list[str]:
    """A move undisturbed, and one for each moment; what was struck."""
    move = Move(heads)
    move.go()
    calls = move.traps["head-b"].seen
    return [f"portal.move: killed {way} {move.go(number, way)} ({number + 1} of {len(calls)})"
            for number, way in moments(calls)]  # fmt: skip


def test_an_address_whose_new_carrier_was_killed_at_some_of_its_driver_calls_moves_once(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    struck = killed_moves(pair, some)
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(struck) + "\n")


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_an_address_whose_new_carrier_was_killed_at_any_of_its_driver_calls_moves_once(pair: Pair) -> None:
    assert killed_moves(pair, every)
