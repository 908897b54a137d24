"""The publisher's library on a real broker, with a bmid that does as it is told."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bmi_publish import BOOTED, Client, QueryFailed, State, Ticket, Unreachable
from bmid.errors import Problem
from bmid.handlers.create_project import CreateProject
from bmid.handlers.list_nodes import ListNodes
from bmid.handlers.map_node import MapNode
from bmid.messages.envelope import Envelope
from lab.rabbitmq import RabbitMQ
from tests.support.fake_bmid import FakeBmid, fails, rejects
from tests.support.follower import Speaker

README = Path(__file__).parents[2] / "bmi-publish" / "README.md"
MAP = MapNode(project="p1", node="n1", image="debian-12")


def eventually(condition: object, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


def in_thread(work: object) -> tuple[threading.Thread, list[object]]:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(work()))  # type: ignore[operator]
    thread.start()
    return thread, found


def subscriptions(rabbitmq: RabbitMQ) -> list[str]:
    """The queues of those who listen now; each is bound by the time that this has been found out."""
    return [name for name in rabbitmq.ctl("list_queues", "-p", "bmi", "name").split() if name.startswith("amq.gen")]


def test_a_command_is_sent_once_under_our_name_and_ends_in_its_outcome_event(client: Client, bmid: FakeBmid) -> None:
    heard = []
    result = client.wait(MAP, 30, on_event=heard.append)
    assert result.ok
    assert result.operation == "op1"
    assert result.event is not None
    assert result.event.data["disk"] == "d1"
    assert [event.type for event in heard] == ["bmi.operation.accepted.v1", "bmi.node.mapped.v1"]
    [command] = bmid.commands
    assert (command.source, command.subject, bmid.users) == ("/test", "node/n1", ["alice"])
    assert command.id == result.ticket.id == result.ticket.correlation
    assert client.wait(CreateProject(project="p2"), 30).ok, "of the site, which is heard too"


def test_a_failure_says_why_and_a_refusal_is_told_from_it(client: Client, bmid: FakeBmid) -> None:
    bmid.answer = fails(undone=["clone-disk"], step="export-disk")
    failed = client.wait(MAP, 30)
    assert (failed.state, failed.exit_code) == (State.FAILED, 1)
    assert failed.problem is not None
    assert failed.problem.undone == ("clone-disk",)
    bmid.answer = fails(refused=True)
    refused = client.wait(MAP, 30)
    assert (refused.state, refused.exit_code) == (State.REFUSED, 65)


def test_a_rejection_ends_the_wait_also_when_it_names_no_project(client: Client, bmid: FakeBmid) -> None:
    bmid.answer = rejects("unknown-field")
    assert client.wait(MAP, 30).exit_code == 65
    bmid.answer = rejects("not-allowed")
    assert client.wait(MAP, 30).exit_code == 77


def test_what_has_not_ended_in_time_is_still_running(client: Client, bmid: FakeBmid) -> None:
    bmid.pace = 60
    started = time.monotonic()
    result = client.wait(MAP, 4)
    assert (result.state, result.exit_code) == (State.RUNNING, 75)
    assert time.monotonic() - started < 20


def test_the_same_id_again_has_no_second_effect_and_is_answered(client: Client, bmid: FakeBmid) -> None:
    results = [client.wait(MAP, 30, id="deploy-7") for _ in range(5)]
    assert all(result.ok for result in results)
    assert len(bmid.effects) == 1


def test_a_ticket_published_long_ago_still_tells_its_end(client: Client, bmid: FakeBmid, rabbitmq: RabbitMQ) -> None:
    ticket = client.publish(MAP)
    eventually(lambda: bmid.phases.get(ticket.id) == "succeeded")
    assert client.wait(ticket, 30).ok
    bare = Ticket(ticket.id, ticket.correlation, ticket.source)
    assert client.wait(bare, 30).ok, "the operation query alone tells it"


def test_an_outcome_whose_event_was_lost_is_found_by_asking(client: Client, bmid: FakeBmid) -> None:
    bmid.silent = True
    result = client.wait(MAP, 30)
    assert (result.state, result.event) == (State.DONE, None)


def test_a_connection_cut_in_the_middle_of_a_wait_loses_nothing(
    client: Client, bmid: FakeBmid, rabbitmq: RabbitMQ
) -> None:
    bmid.answer = lambda command, operation: [("bmi.operation.accepted.v1", {"operation": operation, "project": "p1"})]
    thread, found = in_thread(lambda: client.wait(MAP, 30))
    eventually(lambda: bmid.commands)
    time.sleep(0.3)
    rabbitmq.close_connections("alice")
    bmid.lost.add(f"{bmid.commands[0].id}/bmi.node.mapped.v1")  # the outcome goes out while nobody listens
    bmid.emit("bmi.node.mapped.v1", bmid.commands[0], {"operation": "op1", "project": "p1", "disk": "d9"})
    eventually(lambda: bmid.phases.get(bmid.commands[0].id) == "succeeded")
    thread.join(30)
    [result] = found
    assert result.state is State.DONE  # type: ignore[attr-defined]
    assert result.event.data["disk"] == "d9", "the repeat was answered with the event itself"  # type: ignore[attr-defined]
    assert len(bmid.effects) == 1


def test_a_command_never_accepted_is_sent_again_as_it_was(client: Client, bmid: FakeBmid, rabbitmq: RabbitMQ) -> None:
    bmid.deaf = True
    thread, found = in_thread(lambda: client.wait(MAP, 30))
    eventually(lambda: bmid.commands)
    bmid.deaf = False
    rabbitmq.close_connections("alice")
    thread.join(30)
    assert found[0].ok  # type: ignore[attr-defined]
    assert {command.id for command in bmid.commands} == {bmid.commands[0].id}
    assert len(bmid.commands) >= 2, "and once more, where the connection is cut before the second is confirmed"
    assert len(bmid.effects) == 1


def test_a_subscription_that_the_broker_ends_is_made_anew(client: Client, bmid: FakeBmid, rabbitmq: RabbitMQ) -> None:
    heard: list[str] = []
    bmid.answer = lambda command, operation: [("bmi.operation.accepted.v1", {"operation": operation, "project": "p1"})]
    thread, found = in_thread(lambda: client.wait(MAP, 30, on_event=lambda event: heard.append(event.type)))
    eventually(lambda: heard)
    [queue] = subscriptions(rabbitmq)
    rabbitmq.ctl("eval", f"""
        {{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"bmi">>, queue, <<"{queue}">>)),
        rabbit_amqqueue:delete(Q, false, false, <<"test">>).""")  # fmt: skip
    eventually(lambda: subscriptions(rabbitmq) not in ([], [queue]))
    bmid.emit("bmi.node.mapped.v1", bmid.commands[0], {"operation": "op1", "project": "p1", "disk": "d9"})
    thread.join(30)
    assert found[0].ok  # type: ignore[attr-defined]
    assert heard[-1] == "bmi.node.mapped.v1"


def test_many_commands_are_waited_for_side_by_side(client: Client, bmid: FakeBmid) -> None:
    bmid.pace = 0.5
    commands = [MapNode(project="p1", node=f"n{number}", image="i") for number in range(24)]
    started = time.monotonic()
    results = client.wait_all([client.ticket(command, correlation="c1") for command in commands], 20)
    assert all(result.ok for result in results)
    assert time.monotonic() - started < 11, "one after the other they take 12 s"
    assert [result.event.data["node"] for result in results if result.event] == [one.node for one in commands]


def test_waiting_for_the_boot_goes_on_after_the_outcome(client: Client, bmid: FakeBmid) -> None:
    boot = {"project": "p1", "node": "n1", "disk": "d1", "attempt": 1, "evidence": {}}

    def boots(kind: str, **more: str) -> None:
        bmid.answer = lambda command, operation: [
            ("bmi.operation.accepted.v1", {"operation": operation, "project": "p1"}),
            ("bmi.node.mapped.v1", {"operation": operation, "project": "p1", "disk": "d1"}),
            (kind, {**boot, **more, "operation": operation}),
        ]

    boots("bmi.node.booted.v1")
    assert client.wait(MAP, 30, until=BOOTED).ok
    boots("bmi.node.boot-failed.v1", stage="firmware", todo="Look at the cable.")
    failed = client.wait(MAP, 30, until=BOOTED)
    assert failed.state is State.FAILED
    assert failed.problem is not None
    assert "firmware" in failed.problem.detail
    assert failed.problem.todo == "Look at the cable."


def test_a_boot_that_nobody_heard_of_is_found_by_asking(client: Client, bmid: FakeBmid) -> None:
    bmid.results["bmi.node.show.v1"] = {"node": {"node": "n1", "disk": "d1", "boot": {"stage": "booted"}}}
    assert client.wait(MAP, 30, until=BOOTED).ok


def test_the_boot_of_another_disk_is_not_taken_for_ours(client: Client, bmid: FakeBmid) -> None:
    bmid.results["bmi.node.show.v1"] = {"node": {"node": "n1", "disk": "d2", "boot": {"stage": "booted"}}}
    assert client.wait(MAP, 5, until=BOOTED).state is State.RUNNING


def test_a_query_is_answered_or_fails_with_its_problem(client: Client, bmid: FakeBmid) -> None:
    bmid.results[ListNodes.type] = {"nodes": [{"node": "n1"}]}
    assert client.query(ListNodes()) == {"nodes": [{"node": "n1"}]}
    bmid.problems[ListNodes.type] = Problem.of("node-unknown", "there is no such node")
    with pytest.raises(QueryFailed, match="no such node"):
        client.query(ListNodes())


def test_a_query_that_nobody_answers_ends_in_time(client: Client, bmid: FakeBmid) -> None:
    bmid.deaf = True
    started = time.monotonic()
    with pytest.raises(Unreachable, match="no bmid has answered"):
        client.query(ListNodes(), timeout=2)
    assert time.monotonic() - started < 15


def test_events_are_followed_as_they_come_and_across_a_cut(client: Client, bmid: FakeBmid, rabbitmq: RabbitMQ) -> None:
    seen: list[str] = []

    def follow() -> None:
        for event in client.follow(["bmi.node.*.v1.p1"], timeout=30):
            seen.append(event.type)
            if len(seen) == 2:
                return

    with Client(rabbitmq.url("bob"), source="/other") as other:
        thread, _ = in_thread(follow)
        eventually(lambda: subscriptions(rabbitmq))
        assert other.wait(MAP, 30).ok
        eventually(lambda: len(seen) == 1)
        before = set(subscriptions(rabbitmq))
        rabbitmq.close_connections("alice")
        eventually(lambda: set(subscriptions(rabbitmq)) - before)
        assert other.wait(MAP, 30).ok
        thread.join(30)
    assert seen == ["bmi.node.mapped.v1"] * 2


def test_a_question_between_two_events_loses_none_of_them(client: Client, bmid: FakeBmid, rabbitmq: RabbitMQ) -> None:
    """The second event comes before the answer. A wait would have the client hear something else, and is refused."""
    speaker = Speaker(rabbitmq.url("bmid"))
    follow = client.follow(["#.p1"], timeout=20)
    thread, first = in_thread(lambda: speaker.say("bmi.node.mapped.v1", "node/n1", {"project": "p1"}))
    heard = [next(follow).id]
    thread.join()

    def answer(_query: Envelope) -> dict[str, Any]:
        heard.append(speaker.say("bmi.node.booted.v1", "node/n1", {"project": "p1"}))
        return {"nodes": []}

    bmid.results["bmi.node.list.v1"] = answer
    assert client.query(ListNodes()) == {"nodes": []}
    with pytest.raises(ValueError, match="wait with another one"):
        client.wait(MAP, 5)
    assert [*first, next(follow).id] == heard
    follow.close()
    speaker.close()
    assert client.wait(MAP, 30).ok
