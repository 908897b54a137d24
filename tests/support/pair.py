"""Two heads of one site, as processes on this machine: broker, database and pool are shared; tgtd, folders and daemon
are each one's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from bmid.care.roster import Roster
from bmid.handlers.unmap_node import UnmapNode
from bmid.settings_file import load
from bmid.store import heads as registered
from bmid.store import portals, schema
from lab.bmid import Bmid, Parts, Shard
from lab.process import free_port
from lab.tgtd import Tgtd
from tests.support.bmid import building
from tests.support.house import House

__all__ = ["Pair", "pair"]


class Pair:
    """Heads head-a and head-b. Whatever is asked of `a` is asked of the site: both hear the same queue."""

    def __init__(self, a: House, b: House) -> None:
        self.a = a
        self.b = b

    def house(self, head: str) -> House:
        """The head of that name."""
        return {"head-a": self.a, "head-b": self.b}[head]

    def start(self) -> None:
        """Start both, where they don't run."""
        for house in (self.a, self.b):
            if not house.bmid.process.alive():
                house.bmid.start(60)

    def rows(self) -> dict[str, Any]:
        """What `bmid heads` says, by head."""
        return {row["head"]: row for row in Roster(load(self.a.bmid.config)).list()}

    def drain(self, *names: str) -> None:
        """These heads are drained, the others take new maps; every address stays where it is."""
        with self.a.database.write() as tx:
            for name, address in (("head-a", "127.0.0.1"), ("head-b", "127.0.0.2")):
                registered.drain(tx, name, draining=name in names)
                portals.bind(tx, address, name, None)

    def role(self, name: str) -> str | None:
        """The head that has a role."""
        with self.a.database.read() as tx:
            rows = tx.execute(select(schema.claim).where(schema.claim.c.key == f"role:{name}"))
            held = [row.holder for row in rows if row.holder and row.expires_at > tx.now]
        return held[0].partition("/")[0] if held else None

    def homes(self) -> dict[str, str | None]:
        """Node → the head that is its disk's home."""
        return {disk.node or "": disk.head for disk in self.a.disks()}

    def targets(self, head: str) -> set[int]:
        """The numbers of the targets that stand in the tgtd of a head."""
        target = self.house(head).ports.target
        return {export.number for shard in target.shards for export in target.exports(shard)}


@contextmanager
def _second(first: House, stack: ExitStack) -> Iterator[House]:
    folder = first.folder / "b"
    folder.mkdir()
    # An address of its own: all portals of one address are with one head.
    tgtd = Tgtd(folder / "tgtd", "127.0.0.2", free_port("127.0.0.2"))
    stack.callback(tgtd.stop)
    tgtd.start()
    shards = (Shard("s0", tgtd.socket, tgtd.portal),)
    parts: Parts = replace(first.parts, shards=shards, tftp=folder / "tftp", hosts=folder / "hosts")
    house = House(folder, first.rabbitmq, parts, tgtd)
    house.bmid = Bmid(folder / "bmid", parts, "head-b")
    stack.callback(house.bmid.stop)
    stack.callback(house.close)
    house.bmid.configure()
    yield house


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Both of them, running."""
    for service in ("rabbitmq", "ceph", "postgresql"):  # what is asked for first ends last
        request.getfixturevalue(service)
    with building(tmp_path_factory.mktemp("pair"), request) as made, ExitStack() as stack:
        a = made.house(ceph=True, postgresql=True, start=False)
        a.parts = replace(a.parts, site_key=a.folder / "site.key", imports=a.folder / "imports")
        a.bmid = Bmid(a.folder / "bmid", a.parts)
        a.bmid.configure()
        both = Pair(a, stack.enter_context(_second(a, stack)))
        both.start()
        yield both


@pytest.fixture
def heads(pair: Pair) -> Pair:
    """Both heads run, none is drained, and no node is mapped."""
    pair.start()
    pair.drain()
    client = pair.a.client()
    mapped = [UnmapNode(project=disk.project, node=disk.node or "") for disk in pair.a.disks()]
    results = client.wait_all([client.ticket(command) for command in mapped], 60)
    assert all(result.ok for result in results), results
    return pair


@pytest.fixture(scope="module")
def image(pair: Pair) -> tuple[str, str]:
    """A project and its image."""
    project = pair.a.project()
    return project, pair.a.image(project)


@pytest.fixture(scope="module")
def nodes(pair: Pair) -> list[str]:
    """Nodes without power."""
    return [pair.a.node() for _ in range(24)]
