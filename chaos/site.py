"""The parts of a site under chaos: private services on loopback, heads as processes, roads between them.

What is broken when is in `breaker`; who uses the site, in `publisher` and `machine`.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from bmi_publish import Client
from bmid.care.roster import Roster
from bmid.settings_file import load
from chaos.carrier import Carrier
from chaos.fleet import CREDENTIAL, SECRET, Fleet
from chaos.ledger import golden
from chaos.machine import Place
from chaos.operator import Operator
from chaos.road import Road, Roads
from lab.bmid import Bmid, Parts, Shard
from lab.ceph import Ceph
from lab.postgresql import PostgreSQL
from lab.process import LabError, free_port
from lab.rabbitmq import RabbitMQ
from lab.tgtd import Tgtd
from lab.together import side_by_side

__all__ = ["Form", "Head", "Site"]

LOOK = 30  # seconds from one look of bmid at whether all is right to the next


@dataclass(frozen=True)
class Form:
    """What a site consists of."""

    heads: int = 1
    ceph: bool = False
    postgresql: bool = False
    nodes: int = 40

    @property
    def names(self) -> tuple[str, ...]:
        """The heads."""
        return tuple(f"head-{letter}" for letter in "abcdefgh"[: self.heads])


@dataclass
class Head:
    """One head. `wanted`: it is to run; whatever ends by itself is started again, as systemd would."""

    bmid: Bmid
    tgtd: Tgtd
    wanted: bool = True
    tgtd_wanted: bool = True
    ended: int = 0

    @property
    def name(self) -> str:
        """Its name."""
        return self.bmid.name


class Site:
    """All of it below `folder`, from nothing to nothing."""

    def __init__(self, folder: Path, form: Form, seed: int) -> None:
        self.folder = folder.absolute()
        self.form = form
        self.rabbitmq = RabbitMQ(self.folder / "rabbitmq")
        self.ceph = Ceph(self.folder / "ceph")
        self.postgresql = PostgreSQL(self.folder / "postgresql")
        self.roads = Roads()
        self.heads: list[Head] = []
        places = [Place(name, self.folder / name / "tftp", self.folder / name / "hosts") for name in form.names]
        self.fleet = Fleet(self.folder / "nodes", form.nodes, seed, places, self.roads, self.reach, self.leads)
        self.to: dict[str, Road] = {}
        self._port = free_port("127.2.0.1")  # of all portals, each on an address of its own
        self._carrier: Carrier | None = None
        self.operator = Operator({}, {})
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)

    @property
    def imports(self) -> Path:
        """The import folder of all heads."""
        return self.folder / "imports"

    def start_services(self) -> None:
        """All that bmid needs, and the roads to it. Raises LabError."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.roads.start()
        services: dict[str, Callable[[], None]] = {"RabbitMQ": self.rabbitmq.start}
        if self.form.ceph:
            services["Ceph"] = self.ceph.start
        if self.form.postgresql:
            services["PostgreSQL"] = self.postgresql.start
        side_by_side(services)
        self.to["broker"] = self._road(self.rabbitmq.url())
        if self.form.postgresql:
            self.to["database"] = self._road(self.postgresql.url)
        self.heads = [self._head(number, name) for number, name in enumerate(self.form.names)]

    def start_heads(self) -> None:
        """One after the other: the first brings the schema up to date. Raises LabError."""
        for head in self.heads:
            head.tgtd.start()
            head.bmid.start(60)
        self._keeper.start()
        if len(self.heads) > 1:
            rosters = {head.name: Roster(load(head.bmid.config), self._has(head.name)) for head in self.heads}
            native = {head.name: head.tgtd.portal.partition(":")[0] for head in self.heads}
            self._carrier = Carrier(rosters, native, lambda address, _head: self.fleet.moved(address))
            self._carrier.start()
            self.operator = Operator({head.name: head.bmid.config for head in self.heads}, native)

    def client(self, user: str, source: str) -> Client:
        """A publisher, on the road that is cut and slowed."""
        return Client(self.on_road(self.rabbitmq.url(user), "broker"), source=source)

    def on_road(self, url: str, to: str) -> str:
        """The same address, by the road."""
        parts = urlsplit(url)
        user = parts.netloc.rpartition("@")[0]
        return urlunsplit(parts._replace(netloc=f"{user}@127.0.0.1:{self.to[to].port}"))

    def stop(self) -> None:
        """End all that was started, however far it had come. LabError, after the last, if something can't be ended."""
        self._ended.set()
        self.operator.stop()
        if self._keeper.is_alive():
            self._keeper.join(30)
        if self._carrier:
            self._carrier.stop()
        failed: list[str] = []
        for round_ in (self._users, self._services):
            try:
                side_by_side(round_())
            except LabError as error:
                failed.append(str(error))
        self.roads.stop()
        if failed:
            raise LabError("\n".join(failed))

    def _users(self) -> dict[str, Callable[[], None]]:
        return {"nodes": self.fleet.stop, **{head.name: head.bmid.kill for head in self.heads}}

    def _services(self) -> dict[str, Callable[[], None]]:
        ends: dict[str, Callable[[], None]] = {f"tgtd of {head.name}": head.tgtd.stop for head in self.heads}
        ends["BMC"] = self.fleet.stop_bmc
        if self.rabbitmq.folder.exists():
            ends["RabbitMQ"] = self._end_broker
        if self.ceph.folder.exists():
            ends["Ceph"] = self.ceph.stop
        if self.postgresql.folder.exists():
            ends["PostgreSQL"] = self.postgresql.stop
        return ends

    def _end_broker(self) -> None:
        self.rabbitmq.resume()
        self.rabbitmq.kill()

    def _road(self, url: str) -> Road:
        parts = urlsplit(url)
        where = (parts.hostname or "127.0.0.1", parts.port or 0)
        return self.roads.road(lambda: where)

    def _head(self, number: int, name: str) -> Head:
        folder = self.folder / name
        folder.mkdir()
        tgtd = Tgtd(folder / "tgtd", f"127.2.0.{number + 1}", self._port)
        parts = Parts(
            broker_url=self.on_road(self.rabbitmq.url(), "broker"),
            shards=(Shard("s0", tgtd.socket, tgtd.portal),),
            tftp=folder / "tftp",
            hosts=folder / "hosts",
            dnsmasq_pid=None,
            site_key=self.folder / "site.key",
            imports=self.imports,
            credentials={CREDENTIAL: SECRET},
            settings={
                "engine": {"claim_lease": 10, "dead_after": 20, "reconcile_every": LOOK},
                "log": {"level": "debug"},
            },
        )
        if self.form.ceph:
            parts = replace(parts, ceph_conf=self.ceph.conf, tgt_conf=self.ceph.tgt_conf)
        if self.form.postgresql:
            parts = replace(parts, database=self.on_road(self.postgresql.url, "database"))
        bmid = Bmid(folder / "bmid", parts, name)
        bmid.configure()
        return Head(bmid, tgtd)

    def reach(self, portal: str) -> tuple[str, int] | None:
        """Where a portal really is: at the tgtd of the head that has its address now."""
        address, _, port = portal.rpartition(":")
        carrier = self._carrier.at(address) if self._carrier else None
        if self._carrier and carrier is None:
            return None
        tgtd = next((head.tgtd for head in self.heads if head.name == carrier), None)
        return (tgtd.portal.partition(":")[0] if tgtd else address), int(port)

    def _has(self, head: str) -> Callable[[str], bool]:
        """Whether an address is up at a head."""
        return lambda address: self._carrier is not None and self._carrier.at(address) == head

    def leads(self, head: str, portal: str) -> bool:
        """Whether a portal is that of this head, now."""
        return self._carrier is None or self._has(head)(portal.rpartition(":")[0])

    @property
    def moves(self) -> int:
        """How often an address has come up somewhere else."""
        return self._carrier.moves if self._carrier else 0

    def golden(self, name: str) -> str:
        """A golden image in the import folder; the name of its file."""
        self.imports.mkdir(exist_ok=True)
        (self.imports / f"{name}.raw").write_bytes(golden(name))
        return f"{name}.raw"

    def _keep(self) -> None:
        """What systemd does: start again what has ended by itself."""
        while not self._ended.wait(1.0):
            for head in self.heads:
                try:
                    if head.wanted and not head.bmid.process.alive():
                        head.ended += 1
                        head.bmid.process.start()
                    if head.tgtd_wanted and not head.tgtd.process.alive():
                        head.tgtd.start()
                except LabError:
                    continue
