"""What a lab stands on: which services and heads it has, and where they are. Nothing is started here."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from lab.bmid import Bmid
from lab.ceph import Ceph
from lab.dnsmasq import Dnsmasq
from lab.head import Head, Shared
from lab.layout import Layout
from lab.network import Network
from lab.postgresql import PostgreSQL
from lab.rabbitmq import RabbitMQ
from lab.redfish import Redfish
from lab.tgtd import Tgtd

__all__ = ["CREDENTIAL", "Ground"]

CREDENTIAL = "lab"


class Ground:
    """The lab whose state lies in `folder`. `layout` is needed the first time and kept there; `settings` (table →
    key → value) are laid over what the lab sets for bmid."""

    def __init__(
        self, folder: Path, layout: Layout | None = None, settings: dict[str, dict[str, object]] | None = None
    ) -> None:
        self.folder = folder.absolute()
        self._given = layout
        self._settings = settings or {}
        self.storage_folder = self.folder / "storage"

    @property
    def _known(self) -> bool:
        return self._given is not None or (self.folder / "layout.json").exists()

    @property
    def _heads(self) -> int:
        return self.layout.heads if self._known else 1

    @cached_property
    def layout(self) -> Layout:
        """What it consists of. Raises LabError where there is no lab."""
        return self._given or Layout.read(self.folder / "layout.json")

    @property
    def network(self) -> Network:
        """The boot network, and the heads' places on it."""
        return Network(self.folder / "network", heads=self._heads)

    @property
    def rabbitmq(self) -> RabbitMQ:
        """The broker."""
        return RabbitMQ(self.folder / "rabbitmq", self.network.service_ip)

    @property
    def ceph(self) -> Ceph:
        """The storage, if it is Ceph."""
        return Ceph(self.folder / "ceph", address=self.network.service_ip)

    @property
    def postgresql(self) -> PostgreSQL:
        """The database, if it is PostgreSQL."""
        return PostgreSQL(self.folder / "postgresql", self.network.service_ip)

    @property
    def redfish(self) -> Redfish:
        """The BMCs of all nodes."""
        return Redfish(self.folder / "redfish", self.folder / "nodes", self.network.service_ip)

    @property
    def heads(self) -> tuple[Head, ...]:
        """All heads. The first keeps its things in the lab's own folder."""
        folders = [self.folder, *(self.folder / f"head-{letter}" for letter in "bcdefgh")]
        shards = self.layout.shards if self._known else 1
        return tuple(Head(folders[number], self.network, number, shards) for number in range(self._heads))

    @property
    def tgtds(self) -> tuple[Tgtd, ...]:
        """Those of all heads. The network must have been up once."""
        return tuple(tgtd for head in self.heads for tgtd in head.tgtds)

    @property
    def dnsmasq(self) -> Dnsmasq:
        """That of the first head."""
        return self.heads[0].dnsmasq

    @property
    def bmids(self) -> tuple[Bmid, ...]:
        """The daemon of each head, with the settings for this lab. Network and services must have been started once."""
        shared = self._shared()
        return tuple(head.bmid(shared) for head in self.heads)

    @property
    def bmid(self) -> Bmid:
        """That of the first head."""
        return self.heads[0].bmid(self._shared())

    def _shared(self) -> Shared:
        several = self._heads > 1
        ceph = self.ceph if self.layout.storage == "rbd" else None
        return Shared(
            broker_url=self.rabbitmq.url("bmid"),
            credentials={CREDENTIAL: f"{self.redfish.user}\n{self.redfish.password}\n"},
            settings=self._settings,
            ceph_conf=ceph.conf if ceph else None,
            tgt_conf=ceph.tgt_conf if ceph else None,
            database=self.postgresql.url if self.layout.database == "postgresql" else None,
            storage_folder=self.storage_folder,
            site_key=self.folder / "site.key" if several else None,
            imports=self.folder / "imports" if several else None,
        )
