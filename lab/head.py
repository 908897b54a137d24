"""One head of a lab: its tgtds, its dnsmasq and its bmid, on this machine or in a network namespace of its own.

What all heads share (broker, storage, database, BMC) is given; who starts what when is lab/site.py.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.bmid import Bmid, Parts, Shard
from lab.dnsmasq import Dnsmasq
from lab.network import Network
from lab.place import remember
from lab.process import Process, free_port
from lab.tgtd import Tgtd

__all__ = ["Head", "Shared"]

ISCSI = 3260  # free in a namespace, where nothing else listens


@dataclass(frozen=True)
class Shared:
    """What bmid is told of the services that all heads use; as in `Parts`."""

    broker_url: str
    credentials: dict[str, str]
    settings: dict[str, dict[str, object]]
    ceph_conf: Path | None = None
    tgt_conf: Path | None = None
    database: str | None = None
    storage_folder: Path | None = None
    site_key: Path | None = None
    imports: Path | None = None


class Head:
    """The head with this number (0, 1, ...), called head-a, head-b, ..., with everything it has below `folder`."""

    def __init__(self, folder: Path, network: Network, number: int, shards: int) -> None:
        self.name = f"head-{chr(ord('a') + number)}"
        self.number = number
        self.folder = folder
        self._network = network
        self._shards = shards
        self.dnsmasq = Dnsmasq(folder / "dnsmasq", network, number)

    @property
    def tgtds(self) -> tuple[Tgtd, ...]:
        """One for each shard; they listen on the head's address of the boot network, which must be up."""
        place = self._network.addresses.heads[self.number]
        ports = self.folder / "portals.json"
        if not ports.exists():
            fresh = {
                str(shard): ISCSI + shard if place.namespace else free_port(place.ip) for shard in range(self._shards)
            }
            remember(ports, fresh)
        kept, folder = remember(ports, {}), self.folder / "tgtd"
        return tuple(
            Tgtd(folder, place.ip, kept[str(shard)], shard, netns=place.namespace, anywhere=bool(place.namespace))
            for shard in range(self._shards)
        )

    @property
    def mover(self) -> Process | None:
        """What puts addresses on its interface, and takes them off; None for a head that is alone."""
        addresses = self._network.addresses
        place, length = addresses.heads[self.number], ipaddress.ip_network(addresses.subnet).prefixlen
        if place.namespace is None:
            return None
        config, ips = self.folder / "bmid/bmid.toml", [one.ip for one in addresses.heads]
        command: list[str | Path] = [sys.executable, "-m", "lab.mover", config, place.interface, str(length), *ips]
        return Process("mover", self.folder / "mover", command, netns=place.namespace, cwd=Path(__file__).parent.parent)

    def freeze(self) -> None:
        """As if the machine stood still: nothing of it runs, and nothing answers on the boot network."""
        self._each(Process.freeze)
        self._network.cut(self.number)

    def thaw(self) -> None:
        """And goes on where it stood."""
        self._network.join(self.number)
        self._each(Process.thaw)

    def kill(self) -> None:
        """As if the machine lost its power; `start` and bmid's own start bring it back."""
        self._network.cut(self.number)
        self._each(Process.kill)

    def _each(self, act: Callable[[Process], None]) -> None:
        parts = [one.process for one in self.tgtds] + [Process("bmid", self.folder / "bmid"), self.dnsmasq.process]
        for part in (*parts, Process("mover", self.folder / "mover")):
            act(part)

    def bmid(self, shared: Shared) -> Bmid:
        """The daemon, with the settings for this head."""
        addresses = self._network.addresses
        place, subnet = addresses.heads[self.number], ipaddress.ip_network(addresses.subnet)
        parts = Parts(
            **vars(shared),
            shards=tuple(Shard(f"s{one.control_port}", one.socket, one.portal) for one in self.tgtds),
            tftp=self.dnsmasq.tftp,
            hosts=self.dnsmasq.hosts,
            dnsmasq_pid=self.dnsmasq.pid_file,
            interface=place.interface,
            subnet=addresses.subnet,
            first=str(subnet[11]),
            last=str(subnet[-6]),
            netns=place.namespace,
            address=place.service_ip,
        )
        return Bmid(self.folder / "bmid", parts, self.name)

    def start(self) -> None:
        """Start dnsmasq and tgtds, which bmid needs; quiet where they run."""
        self.dnsmasq.start()
        for tgtd in self.tgtds:
            tgtd.start()

    def stop(self) -> None:
        """End dnsmasq, tgtds and mover, also those of a lab that was killed."""
        Process("mover", self.folder / "mover").stop()
        for path in sorted((self.folder / "tgtd").glob("tgtd-*.pid")):
            Tgtd(self.folder / "tgtd", control_port=int(path.stem[5:])).stop()
        self.dnsmasq.stop()
