"""bmi-publish events on a real broker: the events that were asked for, one line each, for as long as it is left on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.process import free_port
from lab.rabbitmq import RabbitMQ
from tests.support.follower import Follower, Speaker

MAPPED = {"operation": "op1", "project": "p1", "node": "n1", "disk": "d1", "changed": True}
ACCEPTED, FAILED = "bmi.operation.accepted.v1", "bmi.operation.failed.v1"


@pytest.fixture
def speaker(rabbitmq: RabbitMQ) -> Iterator[Speaker]:
    made = Speaker(rabbitmq.url("bmid"))
    yield made
    made.close()


def test_every_event_is_a_line_and_the_end_is_an_interrupt(rabbitmq: RabbitMQ, speaker: Speaker) -> None:
    """As JSON it is the whole CloudEvent."""
    with Follower(rabbitmq.url("alice"), "events", "--follow", "-o", "json") as follower:
        first = speaker.say("bmi.node.mapped.v1", "node/n1", MAPPED)
        second = speaker.say("bmi.project.created.v1", "project/p2", {"project": "p2"})
        follower.until(lambda: len(follower.lines) == 2)
        assert follower.interrupt() == 130
    events = [json.loads(line) for line in follower.lines]
    assert [event["id"] for event in events] == [first, second]
    assert (events[0]["specversion"], events[0]["subject"], events[0]["data"]) == ("1.0", "node/n1", MAPPED)
    assert follower.told == []


def test_people_read_time_type_subject_and_what_matters(rabbitmq: RabbitMQ, speaker: Speaker) -> None:
    with Follower(rabbitmq.url("alice"), "events", "--follow") as follower:
        speaker.say("bmi.node.mapped.v1", "node/n1", MAPPED)
        problem = {"type": "urn:bmi:problem:x", "title": "X", "detail": "the pool is \x1b[31mfull"}
        speaker.say(FAILED, "operation/op1", {"operation": "op1", "project": "p1", "problem": problem})
        follower.until(lambda: len(follower.lines) == 2)
    assert follower.lines[0].split()[1:] == ["bmi.node.mapped.v1", "p1", "node/n1", "disk=d1", "changed=True"]
    assert follower.lines[1].endswith("the pool is  [31mfull"), "nobody else writes to this terminal"


def test_only_a_project_or_a_type_is_heard_where_it_is_asked_for(rabbitmq: RabbitMQ, speaker: Speaker) -> None:
    words = ("events", "--follow", "--project", "p1", "--type", "bmi.node.#", "-o", "value", "-c", "data.node")
    with Follower(rabbitmq.url("alice"), *words) as follower:
        speaker.say("bmi.node.mapped.v1", "node/n1", MAPPED)
        speaker.say("bmi.node.mapped.v1", "node/n2", {**MAPPED, "project": "p2", "node": "n2"}, heard=False)
        speaker.say("bmi.image.imported.v1", "image/p1/i", {"project": "p1", "image": "i"}, heard=False)
        speaker.say("bmi.node.booted.v1", "node/n3", {**MAPPED, "node": "n3"})
        follower.until(lambda: len(follower.lines) >= 2)
    assert follower.lines == ["n1", "n3"]


def test_of_a_node_also_the_failure_of_its_command_is_heard(rabbitmq: RabbitMQ, speaker: Speaker) -> None:
    """A failure names only the operation; the accepted event said what that is about."""
    words = ("events", "--follow", "--node", "n[1-2]", "-o", "value", "-c", "type", "-c", "data.operation")
    with Follower(rabbitmq.url("alice"), *words) as follower:
        for number, node in enumerate(("n1", "n9", "n2"), start=1):
            data = {"operation": f"op{number}", "command": "bmi.node.map.v1", "project": "p1"}
            speaker.say(ACCEPTED, f"operation/op{number}", {**data, "about": f"node/{node}"})
            speaker.say(FAILED, f"operation/op{number}", data)
        speaker.say("bmi.node.booted.v1", "node/n2", {"operation": "op0", "project": "p1", "node": "n2"})
        follower.until(lambda: len(follower.lines) == 5)
    assert [line.split("\t") for line in follower.lines] == [
        [ACCEPTED, "op1"],
        [FAILED, "op1"],
        [ACCEPTED, "op3"],
        [FAILED, "op3"],
        ["bmi.node.booted.v1", "op0"],
    ]


def test_a_connection_that_is_lost_is_opened_again_and_that_is_said(rabbitmq: RabbitMQ, speaker: Speaker) -> None:
    with Follower(rabbitmq.url("alice"), "events", "--follow", "-o", "value", "-c", "id") as follower:
        first = speaker.say("bmi.node.mapped.v1", "node/n1", MAPPED)
        follower.until(lambda: follower.lines)
        rabbitmq.ctl("close_all_user_connections", "alice", "a test")
        follower.until(lambda: follower.told)
        second = speaker.say("bmi.node.mapped.v1", "node/n1", MAPPED)
        follower.until(lambda: len(follower.lines) == 2)
    assert follower.lines == [first, second]
    assert "the connection is lost" in follower.told[0]
    assert "events of the time between are missed" in follower.told[1]


@pytest.mark.usefixtures("speaker")
def test_without_follow_it_ends_by_itself_and_says_what_is_wrong(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    """0 after its time, 69 where no broker is, 77 where the user has no right, 2 for wrong words."""
    program = str(Path(sys.executable).with_name("bmi-publish"))

    def ended(url: str, *words: str) -> tuple[int, str]:
        environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "BMI_URL": url}
        done = subprocess.run(
            [program, "events", *words], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stderr

    assert ended(rabbitmq.url("alice"), "--timeout", "5") == (0, "")
    code, told = ended(f"amqp://a:b@127.0.0.1:{free_port()}/bmi", "--timeout", "4")
    assert (code, "trying again" in told, "next: Is it running?" in told) == (69, True, True)
    assert ended(rabbitmq.url("alice").replace("alice", "nobody", 1), "--follow")[0] == 77
    assert ended(rabbitmq.url("alice"), "--node", "n[3-1]")[0] == 2
