"""The nodes: they boot what they are led to, find their targets wherever the address is, write and read back.

A system that runs knows the way that it was told at its boot, and comes back to it whatever becomes of heads. What its
target has told it to be on disk must be what it reads; what was under way at a machine that stood still may arrive when
that wakes, if nobody has cut it off.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bmid.drivers.base import BootEntry, PowerState

if TYPE_CHECKING:
    from tests.support.world.host import Host
    from tests.support.world.world import World

__all__ = ["Node", "Nodes"]

OFFSET = 4096
EVERY = 4.0  # seconds
OFF = -1  # the start of a node without power


@dataclass(frozen=True)
class Session:
    """A session at a target of a machine."""

    head: Host
    shard: str
    number: int
    id: int


@dataclass
class Node:
    """A machine with a BMC: which of its starts this is, what it was led to then, where it is logged in, and was."""

    mac: str
    start: int = OFF
    way: BootEntry | None = None
    session: Session | None = None
    last: Host | None = None


@dataclass
class Bytes:
    """What a disk may hold: the last that was acknowledged, and what was tried after that."""

    acked: bytes = b""
    tried: list[bytes] = field(default_factory=list)

    def allows(self, found: bytes) -> bool:
        """Whether a reader may find this."""
        may = [self.acked, *self.tried] if self.acked else []
        return not may or any(found[: len(one)] == one for one in may)


class Nodes:
    """`wrong` is what nodes saw that must never be, `errors` what they suffered; `moved` counts systems that went on at
    another head."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.wrong: list[str] = []
        self.errors: list[str] = []
        self.bytes: dict[str, Bytes] = {}
        self._nodes = {mac: Node(mac) for mac in world.machines}
        self._under_way: list[tuple[Host, tuple[str, str], bytes]] = []
        self._written = 0
        self.moved = 0

    def live(self) -> None:
        """For ever."""
        while True:
            for mac, bmc in self.world.machines.items():
                switch = self.world.power.switch(bmc)
                self._live(self._nodes[mac], switch.starts if switch.state is PowerState.ON else OFF)
            self.world.stage.pause(EVERY)

    def _live(self, node: Node, start: int) -> None:
        if start != node.start:
            self._leave(node)
            node.start, node.way = start, None
        if start == OFF:
            return
        if node.session and not self._runs(node.session, node.way):
            self._leave(node)
        elif node.session and not self._open(node.session.head, node.session.number):
            self._fail(node, node.session)
        if node.way is None:
            self._boot(node)
        elif node.session is None:
            node.session = self._log_in(node.way)
            if node.session and node.last is not node.session.head:
                self.moved += 1
        else:
            self._use(node.session)

    def _boot(self, node: Node) -> None:
        """From any head that answers; its firmware goes on to the next while it finds no disk."""
        for head in [one for one in self.world.heads if self.world.carriers.answers(one)]:
            for way in [one for one in head.boot.entries.values() if one.mac == node.mac]:
                node.session = self._log_in(way)
                if node.session:
                    node.way = way
                    return

    def _log_in(self, way: BootEntry) -> Session | None:
        address, port = way.portal
        head, shard = self.world.carriers.at(address), str(port - 3260)
        if head is None or shard in head.target.down:
            return None
        for number, export in [(n, e) for where, n, e in head.open_targets() if where == shard and e.iqn == way.iqn]:
            if not self._open(head, number):
                continue
            try:
                session = head.target.log_in(
                    shard, number, address=way.address, user=way.user, secret=way.secret, alias="os"
                )
            except PermissionError:
                continue
            assert export.user == way.disk, f"{way.iqn} of {way.disk} is the target of {export.user}"
            return Session(head, shard, number, session)
        return None

    def _open(self, head: Host, number: int) -> bool:
        return self.world.storage.has_open(*head.target.clients.get(number, ("", "")))

    def _runs(self, session: Session, way: BootEntry | None) -> bool:
        """Whether the connection stands: its address is where it was, and the target knows it."""
        if way is None or self.world.carriers.at(way.portal[0]) is not session.head:
            return False
        standing = session.head.target._standing[session.shard].get(session.number)
        return standing is not None and any(one.id == session.id for one in standing.sessions)

    def _fail(self, node: Node, session: Session) -> None:
        """Its target answers, and can't reach the disk any more: an error of the disk, of which a system dies."""
        self._leave(node)
        self.errors.append(f"{node.mac} has an I/O error at {session.head.name}, {session.shard}/{session.number}")
        self.world.stage.tell(self.errors[-1])

    def _leave(self, node: Node) -> None:
        """A machine that can't be reached isn't told."""
        session, node.session = node.session, None
        node.last = session.head if session else node.last
        if session and session.head.up and session.number in session.head.target._standing[session.shard]:
            session.head.target.log_out(session.shard, session.number, session.id)

    def _use(self, session: Session) -> None:
        """Read what is there, then write; a write that goes through is safe from then on."""
        if session.shard in session.head.target.down:
            return
        name = session.head.target.clients[session.number][0]
        self._read(name)
        text = self._next(name)
        self.world.storage.write(f"memory:{name}", OFFSET, text)
        self.bytes[name] = Bytes(text)
        session.head.target.move(session.shard, session.number, session.id, read=4096, written=len(text))

    def _next(self, name: str) -> bytes:
        self._written += 1
        return f"{name} {self._written:8d}".encode()

    def _read(self, name: str) -> None:
        found = self.world.storage.read(f"memory:{name}", OFFSET, 64)
        known = self.bytes.setdefault(name, Bytes())
        if not known.allows(found):
            self.wrong.append(f"disk {name} has {found!r}, and not {known.acked!r}, which was acknowledged")

    def stall(self, head: Host) -> None:
        """The machine stands still; each of its sessions has a write under way there."""
        for node in self._nodes.values():
            session = node.session
            if session and session.head is head and self._runs(session, node.way) and self._open(head, session.number):
                client = head.target.clients[session.number]
                text = self._next(client[0])
                self.bytes.setdefault(client[0], Bytes()).tried.append(text)
                self._under_way.append((head, client, text))

    def wake(self, head: Host) -> None:
        """What was under way there goes on, unless its client has been cut off."""
        mine = [one for one in self._under_way if one[0] is head]
        self._under_way = [one for one in self._under_way if one[0] is not head]
        for _, client, text in mine:
            if self.world.storage.has_open(*client):
                self.world.storage.write(f"memory:{client[0]}", OFFSET, text)

    def lost_bytes(self) -> list[str]:
        """What nodes saw, and disks that have not what was acknowledged."""
        for name in self.bytes:
            if name in self.world.storage._disks:
                self._read(name)
        return self.wrong
