"""A whole lab: boot network, broker, storage, targets, BMC, virtual nodes and bmid, below one folder.

Which service runs where is put together here; what each of them needs to run is in its own module. Another process
finds a lab again by its folder alone, also after the process that made it was killed.
"""

from __future__ import annotations

import ipaddress
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bmi_publish import Client
from bmid.handlers.register_node import NodePower, RegisterNode
from lab.bmid import Bmid, Parts, Shard
from lab.ceph import Ceph
from lab.dnsmasq import Dnsmasq
from lab.layout import Layout, boot_sector
from lab.network import Network
from lab.node import VirtualNode
from lab.place import drop_short_folder, remember
from lab.postgresql import PostgreSQL
from lab.process import LabError, free_port
from lab.rabbitmq import RabbitMQ
from lab.redfish import Redfish
from lab.tgtd import Tgtd
from lab.together import side_by_side

__all__ = ["Service", "Site"]

CREDENTIAL = "lab"
LOCAL_DISK = "LOCAL DISK"
PUBLISHER = "alice"


@dataclass(frozen=True)
class Service:
    """One part of the lab as it stands: is it there, and where."""

    name: str
    alive: bool
    where: str


class Site:
    """The lab whose state lies in `folder`. `layout` is needed the first time and kept there; `settings` (table →
    key → value) are laid over what the lab sets for bmid."""

    def __init__(
        self, folder: Path, layout: Layout | None = None, settings: dict[str, dict[str, object]] | None = None
    ) -> None:
        self.folder = folder.absolute()
        self._given = layout
        self._settings = settings or {}
        self.network = Network(self.folder / "network")
        self.dnsmasq = Dnsmasq(self.folder / "dnsmasq", self.network)
        self.rabbitmq = RabbitMQ(self.folder / "rabbitmq")
        self.ceph = Ceph(self.folder / "ceph")
        self.postgresql = PostgreSQL(self.folder / "postgresql")
        self.redfish = Redfish(self.folder / "redfish", self.folder / "nodes")
        self.storage_folder = self.folder / "storage"

    @cached_property
    def layout(self) -> Layout:
        """What it consists of. Raises LabError where there is no lab."""
        return self._given or Layout.read(self.folder / "layout.json")

    @property
    def tgtds(self) -> tuple[Tgtd, ...]:
        """One for each shard; they listen on the head's address of the boot network."""
        ports = self.folder / "portals.json"
        head = self.network.head_ip
        if not ports.exists():
            remember(ports, {str(number): free_port(head) for number in range(self.layout.shards)})
        kept = remember(ports, {})
        folder = self.folder / "tgtd"
        return tuple(Tgtd(folder, head, kept[str(number)], number) for number in range(self.layout.shards))

    @property
    def bmid(self) -> Bmid:
        """The daemon, with the settings for this lab. The network and the services must have been started once."""
        return Bmid(self.folder / "bmid", self._parts())

    def node(self, name: str) -> VirtualNode:
        """A node of the layout. Raises LabError for any other name."""
        if name not in self.layout.names:
            raise LabError(f"there is no node {name}; there are {', '.join(self.layout.names)}")
        return VirtualNode(self.folder / "nodes" / name)

    def client(self, user: str = PUBLISHER) -> Client:
        """A publisher of commands, with a connection of its own."""
        return Client(self.url, user=user, password=self.rabbitmq.password(user), source="/lab")

    @property
    def url(self) -> str:
        """The broker's address for publishers, without user and password."""
        return f"amqp://127.0.0.1:{self.rabbitmq.port}/bmi"

    @property
    def password_file(self) -> Path:
        """The file with the publisher's password."""
        return self.folder / "publisher.password"

    def up(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """Start what doesn't run, side by side, and register the nodes by messages; `tell` hears of each part that
        is up. Raises LabError, and leaves what has started: `down` ends it."""
        self.keep_layout()
        parts: dict[str, Callable[[], None]] = {
            "RabbitMQ": self._start_broker,
            "boot network, dnsmasq, tgtd, Redfish": self._start_ground,
        }
        if self.layout.storage == "rbd":
            parts["Ceph"] = lambda: None if self.ceph.alive() else self.ceph.start()
        if self.layout.database == "postgresql":
            parts["PostgreSQL"] = self.postgresql.start
        side_by_side(parts, tell)
        self.bmid.start()
        tell("bmid")
        self.register(self.layout.names)

    def restart(self, settings: dict[str, dict[str, object]]) -> None:
        """Stop bmid in order, and start it with other settings."""
        self.bmid.stop()
        self._settings = settings
        self.bmid.start()

    def down(self, *, keep: bool = False) -> None:
        """End everything, whoever started it, and remove the folder unless `keep`. Quiet where there is nothing."""
        if not self.folder.exists():
            return
        folder = self.folder
        Bmid(folder / "bmid").stop()
        nodes = [VirtualNode(file.parent) for file in sorted((folder / "nodes").glob("*/node.json"))]
        shards = sorted((folder / "tgtd").glob("tgtd-*.pid"))
        stops: dict[str, Callable[[], None]] = {
            **{f"node {node.folder.name}": node.power_off for node in nodes},
            "Redfish": self.redfish.stop,
            **{path.stem: Tgtd(folder / "tgtd", control_port=int(path.stem[5:])).stop for path in shards},
            "Ceph": lambda: self.ceph.stop() if self.ceph.folder.exists() else None,
            "RabbitMQ": lambda: self.rabbitmq.kill() if self.rabbitmq.folder.exists() else None,
            "PostgreSQL": lambda: self.postgresql.stop() if self.postgresql.folder.exists() else None,
            "dnsmasq": self.dnsmasq.stop,
        }
        side_by_side(stops)
        self.network.down()
        for node in nodes:
            drop_short_folder(node.folder)
        if not keep:
            shutil.rmtree(folder)

    def status(self) -> list[Service]:
        """Every part of it. Raises LabError where there is no lab."""
        layout = self.layout
        found = [Service("RabbitMQ", self.rabbitmq.alive(), self.url)]
        if layout.storage == "rbd":
            found.append(Service("Ceph", self.ceph.alive(), str(self.ceph.conf)))
        else:
            found.append(Service("storage", self.storage_folder.exists(), str(self.storage_folder)))
        if layout.database == "postgresql":
            found.append(Service("PostgreSQL", self.postgresql.alive(), str(self.postgresql.socket_folder)))
        found += [Service(f"tgtd s{one.control_port}", one.process.alive(), one.portal) for one in self.tgtds]
        found.append(Service("dnsmasq", self.dnsmasq.process.alive(), str(self.dnsmasq.tftp)))
        found.append(Service("Redfish", self.redfish.process.alive(), self.redfish.url))
        bmid = self.bmid
        found.append(Service("bmid", bmid.process.alive(), str(bmid.config)))
        for name in layout.names:
            found.append(Service(f"node {name}", self.node(name).alive, str(self.node(name).console)))
        return found

    def register(self, names: Iterable[str]) -> None:
        """Register nodes by messages, each with its MAC, its firmware and its power. Raises LabError."""
        with self.client() as client:
            results = client.wait_all([client.ticket(self._registration(name)) for name in names], 60)
        for result in results:
            if not result.ok:
                raise LabError(f"bmid: a node is not registered: {result.state} {result.problem}")

    def _registration(self, name: str) -> RegisterNode:
        number = int(name[1:])
        return RegisterNode(
            node=name,
            macs=(self.layout.mac(number),),
            firmware=self.layout.firmware(number),
            power=NodePower(
                driver="redfish", address=self.redfish.url + self.redfish.system(name), credential=CREDENTIAL
            ),
        )

    def keep_layout(self) -> None:
        """Write down what the lab consists of. LabError, if another one is in the folder."""
        file = self.folder / "layout.json"
        if file.exists() and self._given is not None and Layout.read(file) != self._given:
            raise LabError(f"another lab is in {self.folder}: script/lab down")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.layout.write(file)

    def _start_broker(self) -> None:
        if not self.rabbitmq.alive():
            self.rabbitmq.start()
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(self.rabbitmq.password(PUBLISHER))

    def _start_ground(self) -> None:
        self.network.up()
        self._make_nodes()
        self.dnsmasq.start()
        for tgtd in self.tgtds:
            tgtd.start()
        if not self.redfish.process.alive():
            self.redfish.start()

    def _make_nodes(self) -> None:
        layout, network = self.layout, self.network
        for number, name in enumerate(layout.names, start=1):
            folder = self.folder / "nodes" / name
            folder.mkdir(parents=True, exist_ok=True)
            disk = folder / "disk.raw"
            if layout.has_local_disk(number) and not disk.exists():
                disk.write_bytes(boot_sector(LOCAL_DISK))
            VirtualNode(folder, layout.machine(number, network.namespace, network.tap(number), disk))

    def _parts(self) -> Parts:
        addresses = self.network.addresses
        subnet = ipaddress.ip_network(addresses.subnet)
        ceph = self.ceph if self.layout.storage == "rbd" else None
        return Parts(
            broker_url=self.rabbitmq.url("bmid"),
            shards=tuple(Shard(f"s{one.control_port}", one.socket, one.portal) for one in self.tgtds),
            tftp=self.dnsmasq.tftp,
            hosts=self.dnsmasq.hosts,
            dnsmasq_pid=self.dnsmasq.pid_file,
            interface=addresses.interface,
            subnet=addresses.subnet,
            first=str(subnet[11]),
            last=str(subnet[-6]),
            ceph_conf=ceph.conf if ceph else None,
            tgt_conf=ceph.tgt_conf if ceph else None,
            database=self.postgresql.url if self.layout.database == "postgresql" else None,
            storage_folder=self.storage_folder,
            credentials={CREDENTIAL: f"{self.redfish.user}\n{self.redfish.password}\n"},
            settings=self._settings,
        )
