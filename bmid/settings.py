"""The settings: one typed TOML file, each value with its unit and its reason; then environment (BMID_...), which wins.

An unknown key is an error that names its line. Secrets are never in here: only the files that hold them.
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bmid.model.name import Label

__all__ = ["Settings", "Shard"]

STATE = Path("/var/lib/bmid")
RUN = Path("/run/bmid")


class Section(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _host() -> str:
    return socket.gethostname().partition(".")[0].lower()


class Head(Section):
    """This machine."""

    name: Label = Field(default_factory=_host, description="its name among the heads; by default its host name")
    state_folder: Path = Field(STATE, description="what must outlive a restart: the embedded database, the lock")
    drain: float = Field(30.0, ge=0, description="seconds that running steps get at a stop; the rest goes on later")


class Database(Section):
    """Where operations, rows and events are kept."""

    url: str = Field(
        f"sqlite:///{STATE}/bmid.db",
        description="sqlite:///PATH; for several heads postgresql+psycopg://USER@HOST/NAME",
    )
    password_file: Path | None = Field(None, description="the file with the password; none in the URL")


class Broker(Section):
    """RabbitMQ."""

    url: str = Field("amqp://bmid@127.0.0.1:5672/bmi", description="amqp:// or amqps://, USER@HOST:PORT/VHOST")
    password_file: Path | None = Field(None, description="the file with the password; none in the URL")
    ca_file: Path | None = Field(None, description="for amqps, CAs that the machine doesn't trust anyway")


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


class Images(Section):
    """Where images come from, and how large they may be."""

    driver: str = Field("qemu", description="who looks at files and copies them; an entry point in bmid.imaging")
    import_folder: Path | None = Field(None, description="image.import may take files from here")
    export_folder: Path | None = Field(None, description="image.export may write files to here")
    import_pools: tuple[str, ...] = Field((), description="pools that image.import may take RBD images from")
    export_pools: tuple[str, ...] = Field((), description="pools that image.export may make RBD images in")
    staging_folder: Path = Field(STATE / "staging", description="uploads and unpacked images; needs room for them")
    max_size: int = Field(1 << 40, gt=0, description="bytes that an image may have as the node sees it")
    max_upload: int = Field(256 << 30, gt=0, description="bytes that an upload, or what is unpacked of it, may have")
    max_memory: int = Field(2 << 30, gt=0, description="bytes of memory that qemu-img may use")
    max_seconds: int = Field(6 * 3600, gt=0, description="seconds of CPU that one copy may use")
    upload_deadline: float = Field(3600.0, gt=0, description="seconds until an upload must be there")


class Isolation(Section):
    """Who may have which node."""

    driver: str = Field("none", description="the name of an entry point in bmid.isolation; none: everybody any")


class Http(Section):
    """The listener for uploads and health."""

    listen: str = Field("127.0.0.1", description="the address it listens on; without TLS, which a proxy adds")
    port: int = Field(8470, ge=0, le=65535, description="0: any free one")
    url: str | None = Field(None, description="how clients reach it, where that is not http://LISTEN:PORT")


class Engine(Section):
    """How work is done."""

    workers: int = Field(8, ge=1, le=256, description="operations at a time; eight keep Ceph busy on two cores")
    claim_lease: float = Field(30.0, ge=3, description="seconds after which a dead worker's claims are free")
    give_up_after: float = Field(3600.0, gt=0, description="seconds of failures in a row before an operation is undone")
    dead_after: float = Field(60.0, ge=10, description="seconds without a heartbeat after which a head counts as dead")
    retention_days: float = Field(14.0, gt=0, description="days that ended operations, keys and events are kept")


class Chap(Section):
    """Secrets of the targets."""

    site_key_file: Path = Field(
        Path("/etc/bmid/site.key"), description="at least 32 random bytes; all CHAP secrets are derived from it"
    )


class Log(Section):
    """What is written, and how."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="what is less is left out")
    format: Literal["json", "console"] = Field("json", description="json: an object a line; console: for people")


class Settings(BaseSettings):
    """All settings. `source` names the file they came from."""

    model_config = SettingsConfigDict(
        extra="forbid",
        env_prefix="BMID_",
        env_nested_delimiter="__",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    head: Head = Field(default_factory=Head)
    database: Database = Database()
    broker: Broker = Broker()
    storage: Storage = Storage()
    target: Target = Target()
    seed: Seed = Seed()
    boot: Boot = Boot()
    network: Network = Network()
    power: Power = Power()
    images: Images = Images()
    isolation: Isolation = Isolation()
    http: Http = Http()
    engine: Engine = Engine()
    chap: Chap = Chap()
    log: Log = Log()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment before file."""
        return env_settings, init_settings
