"""A real bmid with its real parts, as tests see it: what is asked of it, what it answers, what it leaves behind."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from bmi_publish import Client, Result, State
from bmi_publish.ticket import Ticket, envelope_of
from bmid.engine.worker import Ports
from bmid.errors import Problem
from bmid.handlers.create_project import CreateProject
from bmid.handlers.import_image import ImageSource, ImportImage
from bmid.handlers.map_node import MapNode
from bmid.handlers.register_node import RegisterNode
from bmid.messages.base import Command, Query
from bmid.messages.envelope import Envelope
from bmid.messages.operation import OperationAccepted
from bmid.model.chap import chap_secret
from bmid.model.entity import Disk
from bmid.parts import make_database, make_ports
from bmid.settings_file import load
from bmid.store import schema
from bmid.store.database import Database
from bmid.store.view import StoreView
from lab.bmid import Bmid, Parts
from lab.process import wait_for
from lab.rabbitmq import RabbitMQ
from lab.tgtd import Tgtd
from tests.support.image import bios_disk
from tests.support.initiator import Initiator, Relay
from tests.support.listener import Listener
from tests.support.strange import names
from tests.support.trash import emptied_alone

TRACES = ("project", "image", "node", "node_mac", "disk", "boot", "operation_key")


class House:
    """One bmid on parts of its own: a vhost, a pool or folder, a tgtd, a database."""

    def __init__(self, folder: Path, rabbitmq: RabbitMQ, parts: Parts, tgtd: Tgtd) -> None:
        self.folder = folder
        self.rabbitmq = rabbitmq
        self.parts = parts
        self.tgtd = tgtd
        self.bmid = Bmid(folder / "bmid", parts)
        self._clients: dict[str, Client] = {}
        self._numbers = itertools.count(1)

    def url(self, user: str) -> str:
        """The broker as this user."""
        vhost = self.parts.broker_url.rpartition("/")[2]
        return f"{self.rabbitmq.url(user).rpartition('/')[0]}/{vhost}"

    def client(self, user: str = "alice") -> Client:
        """A publisher, for the test's own thread."""
        if user not in self._clients:
            self._clients[user] = Client(self.url(user), source=f"/tests/{user}")
        return self._clients[user]

    def listener(self) -> Listener:
        """Somebody who hears every event."""
        return Listener(self.url("bob"))

    @property
    def ceph(self) -> bool:
        """Whether its disks are on Ceph."""
        return self.parts.ceph_conf is not None

    def start(self) -> None:
        """Start it, and wait until it hears commands."""
        self.bmid.start()

    def ask(self, command: Command, seconds: float = 60, **options: Any) -> Result:
        """The end of a command."""
        return self.client().wait(command, seconds, **options)

    def did(self, command: Command, seconds: float = 60, **options: Any) -> dict[str, Any]:
        """The outcome event's data of a command that is done."""
        result = self.ask(command, seconds, **options)
        assert result.ok, (result.state, result.problem)
        assert result.event is not None
        return result.event.data

    def refusal(self, command: Command, state: State = State.REFUSED, seconds: float = 60) -> Problem:
        """The problem of a command that the state of the site said no to."""
        result = self.ask(command, seconds)
        assert result.state is state, (result.state, result.problem)
        assert result.problem is not None
        return result.problem

    def query(self, query: Query) -> dict[str, Any]:
        """The answer to a query."""
        return self.client().query(query)

    def ticket(self, command: Command, user: str = "alice") -> Ticket:
        """A command with an identity, not sent yet."""
        return Ticket.of(envelope_of(command, f"/tests/{user}"))

    def until(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Wait until the condition holds."""
        wait_for(lambda: bool(condition()), seconds, "what the test waits for")

    # What a test usually starts from.

    def name(self, kind: str) -> str:
        """A name that no other test has."""
        return f"{kind}{next(self._numbers)}"

    def project(self) -> str:
        """A new project."""
        name = self.name("p")
        self.did(CreateProject(project=name))
        return name

    def file(self, content: bytes) -> ImageSource:
        """A file in the import folder."""
        name = self.name("file")
        (self.bmid.imports / name).write_bytes(content)
        return ImageSource(file=name)

    def image(self, project: str, content: bytes | None = None, **fields: Any) -> str:
        """A new image of a project; a small disk that boots BIOS."""
        name = self.name("i")
        source = self.file(bios_disk() if content is None else content)
        self.did(ImportImage(project=project, image=name, source=source, **fields))
        return name

    def node(self, **fields: Any) -> str:
        """A new node, without a power driver."""
        name = self.name("n")
        number = int(name[1:])
        mac = f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"
        self.did(RegisterNode(node=name, **{"macs": (mac,), **fields}))
        return name

    def mapped(self, project: str, image: str, node: str | None = None) -> dict[str, Any]:
        """A node on an image: the mapped event's data."""
        return self.did(MapNode(project=project, node=node or self.node(), image=image))

    def upload(
        self, command: ImportImage, token: str, content: bytes, then: Callable[[str], None] | None = None
    ) -> Any:
        """An import whose bytes are uploaded when it was accepted; its end."""
        file = self.folder / "to-upload"
        file.write_bytes(content)

        def hear(event: Envelope) -> None:
            if event.type == OperationAccepted.type:
                address = str(event.data["upload"])
                if then is not None:
                    then(address)
                self.client().upload(address, token, file)

        return self.ask(command, on_event=hear)

    # What stands in the world, and in the rows.

    @cached_property
    def ports(self) -> Ports:
        """The same drivers as the daemon's, to look with."""
        return make_ports(load(self.bmid.config))

    @cached_property
    def database(self) -> Database:
        """The daemon's database."""
        return make_database(load(self.bmid.config))

    def disks(self) -> list[Disk]:
        """The rows of all disks."""
        with self.database.read() as tx:
            return list(StoreView(tx, 60).disks())

    def rows(self, table: str) -> int:
        """How many rows a table has."""
        with self.database.read() as tx:
            return int(tx.execute(select(func.count()).select_from(schema.METADATA.tables[table])).scalar_one())

    def empty_trash(self) -> None:
        """All that can go, goes; bmid itself doesn't do it any more."""
        emptied_alone(self.database, self.ports.storage)

    def traces(self) -> dict[str, Any]:
        """Everything that commands make, in the world and in the rows."""
        self.empty_trash()
        stored = sorted(f"{one.kind} {one.id}" for one in self.ports.storage.inventory(metadata=False))
        targets = sorted(one.iqn for shard in self.ports.target.shards for one in self.ports.target.exports(shard))
        return {
            "stored": stored,
            "targets": targets,
            "seeds": list(self.ports.seeds.inventory()),
            "tftp": sorted(path.name for path in self.parts.tftp.glob("*") if path.is_dir()),
            "hosts": sorted(path.name for path in self.parts.hosts.glob("*")),
            "staging": sorted(path.name for path in self.bmid.staging.glob("*")),
            "exports": sorted(path.name for path in self.bmid.exports.glob("*")),
            "theirs": names(self.parts.ceph_conf),
            "rows": {table: self.rows(table) for table in TRACES},
        }

    @contextmanager
    def nothing_left(self) -> Iterator[None]:
        """What happens within leaves no trace."""
        before = self.traces()
        yield
        self.require(before)

    def require(self, traces: dict[str, Any], seconds: float = 45) -> None:
        """These traces and no others, soon: Ceph keeps for half a minute what a killed client had open."""
        end = time.monotonic() + seconds
        while (found := self.traces()) != traces and time.monotonic() < end:
            time.sleep(0.2)
        differ = {kind: (left, traces[kind]) for kind, left in found.items() if left != traces[kind]}
        assert not differ, f"left and expected: {differ}"

    # Real initiators.

    def disk(self, mapped: dict[str, Any]) -> Disk:
        """The row of a mapped disk."""
        return next(one for one in self.disks() if mapped["target"].endswith(f":{one.id}"))

    def secret(self, mapped: dict[str, Any]) -> str:
        """The CHAP secret of a mapped disk, from the site's key."""
        disk = self.disk(mapped)
        return chap_secret(self.bmid.site_key.read_text().strip().encode(), disk.id, disk.generation)

    @contextmanager
    def initiator(self, mapped: dict[str, Any], **other: str) -> Iterator[Initiator]:
        """What the mapped node would be; `other`: address, iqn, user or secret in place of its own."""
        address, port = mapped["portal"].rpartition(":")[::2]
        iqn, user = other.get("iqn", mapped["target"]), other.get("user", self.disk(mapped).id)
        with Relay((address, int(port)), other.get("address", mapped["address"])) as relay:
            yield Initiator(relay.port, iqn, user, other.get("secret", self.secret(mapped)))

    def close(self) -> None:
        """Let go of everything but the processes."""
        for client in self._clients.values():
            client.close()
        for name in ("ports", "database"):
            if name in self.__dict__:
                part = self.__dict__.pop(name)
                part.storage.close() if name == "ports" else part.close()
