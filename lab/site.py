"""A whole lab: boot network, broker, storage, targets, BMC, virtual nodes and bmid, below one folder.

What starts and ends when is put together here; which parts there are is in lab/ground.py, and what each of them needs
to run in its own module. Another process finds a lab again by its folder alone, also after the process that made it
was killed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bmi_publish import Client
from bmid.handlers.register_node import NodePower, RegisterNode
from lab.bmid import Bmid
from lab.ground import CREDENTIAL, Ground
from lab.layout import Layout, boot_sector
from lab.node import VirtualNode
from lab.place import drop_short_folder
from lab.process import LabError
from lab.together import side_by_side

__all__ = ["Service", "Site"]

LOCAL_DISK = "LOCAL DISK"
PUBLISHER = "alice"


@dataclass(frozen=True)
class Service:
    """One part of the lab as it stands: is it there, and where."""

    name: str
    alive: bool
    where: str


class Site(Ground):
    """A lab that can be started, looked at and ended."""

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
        return f"amqp://{self.rabbitmq.address}:{self.rabbitmq.port}/bmi"

    @property
    def password_file(self) -> Path:
        """The file with the publisher's password."""
        return self.folder / "publisher.password"

    def up(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """Start what doesn't run, side by side, and register the nodes by messages; `tell` hears of each part that
        is up. Raises LabError, and leaves what has started: `down` ends it."""
        self.keep_layout()
        self.network.up()
        parts: dict[str, Callable[[], None]] = {
            "RabbitMQ": self._start_broker,
            "boot network, dnsmasq, tgtd, Redfish": self._start_ground,
        }
        if self.layout.storage == "rbd":
            parts["Ceph"] = lambda: None if self.ceph.alive() else self.ceph.start()
        if self.layout.database == "postgresql":
            parts["PostgreSQL"] = self.postgresql.start
        side_by_side(parts, tell)
        for bmid in self.bmids:  # one after the other: the first brings the schema up to date
            bmid.start()
            tell(f"bmid on {bmid.name}" if self._heads > 1 else "bmid")
        for head in self.heads:
            if head.mover is not None:
                head.mover.start()
        self.register(self.layout.names)

    def restart(self, settings: dict[str, dict[str, object]]) -> None:
        """Stop bmid in order, and start it with other settings."""
        for bmid in self.bmids:
            bmid.stop()
        self._settings = settings
        for bmid in self.bmids:
            bmid.start()

    def down(self, *, keep: bool = False) -> None:
        """End everything, whoever started it, and remove the folder unless `keep`. Quiet where there is nothing."""
        if not self.folder.exists():
            return
        folder, heads = self.folder, self.heads
        for head in heads:
            Bmid(head.folder / "bmid").stop()
        nodes = [VirtualNode(file.parent) for file in sorted((folder / "nodes").glob("*/node.json"))]
        stops: dict[str, Callable[[], None]] = {
            **{f"node {node.folder.name}": node.power_off for node in nodes},
            "Redfish": self.redfish.stop,
            **{head.name: head.stop for head in heads},
            "Ceph": lambda: self.ceph.stop() if self.ceph.folder.exists() else None,
            "RabbitMQ": lambda: self.rabbitmq.kill() if self.rabbitmq.folder.exists() else None,
            "PostgreSQL": lambda: self.postgresql.stop() if self.postgresql.folder.exists() else None,
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
        found.append(Service("Redfish", self.redfish.process.alive(), self.redfish.url))
        for head, bmid in zip(self.heads, self.bmids, strict=True):
            on = f" of {head.name}" if self._heads > 1 else ""
            found += [Service(f"tgtd s{one.control_port}{on}", one.process.alive(), one.portal) for one in head.tgtds]
            found.append(Service(f"dnsmasq{on}", head.dnsmasq.process.alive(), str(head.dnsmasq.tftp)))
            found.append(Service(f"bmid{on}", bmid.process.alive(), str(bmid.config)))
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
        self._make_nodes()
        for head in self.heads:
            head.start()
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
