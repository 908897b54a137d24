"""The database as handlers see it: values by name, all in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Select, Table, bindparam, select

from bmid.model.entity import Boot, Disk, Image, ImageDefault, Network, Node, Portal, Project, default_id
from bmid.model.operation import Operation
from bmid.model.trash import Trashed
from bmid.store import heads, inbox, operations, schema
from bmid.store.database import Tx
from bmid.store.heads import Shard
from bmid.store.outbox import take_number
from bmid.store.page import Pages
from bmid.store.rows import TABLES, entity

__all__ = ["StoreView"]

E = TypeVar("E")


@cache
def _finding(table: Table, names: tuple[str, ...]) -> Select[Any]:
    return select(table).where(*(table.c[name] == bindparam(name) for name in names))


class StoreView(Pages):
    """Reads in one transaction. Only `number` writes: it raises a counter."""

    def __init__(self, tx: Tx, dead_after: float) -> None:
        self._tx = tx
        self._dead_after = dead_after

    def _one(self, kind: type[E], **where: Any) -> E | None:
        row = self._tx.execute(_finding(TABLES[kind], tuple(where)), where).first()
        return entity(kind, row) if row else None

    def _all(self, kind: type[E], order: str, **where: Any) -> Sequence[E]:
        table = TABLES[kind]
        given = {name: value for name, value in where.items() if value is not None}
        query: Select[Any] = select(table).filter_by(**given).order_by(table.c[order])
        return [entity(kind, row) for row in self._tx.execute(query)]

    def project(self, name: str) -> Project | None:
        """One project."""
        return self._one(Project, name=name)

    def projects(self) -> Sequence[Project]:
        """All projects by name."""
        return self._all(Project, "name")

    def image(self, project: str, name: str) -> Image | None:
        """One image of a project."""
        return self._one(Image, project=project, name=name)

    def image_by_id(self, image: str) -> Image | None:
        """One image, whoever owns it."""
        return self._one(Image, id=image)

    def images(self, project: str | None = None) -> Sequence[Image]:
        """Images of a project, or all."""
        return self._all(Image, "name", project=project)

    def children(self, image: str) -> Sequence[Image]:
        """Images that were made from it and still hang on it."""
        return self._all(Image, "name", parent=image)

    def default_image(self, project: str, labels: Mapping[str, str]) -> Image | None:
        """The image that a project means by a set of labels."""
        found = self._one(ImageDefault, id=default_id(project, labels))
        return self.image_by_id(found.image) if found else None

    def defaults_of(self, image: str) -> Sequence[ImageDefault]:
        """The sets of labels that an image is the default for."""
        return self._all(ImageDefault, "id", image=image)

    def trashed(self, project: str, kind: str | None = None, name: str | None = None) -> Sequence[Trashed]:
        """What a project has in the trash, what was removed last at the beginning."""
        table = schema.trash
        wanted = {"project": project, "kind": kind, "name": name}
        query = select(table).filter_by(**{key: value for key, value in wanted.items() if value is not None})
        rows = self._tx.execute(query.order_by(table.c.removed_at.desc(), table.c.id.desc()))
        return [entity(Trashed, row) for row in rows]

    def trashed_by_id(self, identity: str) -> Trashed | None:
        """What an id in the trash stands for."""
        return self._one(Trashed, id=identity)

    def node(self, name: str) -> Node | None:
        """One node."""
        return self._one(Node, name=name)

    def nodes(self) -> Sequence[Node]:
        """All nodes by name."""
        return self._all(Node, "name")

    def node_with_mac(self, mac: str) -> Node | None:
        """The node that has this MAC address."""
        owner = select(schema.node_mac.c.node).where(schema.node_mac.c.mac == mac)
        row = self._tx.execute(select(schema.node).where(schema.node.c.id.in_(owner))).first()
        return entity(Node, row) if row else None

    def node_with_address(self, address: str) -> Node | None:
        """The node that wishes for this address."""
        return self._one(Node, address=address)

    def disk(self, disk: str) -> Disk | None:
        """One disk by id."""
        return self._one(Disk, id=disk)

    def disk_named(self, project: str, name: str) -> Disk | None:
        """One disk of a project."""
        return self._one(Disk, project=project, name=name)

    def disks(self, project: str | None = None) -> Sequence[Disk]:
        """Disks of a project, or all."""
        return self._all(Disk, "name", project=project)

    def disks_of(self, image: str) -> Sequence[Disk]:
        """Disks that hang on an image."""
        return self._all(Disk, "name", image=image)

    def boot(self, disk: str) -> Boot | None:
        """The boot of a disk that was watched last."""
        return self._one(Boot, disk=disk)

    def network(self, name: str) -> Network | None:
        """One boot network."""
        return self._one(Network, name=name)

    def addresses(self, network: str) -> Mapping[str, str]:
        """Addresses in use or wished for, each with the disk or node that has it."""
        disk, node = schema.disk, schema.node
        wished = self._tx.execute(select(node.c.address, node.c.name).where(node.c.address.is_not(None)))
        used = self._tx.execute(
            select(disk.c.address, disk.c.name).where(disk.c.network == network, disk.c.address.is_not(None))
        )
        return {row.address: row.name for rows in (wished, used) for row in rows}

    def disk_at(self, network: str, address: str) -> Disk | None:
        """The disk that has an address."""
        return self._one(Disk, network=network, address=address)

    def homes(self) -> Sequence[Shard]:
        """Shards of living heads."""
        return heads.shards(self._tx, self._dead_after)

    def portal(self, head: str, shard: str) -> str | None:
        """IP:PORT of a head's shard."""
        return heads.portal(self._tx, head, shard)

    def moves(self, address: str) -> int:
        """How many moves of an address have not ended."""
        return sum(one["address"] == address for one in operations.commands(self._tx, "bmi.portal.move.v1"))

    def carried(self, portal: str) -> Portal | None:
        """One portal, by IP:PORT. It neither moves nor is bound until this transaction has ended."""
        row = self._tx.execute(select(schema.portal).filter_by(portal=portal).with_for_update()).first()
        return entity(Portal, row) if row else None

    def number(self) -> int:
        """The next number for a target."""
        return take_number(self._tx, "target")

    def operation(self, operation: str) -> Operation | None:
        """One operation."""
        return operations.find(self._tx, operation)

    def operation_of_message(self, message: str, source: str | None) -> Operation | None:
        """The operation that a command's message led to."""
        found = inbox.operation_of(self._tx, message, source)
        return operations.find(self._tx, found) if found else None

    def members(self, group: str) -> Sequence[Operation]:
        """The operations of a group, in the order accepted."""
        return self._all(Operation, "seq", parent=group)

    def operations(self, limit: int = 100, *, unfinished: bool = False) -> Sequence[Operation]:
        """The newest operations first; or of those that have not ended."""
        table = schema.operation
        query = select(table).order_by(table.c.seq.desc()).limit(limit)
        if unfinished:
            query = query.where(table.c.ended_at.is_(None))
        return [entity(Operation, row) for row in self._tx.execute(query)]
