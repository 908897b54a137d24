"""A lab with two heads in network namespaces of their own, and systems that write to disks which the heads export.

Addresses really move here: by the lab's mover, which stands for keepalived. What is promised about it, tests say.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any

import pytest
import rados
import rbd

from bmid.care.roster import Roster
from bmid.handlers.import_image import ImageSource, ImportImage
from bmid.handlers.map_node import MapNode
from bmid.handlers.register_node import RegisterNode
from bmid.handlers.unmap_node import UnmapNode
from bmid.model.chap import chap_secret
from bmid.model.entity import Disk
from bmid.parts import make_database
from bmid.settings_file import load
from bmid.store import heads
from bmid.store.view import StoreView
from lab.head import Head
from lab.layout import Layout
from lab.network import run
from lab.process import wait_for
from tests.support.image import bios_disk
from tests.support.iscsi import Door
from tests.support.site import PROJECT, Tenant, standing
from tests.support.writer import Writer

__all__ = ["DEAD_AFTER", "Duo", "duo_of"]

DEAD_AFTER = 10.0
LAYOUT = Layout(nodes=0, heads=2, database="postgresql", local_disk_every=0)
SETTINGS: dict[str, dict[str, object]] = {"engine": {"dead_after": DEAD_AFTER, "claim_lease": 6.0}}


class Duo:
    """Heads head-a and head-b of a lab; nodes m1, m2, ... without power, in the namespace of the lab's nodes."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self.site = tenant.site
        self._numbers = count(1)
        config = load(self.site.bmid.config)
        self.database = make_database(config)
        self.roster = Roster(config)
        (self.site.bmid.imports / "small.raw").write_bytes(bios_disk(4 << 20))
        [result] = tenant.do(ImportImage(project=PROJECT, image="small", source=ImageSource(file="small.raw")))
        assert result.ok, result

    def head(self, name: str) -> Head:
        """The head of that name."""
        return next(head for head in self.site.heads if head.name == name)

    def start(self, name: str) -> None:
        """A head that was killed comes back, with a mover that begins by asking."""
        head = self.head(name)
        self.site.network.join(head.number)
        head.start()
        self.site.bmids[head.number].start(60)
        if head.mover:
            head.mover.start()

    def nodes(self, number: int) -> list[str]:
        """New nodes."""
        names = [f"m{next(self._numbers)}" for _ in range(number)]
        macs = {name: f"52:54:00:88:{int(name[1:]) >> 8:02x}:{int(name[1:]) & 255:02x}" for name in names}
        results = self.tenant.do(*(RegisterNode(node=name, macs=(macs[name],)) for name in names))
        assert all(result.ok for result in results), results
        return names

    def map(self, *names: str, alias: bool = True) -> None:
        """Map nodes, and give each of their addresses to the machine that they all live on, unless not `alias`."""
        results = self.tenant.do(*(MapNode(project=PROJECT, node=name, image="small") for name in names), timeout=300)
        assert all(result.ok for result in results), [result for result in results if not result.ok][:3]
        for disk in self.disks().values():
            if alias and disk.node in names:
                run("ip", "-n", self.site.network.namespace, "addr", "replace", f"{disk.address}/24", "dev", "br0")

    @contextmanager
    def only(self, head: str) -> Iterator[None]:
        """New disks come to this head alone; every address stays where it is."""
        others = [one.name for one in self.site.heads if one.name != head]
        self._drained(others, draining=True)
        yield
        self._drained(others, draining=False)

    def _drained(self, names: list[str], *, draining: bool) -> None:
        with self.database.write() as tx:
            for name in names:
                heads.drain(tx, name, draining=draining)

    def unmap(self) -> None:
        """No node is mapped any more."""
        mapped = [UnmapNode(project=PROJECT, node=name, force=True) for name in self.disks()]
        results = self.tenant.do(*mapped, timeout=300) if mapped else []
        assert all(result.ok for result in results), results

    def disks(self) -> dict[str, Disk]:
        """Node → its disk, as the row is."""
        with self.database.read() as tx:
            return {disk.node: disk for disk in StoreView(tx, DEAD_AFTER).disks() if disk.node}

    def homes(self) -> dict[str, str | None]:
        """Node → the head that exports its disk."""
        return {node: disk.head for node, disk in self.disks().items()}

    def writer(self, node: str, *, idle: bool = False) -> Writer:
        """The node's system."""
        disk, key = self.disks()[node], self.site.bmid.site_key.read_text().strip().encode()
        address, _, port = (disk.portal or "").rpartition(":")
        iqn = f"iqn.2026-11.org.example.bmi:{disk.id}"
        secret = chap_secret(key, disk.id, disk.generation)
        door = Door((address, int(port)), iqn, disk.id, secret, disk.address or "")
        return Writer(node, self.site.network.namespace, door, idle=idle)

    def until(self, condition: Callable[[], object], seconds: float, what: str) -> float:
        """Wait until the condition holds; how many seconds that took."""
        began = time.monotonic()
        wait_for(lambda: bool(condition()), seconds, what)
        return time.monotonic() - began

    def ready(self, head: str) -> bool:
        """Whether all portals are carried by this head, and ready."""
        return all(row["head"] == head and row["ready"] for row in self.roster.portals())

    def at_home(self) -> bool:
        """Whether each head carries its own portals."""
        rows = self.roster.portals()
        return all(row["head"] == row["native"] and row["ready"] and not row["bound_for"] for row in rows)

    def addresses(self, head: str) -> set[str]:
        """What is on the head's interface."""
        place = self.site.network.addresses.heads[self.head(head).number]
        text = run("ip", "-n", str(place.namespace), "-4", "-o", "addr", "show", "dev", place.interface)
        return {line.split()[3].partition("/")[0] for line in text.splitlines()}

    def targets(self, head: str) -> int:
        """How many targets its tgtd has."""
        return sum(one.tgtadm("--mode", "target", "--op", "show").count("Target ") for one in self.head(head).tgtds)

    def go_home(self) -> None:
        """Every address is where it came from, and no head is being drained."""
        for name in ("head-a", "head-b"):
            self.roster.undrain(name)
        for row in self.roster.portals():
            self.roster.move(row["portal"].partition(":")[0], row["native"])
        self.until(self.at_home, 60, "addresses at home")

    @contextmanager
    def _pool(self) -> Iterator[Any]:
        conf = str(self.site.ceph.conf)
        with rados.Rados(conffile=conf, rados_id="bmi") as cluster, cluster.open_ioctx("bmi") as pool:
            yield pool

    def open_to(self) -> dict[str, list[str]]:
        """Disk → the clients of Ceph that have it open."""
        found: dict[str, list[str]] = {}
        with self._pool() as pool:
            for disk in self.disks().values():
                with rbd.Image(pool, f"disk-{disk.id}", read_only=True) as image:
                    found[disk.id] = [one["addr"] for one in image.watchers_list()]
        return found

    def wrong(self, *writers: Writer) -> list[str]:
        """What is on the disks, by librbd, and isn't what the writers were told."""
        disks, found = self.disks(), list[str]()
        with self._pool() as pool:
            for one in writers:
                with rbd.Image(pool, f"disk-{disks[one.name].id}", read_only=True) as image:
                    found += one.wrong(partial(_read, image))
            return found


def _read(image: Any, offset: int, length: int) -> bytes:
    return bytes(image.read(offset, length))


@contextmanager
def duo_of(request: pytest.FixtureRequest, **more: dict[str, object]) -> Iterator[Duo]:
    """Both heads, running; `more` settings."""
    with standing(LAYOUT, request, {**SETTINGS, **more}) as tenant:
        yield Duo(tenant)
