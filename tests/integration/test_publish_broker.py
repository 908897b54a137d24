"""A publisher and its broker: absent, without a bmid, with rights that are missing or just enough, or full."""

from __future__ import annotations

import shlex
import socket
import time
from pathlib import Path

import pytest

from bmi_publish import Client, NotAllowed, State, Unreachable
from bmid.amqp import topology
from bmid.handlers.list_nodes import ListNodes
from bmid.handlers.map_node import MapNode
from lab.process import free_port
from lab.rabbitmq import RabbitMQ
from tests.support.bus import channel_of, forget_everything
from tests.support.fake_bmid import FakeBmid, does_it, rejects

README = Path(__file__).parents[2] / "bmi-publish" / "README.md"


MAP = MapNode(project="p1", node="n1", image="debian-12")


def test_a_broker_that_is_not_there_is_said_within_the_time_allowed() -> None:
    client = Client(f"amqp://alice:secret@127.0.0.1:{free_port()}/bmi", reach=2)
    started = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        client.wait(MAP, 60)
    assert time.monotonic() - started < 20
    assert "secret" not in str(caught.value)


def test_a_broker_that_takes_the_connection_and_says_nothing_is_told_within_the_time_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = Client(f"amqp://alice:secret@127.0.0.1:{silent.getsockname()[1]}/bmi")
        started = time.monotonic()
        with pytest.raises(Unreachable):
            client.publish(MAP, timeout=2)
        assert time.monotonic() - started < 12, "it would be given 15 s otherwise"


def test_a_broker_on_which_no_bmid_ever_was_is_said_at_once(rabbitmq: RabbitMQ) -> None:
    forget_everything(rabbitmq)
    with Client(rabbitmq.url("alice")) as client, pytest.raises(Unreachable, match="no bmid has ever listened"):
        client.publish(MAP)


def test_a_wrong_password_is_told_and_not_shown(rabbitmq: RabbitMQ) -> None:
    client = Client(f"amqp://alice:not-the-password@127.0.0.1:{rabbitmq.port}/bmi")
    with pytest.raises(NotAllowed) as caught:
        client.publish(MAP)
    assert "not-the-password" not in caught.value.problem.model_dump_json()
    assert "not-the-password" not in repr(client.settings)


def test_the_rights_in_the_readme_are_enough(client: Client, bmid: FakeBmid, rabbitmq: RabbitMQ) -> None:
    lines = [line for line in README.read_text().splitlines() if line.startswith("rabbitmqctl ")]
    for line in lines:
        rabbitmq.ctl(*shlex.split(line.replace("USER", "bob"))[1:])
    assert len(lines) == 2
    try:
        with Client(rabbitmq.url("bob"), source="/bob") as bob:
            assert bob.wait(MAP, 30).ok
            bmid.results[ListNodes.type] = {"nodes": []}
            assert bob.query(ListNodes()) == {"nodes": []}
            bmid.answer = rejects("data-invalid")
            assert bob.wait(MAP, 20).state is State.REJECTED
            with pytest.raises(NotAllowed, match="refuse"):
                bob.wait(MapNode(project="p2", node="n1", image="i"), 10)
            rabbitmq.ctl("set_topic_permissions", "-p", "bmi", "bob", "bmi.events", "^$", r"\.p1$")
        with Client(rabbitmq.url("bob"), source="/bob") as bob:
            bmid.answer = does_it
            assert bob.wait(MAP, 30).ok, "what it may not hear of rejections does not stop the rest"
    finally:
        rabbitmq.ctl("set_permissions", "-p", "bmi", "bob", ".*", ".*", ".*")
        rabbitmq.ctl("clear_topic_permissions", "-p", "bmi", "bob")


def test_the_example_of_the_readme_maps_a_node(
    bmid: FakeBmid, rabbitmq: RabbitMQ, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bmid.results["bmi.node.show.v1"] = {"node": {"node": "n1", "disk": "d1", "boot": {"stage": "booted"}}}
    monkeypatch.setenv("BMI_URL", rabbitmq.url("alice"))
    code = README.read_text().partition("```python\n")[2].partition("```")[0]
    exec(compile(code, str(README), "exec"), {})  # noqa: S102 - the README's own words
    assert capsys.readouterr().out == "n1 has booted, operation op1\n"


def test_a_full_queue_of_commands_is_waited_for_and_then_told(rabbitmq: RabbitMQ) -> None:
    forget_everything(rabbitmq)
    with channel_of(rabbitmq) as channel:
        topology.declare_queue(channel, topology.COMMANDS)
        topology.declare_exchange(channel, topology.EVENTS)
    rabbitmq.ctl("set_policy", "-p", "bmi", "tight", "^bmi.commands$", '{"max-length": 1}')
    try:
        with Client(rabbitmq.url("alice")) as client:
            started = time.monotonic()
            with pytest.raises(Unreachable, match="did not take"):
                all(client.publish(MAP, timeout=1) for _ in range(20))
            assert client.wait(MAP, 1).state is State.UNSENT
            assert time.monotonic() - started < 25
    finally:
        rabbitmq.ctl("clear_policy", "-p", "bmi", "tight")
        forget_everything(rabbitmq)
