"""The settings: one typed TOML file, each value with its unit and its reason; then environment (BMID_...), which wins.

An unknown key is an error that names its line. Secrets are never in here: only the files that hold them.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from bmid.model.name import Label
from bmid.settings_part import STATE, Boot, Network, Power, Section, Seed, Shard, Storage, Target

__all__ = ["Settings", "Shard"]


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
    ping_every: float = Field(30.0, gt=0, description="seconds between the messages that bmid sends to itself")
    ping_limit: float = Field(60.0, gt=0, description="seconds without their answer, then all is connected anew")


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

    workers: int = Field(8, ge=1, le=256, description="operations at a time that use storage or BMCs; 8 keep Ceph busy")
    claim_lease: float = Field(30.0, ge=3, description="seconds after which a dead worker's claims are free")
    give_up_after: float = Field(3600.0, gt=0, description="seconds of failures in a row before an operation is undone")
    set_aside_after: int = Field(
        5, ge=0, description="failures in a row, for one reason, after which a node or image is set aside; 0: never"
    )
    dead_after: float = Field(60.0, ge=10, description="seconds without a heartbeat after which a head counts as dead")
    retention_days: float = Field(14.0, gt=0, description="days that ended operations, keys and events are kept")
    reconcile_every: float = Field(
        3600.0,
        ge=0,
        description="seconds from one look at whether the world is as rows say to the next; 0: only if asked",
    )
    quarantine: float = Field(
        86400.0, ge=0, description="seconds from the first look that saw something nobody knows to its removal"
    )


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
