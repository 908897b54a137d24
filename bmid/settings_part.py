"""The tables of the settings that tell a driver what it needs: storage, targets, seeds, boot, power, the network."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from bmid.model.name import Label

__all__ = ["RUN", "STATE", "Boot", "Network", "Power", "Section", "Seed", "Shard", "Storage", "Target"]

STATE = Path("/var/lib/bmid")
RUN = Path("/run/bmid")


class Section(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Rbd(Section):
    """Ceph."""

    conf: Path = Field(Path("/etc/ceph/ceph.conf"), description="bmid's own ceph.conf; it names monitors and keyring")
    user: str = Field("bmi", description="the cephx user, without client.; needs profile rbd on mon and on the pool")
    pool: str = Field("bmi", description="the pool, which must be there; what bmid keeps in it has ids as names")
    tgt_conf: Path = Field(
        Path("/etc/bmid/tgt-ceph.conf"),
        description="a ceph.conf of tgtd's own, without operation timeouts and with rbd_cache = false",
    )
    timeout: int = Field(30, gt=0, description="seconds after which a call to Ceph is given up; whole ones, says Ceph")


class Directory(Section):
    """Raw files in a folder: the storage without Ceph, for one head."""

    folder: Path = Field(STATE / "storage", description="must be there, so that a mount that is missing is noticed")


class Storage(Section):
    """Golden images and their clones."""

    driver: str = Field("directory", description="directory, rbd, or the name of an entry point in bmid.storage")
    trash_days: float = Field(
        7.0, ge=0, le=3650, description="days that what was removed takes space and can be restored; 0: not at all"
    )
    urgent_free: float = Field(
        5.0, ge=0, le=100, description="percent of free space below which what has expired goes without regard to speed"
    )
    rbd: Rbd = Rbd()
    directory: Directory = Directory()


class Shard(Section):
    """One tgtd."""

    name: Label = Field(description="its name on this head; disks that are mapped keep it")
    socket: Path = Field(description="its management socket")
    portal_address: str = Field(description="the address at which nodes find it")
    portal_port: int = Field(3260, ge=1, le=65535, description="and its port")


class Target(Section):
    """iSCSI targets."""

    driver: str = Field("tgt", description="the name of an entry point in bmid.target")
    iqn_prefix: str = Field(
        "iqn.2026-11.org.example.bmi",
        pattern=r"^iqn\.\d{4}-\d{2}\.[a-z0-9.-]+$",
        description="year-month and a domain of yours, reversed",
    )
    timeout: float = Field(10.0, gt=0, description="seconds after which a request to tgtd is given up")
    shards: tuple[Shard, ...] = Field((), description="at least one; a disk's shard is a part of its home")


class Seed(Section):
    """The small volumes that tell new systems who they are: names, SSH keys, user data."""

    driver: str = Field("nocloud", description="the name of an entry point in bmid.seed")
    folder: Path = Field(STATE / "seeds", description="where they are; secrets are in them, so bmid makes it 0700")


class Boot(Section):
    """What nodes are told when they start."""

    driver: str = Field("ipxe", description="the name of an entry point in bmid.boot")
    dhcp: Literal["own", "external"] = Field(
        "own", description="own: host entries are written for bmid's dnsmasq; external: another server has them"
    )
    tftp_root: Path = Field(STATE / "tftp", description="a folder for each mapped node is made here")
    hosts_dir: Path = Field(STATE / "hosts", description="dnsmasq's dhcp-hostsdir, with a file for each mapped node")
    dnsmasq_pid: Path | None = Field(RUN / "dnsmasq.pid", description="dnsmasq's, who is told to read them again")
    loaders: dict[str, Path] = Field(
        {"undionly.kpxe": Path("/usr/lib/ipxe/undionly.kpxe"), "ipxe.efi": Path("/usr/lib/ipxe/ipxe.efi")},
        description="the iPXE that BIOS and UEFI firmware load first",
    )
    deadline: float = Field(
        600.0, gt=0, description="seconds from power-on to a system that reads; firmware takes minutes"
    )
    attempts: int = Field(2, ge=1, le=10, description="power cycles in all before node.boot-failed")


class Network(Section):
    """The boot network."""

    name: Label = Field("default", description="its name in rows and on disks")
    subnet: IPv4Network = Field(IPv4Network("10.77.0.0/24"), description="addresses that nodes may wish for")
    first: IPv4Address = Field(IPv4Address("10.77.0.10"), description="first address that is given to nodes")
    last: IPv4Address = Field(IPv4Address("10.77.0.250"), description="last address that is given to nodes")
    interface: str = Field("boot0", description="the head's interface on it")


class Power(Section):
    """BMCs."""

    drivers: tuple[str, ...] = Field(("redfish",), description="those that nodes may name; entry points in bmid.power")
    credentials: Path = Field(Path("/etc/bmid/credentials"), description="files of two lines: user name, password")
    timeout: float = Field(10.0, gt=0, description="seconds for one call to a BMC")
    per_bmc: int = Field(2, ge=1, description="calls at a time to one BMC; many can't take more")
    verify: bool | str = Field(True, description="check BMCs' certificates: true, false, or a file of CA certificates")
    off_deadline: float = Field(120.0, gt=0, description="seconds until a BMC must say that a node is off")
