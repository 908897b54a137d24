"""What a head is made of, from the settings: database, broker, site and drivers. Nothing is started here."""

from __future__ import annotations

import fcntl
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from bmid.amqp.broker import Broker
from bmid.database import make_database, read_secret
from bmid.drivers.base import Storage
from bmid.drivers.loader import OnDemand, load
from bmid.engine.identity import Ports
from bmid.engine.lane import Lanes
from bmid.errors import Misconfigured
from bmid.model.chap import chap_secret
from bmid.model.entity import Network
from bmid.model.site import Site
from bmid.settings import Settings
from bmid.store.database import Database
from bmid.store.heads import Presence

__all__ = [
    "make_broker",
    "make_database",
    "make_network",
    "make_ports",
    "make_presence",
    "make_site",
    "make_storage",
    "take_locks",
]


def take_locks(settings: Settings, database: Database) -> list[IO[str]]:
    """This head, and what only one head may use, once on this machine. Raises Misconfigured where another has them."""
    folders = [settings.head.state_folder]
    if database.sqlite and database.url.database:
        folders.append(Path(database.url.database).parent)
    held: list[IO[str]] = []
    for folder in dict.fromkeys(folders):
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / "bmid.lock").open("w")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Misconfigured(f"another bmid runs on {folder}", todo="Stop it, or give this one its own.") from error
        held.append(handle)
    return held


def make_broker(settings: Settings) -> Broker:
    """The broker that the settings name."""
    return Broker.from_url(settings.broker.url, settings.broker.password_file, settings.broker.ca_file)


def make_site(settings: Settings, upload_url: str) -> Site:
    """What handlers may know."""
    return Site(
        iqn_prefix=settings.target.iqn_prefix,
        network=settings.network.name,
        boot_deadline=settings.boot.deadline,
        boot_attempts=settings.boot.attempts,
        upload_deadline=settings.images.upload_deadline,
        upload_url=upload_url,
        power_off_deadline=settings.power.off_deadline,
        import_pools=_foreign(settings, settings.images.import_pools),
        export_pools=_foreign(settings, settings.images.export_pools),
        max_size=settings.images.max_size,
        quarantine=settings.engine.quarantine,
        retention_days=settings.engine.retention_days,
        trash_days=settings.storage.trash_days,
    )


def _foreign(settings: Settings, pools: tuple[str, ...]) -> tuple[str, ...]:
    if settings.storage.driver == "rbd" and settings.storage.rbd.pool in pools:
        raise Misconfigured("bmid's own pool can't be one to import from or export to", todo="Take it off the list.")
    return pools


def make_network(settings: Settings) -> Network:
    """The boot network as a row."""
    row, shards = settings.network, settings.target.shards
    portal = f"{shards[0].portal_address}:{shards[0].portal_port}" if shards else ""
    return Network(row.name, str(row.subnet), str(row.first), str(row.last), row.interface, portal)


def make_presence(ports: Ports, url: str) -> Presence:
    """What this head says of itself."""
    portals = {shard: ports.target.portal(shard) for shard in ports.target.shards}
    shards = {shard: f"{address}:{port}" for shard, (address, port) in portals.items()}
    return Presence(shards, version("bmi"), url)


def make_storage(settings: Settings) -> Storage:
    """The storage that the settings name."""
    chosen = getattr(settings.storage, settings.storage.driver, None)
    made: Storage = load("storage", settings.storage.driver, _plain(chosen) if chosen else {})
    return made


def make_ports(settings: Settings) -> Ports:
    """The drivers that the settings name."""
    boot, power, images = settings.boot, settings.power, settings.images
    shards = {shard.name: shard for shard in settings.target.shards}
    server = settings.target.shards[0].portal_address if settings.target.shards else None
    site_key = _site_key(settings.chap.site_key_file)
    credentials = _Credentials(power.credentials)
    power_options = {**_plain(power), "credentials": credentials}
    limits = {
        "max_virtual_size": images.max_size,
        "max_unpacked": images.max_upload,
        "max_memory": images.max_memory,
        "max_seconds": images.max_seconds,
    }
    images.staging_folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    disks = make_storage(settings)
    return Ports(
        storage=disks,
        target=load("target", settings.target.driver, {"shards": shards, "timeout": settings.target.timeout}),
        boot=load("boot", boot.driver, _plain(boot) | {"interface": settings.network.interface, "server": server}),
        imaging=load("imaging", images.driver, limits),
        power=OnDemand("power", power.drivers, power_options),
        isolation=load("isolation", settings.isolation.driver, {}),
        seeds=load("seed", settings.seed.driver, _plain(settings.seed)),
        secret=lambda disk, generation: chap_secret(site_key, disk, generation),
        staging=images.staging_folder,
        imports=images.import_folder,
        exports=images.export_folder,
        lanes=Lanes(settings.engine.workers, patient=not disks.capabilities.shared),
    )


def _plain(section: Any) -> dict[str, Any]:
    return {name: getattr(section, name) for name in type(section).model_fields}


class _Credentials:
    """User and password of a BMC, from a file of that name: two lines."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, name: str) -> tuple[str, str]:
        user, _, password = read_secret(self._folder / name).partition("\n")
        return user.strip(), password.strip()


def _site_key(path: Path) -> bytes:
    key = read_secret(path).encode()
    if len(key) < 32:
        raise Misconfigured(
            f"{path}: the site key has {len(key)} characters, fewer than 32", todo="openssl rand -hex 32"
        )
    return key
