"""Ceph is frozen, full, restarted or refuses our key while commands go on: what needs no Ceph doesn't wait for it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from bmid.handlers.create_project import CreateProject
from bmid.handlers.list_operations import ListOperations
from bmid.handlers.map_node import MapNode
from bmid.handlers.unmap_node import UnmapNode
from lab.ceph import Ceph
from lab.rabbitmq import RabbitMQ
from tests.support.bmid import building
from tests.support.full import full
from tests.support.notified import Notified
from tests.support.running import Running
from tests.support.traffic import Busy, require_told, require_world

SETTINGS: dict[str, dict[str, object]] = {
    "broker": {"ping_every": 1.0, "ping_limit": 4.0},
    "storage.rbd": {"timeout": 30},  # the default: what hangs, hangs for longer than the test
    "engine": {"claim_lease": 6.0},
    "head": {"drain": 3.0},
}
MANY = 16


class Watched(Busy):
    """A busy house whose service manager is heard, too."""

    manager: Notified


@pytest.fixture(scope="module")
def site(
    rabbitmq: RabbitMQ, ceph: Ceph, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Watched]:
    """One for all outages of this module."""
    folder = tmp_path_factory.mktemp("site")
    manager = Notified(tmp_path_factory.mktemp("manager") / "notify")
    with building(folder, request) as made, pytest.MonkeyPatch.context() as patch:
        patch.setenv("NOTIFY_SOCKET", str(manager.link.getsockname()))
        site = Watched(made.house(ceph=True, postgresql=False, settings=SETTINGS))
        site.manager = manager
        yield site


def lines(site: Busy, event: str) -> list[dict[str, Any]]:
    """What the log says of this."""
    return [line for line in site.house.bmid.told() if line["event"] == event]


@contextmanager
def running(site: Busy) -> Iterator[Running]:
    """A system that has written to its disk."""
    event = site.house.mapped(site.project, site.image)
    with ExitStack() as stack:
        one = Running(stack.enter_context(site.house.initiator(event)), 7)
        stack.callback(one.end)
        one.write()
        yield one
    site.house.did(UnmapNode(project=site.project, node=event["node"], force=True))


def test_a_frozen_ceph_freezes_nothing_else(site: Watched, ceph: Ceph) -> None:
    """More maps wait for it than there are workers. Meanwhile commands that need no Ceph end, queries are answered,
    the log says what waits and since when, commands come through, and the service manager is told that all is well. A
    running system goes on without an error."""
    house, client = site.house, site.house.client()
    nodes = [house.node() for _ in range(MANY)]
    with running(site) as system:
        maps = [client.ticket(MapNode(project=site.project, node=node, image=site.image)) for node in nodes]
        ceph.freeze("osd.0")
        try:
            for ticket in maps:
                client.publish(ticket)
            site.manager.heard()
            began, slowest = time.monotonic(), 0.0
            while time.monotonic() - began < 9:
                asked = time.monotonic()
                assert house.query(ListOperations())["operations"]
                assert time.monotonic() - asked < 5
                assert house.did(CreateProject(project=house.name("meanwhile")), 20)["changed"]
                slowest = max(slowest, time.monotonic() - asked)
                time.sleep(0.5)
            waiting, told = lines(site, "call.waits"), site.manager.heard()
        finally:
            ceph.thaw("osd.0")
            ceph.wait_usable()
        system.read()
    assert slowest < 15, "the first ones may find all workers waiting for a turn"
    assert [one for one in told if "WATCHDOG=1" in one], "it says so every five seconds"
    assert waiting
    for line in waiting:
        assert re.fullmatch(r"storage\.\w+", line["call"])
        assert line["about"] in {one["operation"] for one in house.query(ListOperations(limit=500))["operations"]}
        assert line["seconds"] >= 5
        assert line["since"] < line["timestamp"]
    assert not lines(site, "ping.unanswered")
    results = client.wait_all(maps, 120)
    assert [result.state.value for result in results] == ["done"] * MANY, [one.problem for one in results]
    require_told(house, maps)
    require_world([house])
    unmaps = [client.ticket(UnmapNode(project=site.project, node=node, force=True)) for node in nodes]
    assert all(result.ok for result in client.wait_all(unmaps, 60))


def test_bmid_stops_in_time_while_ceph_is_frozen(site: Busy, ceph: Ceph) -> None:
    with site.going_on(120):
        ceph.freeze("osd.0")
        try:
            time.sleep(1)
            began = time.monotonic()
            site.house.bmid.process.signal(15)
            site.house.until(lambda: not site.house.bmid.process.alive(), 40)
            assert time.monotonic() - began < 20, "3 s to drain, and not as long as Ceph takes"
        finally:
            ceph.thaw("osd.0")
            ceph.wait_usable()
            site.house.start()


def test_a_full_ceph_is_waited_for(site: Busy, ceph: Ceph) -> None:
    with site.going_on(120), full(ceph):
        site.house.until(lambda: "pool-full" in site.house.bmid.process.log.read_text(), 60)


def test_a_restarted_ceph_is_waited_for_and_running_systems_go_on(site: Busy, ceph: Ceph) -> None:
    with running(site) as system, site.going_on(120):
        ceph.kill_osd()
        time.sleep(2)
        ceph.start_osd()
        system.read()


def test_a_key_that_was_revoked_is_told_and_all_goes_on_when_it_is_back(site: Busy, ceph: Ceph) -> None:
    """Who is connected stays so for up to an hour; the next connection, such as that of a new target, is refused."""
    before = len(lines(site, "operation.retried"))
    with site.going_on(180):
        with ceph.admin() as administrator:
            [user] = administrator.command("auth get", entity="client.bmi")
            administrator.command("auth del", entity="client.bmi")
            try:
                site.house.until(lambda: len(lines(site, "operation.retried")) > before, 60)
                time.sleep(2)
            finally:
                caps = [word for pair in user["caps"].items() for word in pair]
                keyring = f"[client.bmi]\n\tkey = {user['key']}\n"
                administrator.command("auth add", keyring, entity="client.bmi", caps=caps)
        ceph.wait_usable()
