"""`bmid check`: each thing that the daemon needs, with its version or with what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bmid.amqp.broker import Broker
from bmid.amqp.connection import check as check_broker
from bmid.amqp.topology import COMMANDS, DEAD, EVENTS, QUERIES, declare_exchange, declare_queue
from bmid.engine.identity import Ports
from bmid.errors import BmiError
from bmid.parts import make_broker, make_database, make_ports, make_site
from bmid.settings import Settings
from bmid.steps.boot import PointBoot
from bmid.steps.export import check_folder
from bmid.store.database import Database
from bmid.store.heads import homed
from bmid.store.view import StoreView

__all__ = ["Finding", "examine"]


@dataclass(frozen=True)
class Finding:
    """One part: fine with a version, or not, with what to do."""

    part: str
    ok: bool
    detail: str
    todo: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Every part, also where an earlier one fails."""
    database = make_database(settings)
    findings = [_try("database", lambda: _database(database))]
    broker = make_broker(settings)
    findings.append(_try("broker", lambda: _broker(broker)))
    try:
        ports = make_ports(settings)
    except BmiError as error:
        return [*findings, Finding("drivers", False, str(error), error.problem.todo)]
    findings += _drivers(settings, ports)
    if settings.boot.dhcp == "external" and findings[0].ok:
        findings += _foreign(settings, database, ports)
    return findings


def _try(part: str, look: Callable[[], object]) -> Finding:
    try:
        return Finding(part, True, str(look()))
    except BmiError as error:
        return Finding(part, False, str(error), error.problem.todo)


def _broker(broker: Broker) -> str:
    def declare(channel: Any) -> None:
        declare_exchange(channel, EVENTS)
        for queue in (DEAD, COMMANDS, QUERIES):
            declare_queue(channel, queue)

    check_broker(broker, declare)
    return f"{broker.host}:{broker.port}, vhost {broker.vhost}, user {broker.user}"


def _database(database: Database) -> str:
    database.verify()
    return f"{database.url.get_backend_name()}, schema {database.revision()}, {database.now():%Y-%m-%d %H:%M:%S} UTC"


def _drivers(settings: Settings, ports: Ports) -> Iterator[Finding]:
    yield _try("storage", ports.storage.check)
    if not ports.target.shards:
        yield Finding("target", False, "there is no shard", "Name a tgtd in [[target.shards]].")
    for shard in ports.target.shards:
        yield _try(f"target {shard}", lambda shard=shard: ports.target.check(shard))  # type: ignore[misc]
    yield _try("seed", ports.seeds.check)
    yield _try("boot", ports.boot.check)
    yield _try("imaging", ports.imaging.check)
    if (folder := settings.images.export_folder) is not None:
        yield _try("exports", lambda: check_folder(folder))
    for name in settings.power.drivers:
        yield Finding(f"power {name}", True, "loaded; BMCs are asked when they are needed")


def _foreign(settings: Settings, database: Database, ports: Ports) -> Iterator[Finding]:
    """The lines that the other DHCP server needs for what is mapped now."""
    site = make_site(settings, upload_url="")
    with database.read() as tx:
        view = StoreView(tx, settings.engine.dead_after)
        for one in homed(tx, settings.head.name, mapped=True):
            node, disk = view.node(one.node or ""), view.disk(one.id)
            if node is None or disk is None:
                continue
            entry = PointBoot.of(node, disk, site).entry(ports.target.portal(disk.shard or ""), secret="")
            yield Finding(f"dhcp {node.name}", True, "\n".join(ports.boot.foreign_lines(entry)))
