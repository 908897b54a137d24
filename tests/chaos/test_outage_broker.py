"""The broker is away, forgets, blocks, loses packets or keeps silent while commands go on: each of them ends once."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from bmi_publish import Ticket, Unreachable
from bmid.handlers.list_projects import ListProjects
from lab.rabbitmq import RabbitMQ
from tests.support.bmid import building
from tests.support.command_line import persistent
from tests.support.lossy import lossy
from tests.support.proxy import Proxy
from tests.support.service import running
from tests.support.traffic import Busy, require_told

PING: dict[str, dict[str, object]] = {"broker": {"ping_every": 1.0, "ping_limit": 3.0}}
MINUTE = 60.0


class Site(Busy):
    """A busy house whose bmid reaches its broker through a proxy."""

    rabbitmq: RabbitMQ
    proxy: Proxy

    def logged(self, event: str) -> int:
        """How often the log has said this."""
        return self.house.bmid.process.log.read_text().count(json.dumps(event))


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[RabbitMQ]:
    """A broker that only these tests use, because they stop it."""
    with running(RabbitMQ(tmp_path_factory.mktemp("broker")), request) as service:
        yield service


@pytest.fixture(scope="module")
def site(broker: RabbitMQ, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Site]:
    """One for all outages of this module."""
    with (
        Proxy((broker.address, broker.port)) as proxy,
        building(tmp_path_factory.mktemp("site"), request) as made,
    ):
        site = Site(made.house(ceph=False, postgresql=False, rabbitmq=broker, settings=PING, proxy=proxy))
        site.rabbitmq, site.proxy = broker, proxy
        yield site
        site.house.bmid.run("fsck")  # which fails where anything isn't as the rows say


def test_a_connection_cut_in_the_middle_of_a_publish_costs_nothing(site: Site) -> None:
    with site.going_on():
        for name, sent in (("relay", 700), ("consumer", 10), ("relay", 1), ("responder", 0), ("relay", 2500)):
            site.proxy.cut(name, after=sent)
    assert site.logged("broker.lost") >= site.proxy.cuts


def test_a_consumer_that_is_connected_and_gets_nothing_is_found_by_the_ping(site: Site) -> None:
    before = site.logged("ping.unanswered")
    with site.going_on():
        site.proxy.mute("consumer")
        site.house.until(lambda: site.logged("ping.unanswered") > before, 60)
    assert site.logged("ping.unanswered") == before + 1, "once is enough"


def test_a_deleted_queue_is_made_again(site: Site) -> None:
    """What lay in it is gone, and its publishers send it again, as those do that hear of no end."""
    with site.going_on(lost=True):
        site.rabbitmq.ctl("-p", site.house.parts.broker_url.rpartition("/")[2], "delete_queue", "bmi.commands")
        time.sleep(2)


@pytest.mark.parametrize("seconds", [4, pytest.param(40, marks=pytest.mark.long, id="until-connections-give-up")])
def test_a_broker_out_of_memory_is_waited_for(site: Site, seconds: float) -> None:
    with site.going_on(120):
        site.rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1")
        try:
            time.sleep(seconds)
        finally:
            site.rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1GB")


@pytest.mark.long
def test_a_broker_that_was_stopped_for_a_while_gets_all_that_waited(site: Site) -> None:
    """Some seconds are as a minute: connections are gone in the first one, and tried again until there is one."""
    with site.going_on(90):
        site.rabbitmq.stop()
        time.sleep(3)
        site.rabbitmq.start()


@pytest.mark.long
def test_a_broker_that_was_stopped_for_a_minute_loses_nothing_that_was_typed_meanwhile(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each heartbeat of a connection has passed. Whoever types a command is told that the broker is away, and says it
    again under the same key, until it is done."""
    with ThreadPoolExecutor() as people:

        def type_(number: int) -> Future[list[int]]:
            words = ("project", "create", f"typed{number}", "--idempotency-key", f"typed-{number}", "--timeout", "5m")
            return people.submit(persistent, site.house.url("alice"), tmp_path, *words)

        with site.going_on(180):
            site.rabbitmq.stop()
            typed = []
            for number in range(4):
                typed.append(type_(number))
                time.sleep(MINUTE / 4)
            site.rabbitmq.start()
            codes = [one.result() for one in typed]
    assert [one[-1] for one in codes] == [0] * 4
    assert Unreachable.exit_code in codes[0], "it was away for longer than a publisher waits for it"
    require_told(site.house, [Ticket(f"typed-{number}", "", "") for number in range(4)])
    with capsys.disabled():
        sys.stdout.write(f"\nexit codes of what was typed: {codes}\n")


def test_a_fifth_of_all_packets_may_be_lost(
    broker: RabbitMQ, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    with ExitStack() as stack:
        place = stack.enter_context(lossy(0.2))
        proxy = stack.enter_context(Proxy((broker.address, broker.port), place.outside))
        made = stack.enter_context(building(tmp_path_factory.mktemp("lossy"), request))
        house = made.house(
            ceph=False, postgresql=False, rabbitmq=broker, settings=PING, proxy=proxy, netns=place.namespace
        )
        site = Busy(house)

        def answered() -> bool:
            """Of what the head declares at the broker only some may be there yet."""
            try:
                return bool(house.client().query(ListProjects(), 60))
            except Unreachable:
                return False

        with site.going_on(180):
            house.until(lambda: answered() and len(site.tickets) > 4, 120)
        assert place.dropped() > 10
