"""Puts a sandbox together: a folder, settings that lead nowhere but to it, drivers in memory, and a head on them."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from bmid.amqp.broker import Broker
from bmid.amqp.connection import check
from bmid.amqp.topology import COMMANDS, declare_queue
from bmid.bootstrap import Head
from bmid.daemon import Loop
from bmid.drivers.loader import load
from bmid.errors import Misconfigured
from bmid.logs import configure
from bmid.model.entity import Boot, Node
from bmid.parts import make_broker, make_database, make_ports
from bmid.sandbox.example import DRIVER, recall, settle
from bmid.sandbox.node import Nodes
from bmid.sandbox.port import SandboxPorts
from bmid.settings import Settings, Shard
from bmid.settings_file import load as load_settings
from bmid.store.database import Database
from bmid.store.view import StoreView

__all__ = ["BROKER", "Wish", "run"]

BROKER = "amqp://guest:guest@127.0.0.1:5672/%2F"  # of a RabbitMQ as it comes
MARK = "bmid-sandbox"  # the file that says that a folder is a sandbox's
DEADLINE = 10.0  # seconds beyond its delay in which a node has to boot
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "head": {"name": "sandbox", "drain": 2.0},
    "http": {"port": 0},
    "log": {"level": "warning", "format": "console"},
}


@dataclass(frozen=True)
class Wish:
    """What was asked for: a settings file, the broker's URL, the folder (none: one that goes at the end), seconds that
    a boot takes, and whether there is a site to begin with."""

    config: Path | None
    broker: str | None = None
    folder: Path | None = None
    boot_delay: float = 2.0
    example: bool = False


def run(config: Path | None, **options: Any) -> None:
    """Blocks until it is told to stop. Misconfigured where something real could be touched."""
    wish = Wish(config, **{name: value for name, value in options.items() if value is not None})
    with _folder(wish.folder) as folder:
        settings = _settings(wish, folder)
        configure(settings.log.level, settings.log.format)
        broker = make_broker(settings)
        check(broker, _require_alone)
        database = make_database(settings)
        ports, power = _ports(settings, database)
        nodes = Nodes(ports.target, ports.boot, power, lambda wanted: _rows(database, wanted), wish.boot_delay)
        head = Head(settings, ports, (Loop("nodes", nodes.run_once, stage=1),))
        head.loops += (Loop("greeting", _greeting(head, broker, folder), stage=1),)
        import_module("bmid.store.migration").migrate(database)
        if wish.example:
            settle(database)
        recall(database, ports.storage, power)
        try:
            head.run()
        finally:
            database.close()


@contextmanager
def _folder(named: Path | None) -> Iterator[Path]:
    """An empty folder, or one that a sandbox has used before: never the one of a real bmid."""
    if named is None:
        with tempfile.TemporaryDirectory(prefix="bmid-sandbox-") as folder:
            yield Path(folder)
        return
    try:
        named.mkdir(parents=True, exist_ok=True)
        if any(named.iterdir()) and not (named / MARK).exists():
            detail = f"{named} is not empty, and not a sandbox's"
            raise Misconfigured(detail, todo="Name an empty folder, or none: then one is made, and goes at the end.")
        (named / MARK).touch()
    except OSError as error:
        raise Misconfigured(f"{named}: {error.strerror}", todo="Name another folder.") from error
    yield named.absolute()


def _settings(wish: Wish, folder: Path) -> Settings:
    """Those of the file and the environment; but whatever could lead to something real leads into the folder."""
    defaults = {**DEFAULTS, "boot": {"deadline": DEADLINE + wish.boot_delay}, "broker": {"url": BROKER}}
    settings = load_settings(wish.config) if wish.config else Settings(**defaults)  # type: ignore[arg-type]
    key = folder / "site.key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_text(secrets.token_hex(32))
    shard = Shard(name="s0", socket=folder / "none", portal_address="127.0.0.1")
    broker = {"url": wish.broker, "password_file": None} if wish.broker else {}
    forced: dict[str, dict[str, Any]] = {
        "head": {"state_folder": folder},
        "database": {"url": f"sqlite:///{folder}/bmid.db", "password_file": None},
        "broker": broker,
        "storage": {"driver": "memory"},
        "target": {"driver": "memory", "shards": (shard,)},
        "boot": {"driver": "memory", "dhcp": "own"},
        "images": {"driver": "memory", **_folders(folder)},
        "engine": {"reconcile_every": 0.0},  # a world in memory differs from its rows after each start
        "isolation": {"driver": "none"},
        "seed": {"driver": "memory"},
        "chap": {"site_key_file": key},
    }
    sections = {name: getattr(settings, name).model_copy(update=values) for name, values in forced.items()}
    return settings.model_copy(update=sections)


def _folders(folder: Path) -> dict[str, Path]:
    """Where files come from and go to."""
    found = {f"{name}_folder": folder / name for name in ("import", "export", "staging")}
    for path in found.values():
        path.mkdir(exist_ok=True)
    return found


def _require_alone(channel: Any) -> None:
    """Nobody else takes commands here: the sandbox would take those that are meant for a real bmid."""
    declare_queue(channel, COMMANDS)
    if channel.queue_declare(COMMANDS.name, passive=True).method.consumer_count:
        detail = "another bmid takes commands from this broker"
        raise Misconfigured(detail, todo="Give the sandbox a virtual host or a RabbitMQ of its own.")


def _ports(settings: Settings, database: Database) -> tuple[SandboxPorts, Any]:
    """Drivers in memory, and the one behind all names of power drivers."""
    ports = make_ports(settings)
    power = load("power", "memory", {})
    storage: Any = ports.storage
    # What a conversion writes goes nowhere: the bytes of large images would fill the memory.
    imaging = load("imaging", "memory", {"read": storage.read, "run": storage.run})
    names = {DRIVER, "memory", *settings.power.drivers}
    made = {**vars(ports), "imaging": imaging, "power": dict.fromkeys(names, power)}
    return SandboxPorts(**made, labels=lambda node: _labels(database, node)), power


def _labels(database: Database, node: str) -> Mapping[str, str]:
    with database.read() as tx:
        found = StoreView(tx, 0).node(node)
    return found.labels if found else {}


def _rows(database: Database, wanted: Mapping[str, str]) -> Mapping[str, tuple[Node | None, Boot | None]]:
    with database.read() as tx:
        view = StoreView(tx, 0)
        return {node: (view.node(node), view.boot(disk)) for node, disk in wanted.items()}


def _greeting(head: Head, broker: Broker, folder: Path) -> Callable[[], float]:
    """Says once that it is up, and where."""
    where = f"{broker.host}:{broker.port}/{quote(broker.vhost, safe='')}"
    line = (
        "bmid: this is a sandbox, up and running, and nothing in it is real. "
        f"Broker {'amqps' if broker.tls else 'amqp'}://{broker.user}@{where}, "
        f"uploads {head.site.upload_url}, folder {folder}"
    )
    told: list[str] = []

    def turn() -> float:
        if not head.serving:
            return 0.05
        if not told:
            told.append(line)
            click.echo(line, err=True)
        return 3600.0

    return turn
