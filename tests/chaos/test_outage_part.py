"""bmid starts, stays up and goes on by itself while a part that it needs is down, and says which and what to do."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bmid.handlers.create_project import CreateProject
from bmid.handlers.map_node import MapNode
from bmid.handlers.unmap_node import UnmapNode
from lab.ceph import Ceph
from lab.postgresql import PostgreSQL
from lab.rabbitmq import RabbitMQ
from tests.support.bmid import Builder, House
from tests.support.service import running
from tests.support.traffic import require_told, require_world

QUICK: dict[str, dict[str, object]] = {"storage.rbd": {"timeout": 3}, "target": {"timeout": 5.0}}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[RabbitMQ]:
    """A broker that only these tests use, because they stop it."""
    with running(RabbitMQ(tmp_path_factory.mktemp("broker")), request) as service:
        yield service


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[PostgreSQL]:
    """A database server that only these tests use."""
    with running(PostgreSQL(tmp_path_factory.mktemp("server")), request) as service:
        yield service


def check(house: House) -> tuple[int, dict[str, dict[str, Any]]]:
    """Exit code and findings of `bmid check`."""
    command = [Path(sys.executable).parent / "bmid", "--config", house.bmid.config, "check", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    return done.returncode, {one["part"]: one for one in json.loads(done.stdout)}


def require_down(house: House, part: str) -> None:
    """It runs, its log names the part, and so does its check, with what to do."""
    assert house.bmid.process.alive()
    code, findings = check(house)
    assert code == 1
    assert [name for name, one in findings.items() if not one["ok"]] == [part]
    assert findings[part]["detail"]
    assert findings[part]["todo"]
    assert house.bmid.process.alive()


def logged(house: House, word: str) -> bool:
    """Whether the log has a warning or an error with this word in it."""
    return any(one["level"] in ("warning", "error") and word in json.dumps(one).lower() for one in house.bmid.told())


def prepare(house: House) -> None:
    """All but the start."""
    house.bmid.configure()
    house.bmid.run("migrate")


def test_everything_is_well_when_everything_runs(builder: Builder, broker: RabbitMQ) -> None:
    house = builder.house(ceph=True, postgresql=True, rabbitmq=broker, dnsmasq=True)
    code, findings = check(house)
    assert code == 0, findings


def test_without_a_broker(builder: Builder, broker: RabbitMQ) -> None:
    house = builder.house(ceph=False, postgresql=False, rabbitmq=broker, dnsmasq=True, start=False)
    prepare(house)
    broker.stop()
    try:
        house.bmid.process.start()
        house.until(lambda: logged(house, "broker"), 90)
        require_down(house, "broker")
    finally:
        broker.start()
    # It is the first bmid on this broker: before it there is no exchange that a publisher could use.
    for part in ("consumer", "relay"):
        connected = f'"bmid head-a {part}", "event": "broker.connected"'
        house.until(lambda text=connected: text in house.bmid.process.log.read_text(), 60)  # type: ignore[misc]
    assert house.did(CreateProject(project="p"), 90)["changed"]
    code, findings = check(house)
    assert code == 0, findings
    require_world([house])


def test_a_broker_that_dies_loses_no_command_and_no_event(builder: Builder, broker: RabbitMQ) -> None:
    house = builder.house(ceph=False, postgresql=False, rabbitmq=broker, dnsmasq=True)
    declared = time.monotonic()
    project = house.project()
    image, nodes = house.image(project), [house.node() for _ in range(8)]
    client = house.client()
    tickets = [client.ticket(MapNode(project=project, node=node, image=image)) for node in nodes]
    # RabbitMQ 3.10 forgets a quorum queue for ever if it is killed within some seconds of its first declaration.
    time.sleep(max(0.0, declared + 6 - time.monotonic()))
    for ticket in tickets:
        client.publish(ticket)
    broker.kill()
    broker.start()
    results = client.wait_all(tickets, 120)
    assert [result.state.value for result in results] == ["done"] * 8
    assert len(house.disks()) == 8
    require_told(house, tickets)
    require_world([house])


def test_without_a_database(builder: Builder, broker: RabbitMQ, server: PostgreSQL) -> None:
    house = builder.house(ceph=False, postgresql=True, rabbitmq=broker, dnsmasq=True, server=server, start=False)
    prepare(house)
    server.kill()
    try:
        house.bmid.process.start()
        house.until(lambda: logged(house, "database"), 90)
        require_down(house, "database")
    finally:
        server.restart()
    assert house.did(CreateProject(project="p"), 90)["changed"]
    require_world([house])


def test_a_database_that_dies_while_nodes_are_mapped(builder: Builder, broker: RabbitMQ, server: PostgreSQL) -> None:
    house = builder.house(ceph=False, postgresql=True, rabbitmq=broker, dnsmasq=True, server=server)
    project = house.project()
    image, nodes = house.image(project), [house.node() for _ in range(8)]
    client = house.client()
    tickets = [client.ticket(MapNode(project=project, node=node, image=image)) for node in nodes]
    for ticket in tickets:
        client.publish(ticket)
    server.restart()
    results = client.wait_all(tickets, 120)
    assert [result.state.value for result in results] == ["done"] * 8
    assert len({disk.number for disk in house.disks()}) == 8
    require_told(house, tickets)
    require_world([house])


def test_without_ceph(builder: Builder, broker: RabbitMQ, ceph: Ceph) -> None:
    house = builder.house(ceph=True, postgresql=False, rabbitmq=broker, dnsmasq=True, settings=QUICK)
    project = house.project()
    image, node = house.image(project), house.node()
    house.bmid.stop()
    ceph.freeze("osd.0", "mon.a")
    try:
        house.bmid.process.start()
        client = house.client()
        ticket = house.ticket(MapNode(project=project, node=node, image=image))
        client.publish(ticket)
        house.until(lambda: logged(house, "ceph"), 90)
        require_down(house, "storage")
        assert house.did(CreateProject(project="meanwhile"), 30)["changed"], "what needs no Ceph goes on"
    finally:
        ceph.thaw("osd.0", "mon.a")
        ceph.wait_usable()
    assert client.wait(ticket, 120).ok
    require_told(house, [ticket])
    require_world([house])
    house.did(UnmapNode(project=project, node=node, force=True))
    require_world([house])


def test_without_a_target_daemon(builder: Builder, broker: RabbitMQ) -> None:
    house = builder.house(ceph=False, postgresql=False, rabbitmq=broker, dnsmasq=True, settings=QUICK, start=False)
    prepare(house)
    house.tgtd.stop()
    house.start()
    project = house.project()
    image, node = house.image(project), house.node()
    client = house.client()
    ticket = house.ticket(MapNode(project=project, node=node, image=image))
    client.publish(ticket)
    house.until(lambda: logged(house, "tgtd"), 90)
    require_down(house, "target s0")
    house.tgtd.start()
    result = client.wait(ticket, 120)
    assert result.ok
    require_told(house, [ticket])
    require_world([house])
    assert result.event is not None
    with house.initiator(result.event.data) as initiator:
        assert initiator.enters()
