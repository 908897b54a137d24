"""From a message to an operation, or to an answer that says why not. On SQLite and on PostgreSQL."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bmid.model.operation import Phase
from tests.support.bench import Bench, Letter

pytestmark = pytest.mark.usefixtures("quiet")


@pytest.fixture
def bench(url: str, tmp_path: Path) -> Iterator[Bench]:
    """An empty site."""
    site = Bench(tmp_path, url=url).open()
    yield site
    site.close()


def published(bench: Bench) -> list[str]:
    """Ids of the events that are to go out now, which they do."""
    from bmid.store import outbox

    with bench.database.write() as tx:
        outbox.assign(tx, 100)
        found = outbox.unpublished(tx, 100)
        outbox.mark(tx, found, unrouted=False)
    return [one.event for one in found]


def rejection(bench: Bench, kind: str, data: dict[str, Any], **more: Any) -> dict[str, Any]:
    bench.send(kind, data, **more)
    event = bench.events()[-1]
    assert event["type"] == "bmi.command.rejected.v1"
    assert bench.view().operations() == []
    return dict(event["data"])


def slug(event: dict[str, Any]) -> str:
    return str(event["problem"]["type"]).rpartition(":")[2]


def test_a_command_becomes_an_operation_and_an_event(bench: Bench) -> None:
    """With the same correlation, in one transaction."""
    one = bench.command("project.create", project="p1")
    assert one.phase is Phase.PENDING
    (event,) = bench.events(one.id)
    assert event["type"] == "bmi.operation.accepted.v1"
    assert event["correlationid"] == one.correlation == one.message
    assert event["causationid"] == one.message
    said = {"operation": one.id, "command": "bmi.project.create.v1", "project": "p1", "about": "project/p1"}
    assert event["data"] == said


@pytest.mark.parametrize(
    ("kind", "wanted", "hint"),
    [
        ("bmi.project.creat.v1", "type-unknown", "bmi.project.create.v1"),
        ("bmi.node.mapp.v1", "type-unknown", "bmi.node.map.v1"),
        ("bmi.node.map.v2", "version-unknown", "bmi.node.map.v1"),
        ("bmi.boot.retry.v1", "type-unknown", "There are"),
        ("quite.something.else", "type-unknown", "There are"),
    ],
)
def test_an_unknown_type_is_told_the_nearest_name(bench: Bench, kind: str, wanted: str, hint: str) -> None:
    """Also what only the daemon itself may ask for."""
    event = rejection(bench, kind, {"project": "p1"})
    assert slug(event) == wanted
    assert kind in event["problem"]["detail"]
    assert hint in event["problem"]["todo"] or kind == "bmi.boot.retry.v1"


def test_all_reasons_are_named_at_once(bench: Bench) -> None:
    """Unknown field, missing field, wrong form."""
    event = rejection(bench, "bmi.node.map.v1", {"project": "../etc", "node": "n1", "imagee": "x"})
    assert slug(event) == "data-invalid"
    text = " ".join(event["reasons"])
    assert all(word in text for word in ("project", "image", "imagee"))
    assert "image" in event["problem"]["todo"]


@pytest.mark.parametrize("name", ["..", "a/b", "a'b", 'a"b', "a\nb", "a\x7fb", "Ü", "a" * 64, "", "-a", "a-", "a.b", 5])
def test_bad_names_are_rejected_and_nothing_is_written(bench: Bench, name: Any) -> None:
    """Names of projects and nodes."""
    assert slug(rejection(bench, "bmi.project.create.v1", {"project": name})) == "data-invalid"


def test_a_message_without_user_id_is_rejected(bench: Bench) -> None:
    """And told what to set."""
    event = rejection(bench, "bmi.project.create.v1", {"project": "p1"}, user=None)
    assert slug(event) == "user-id-missing"
    assert "user_id" in event["problem"]["todo"]


def test_the_same_message_five_times_has_one_effect_and_five_answers(bench: Bench) -> None:
    """Its events go out again under their old ids, the final one too once there is one."""
    for _ in range(5):
        bench.send("bmi.project.create.v1", {"project": "p1"}, id="m")
    assert len(bench.view().operations()) == 1
    first = published(bench)
    assert len(first) == 1
    bench.send("bmi.project.create.v1", {"project": "p1"}, id="m")
    assert published(bench) == first
    bench.settle()
    published(bench)
    bench.send("bmi.project.create.v1", {"project": "p1"}, id="m")
    again = published(bench)
    assert len(again) == 2
    assert again[0] == first[0]
    assert len(bench.view().operations()) == 1


def test_the_same_id_with_other_content_is_rejected(bench: Bench) -> None:
    """Every time; the first one's operation is not touched."""
    one = bench.operation(bench.send("bmi.project.create.v1", {"project": "p1"}, id="m"))
    for _ in range(2):
        bench.send("bmi.project.create.v1", {"project": "p2"}, id="m")
        assert slug(bench.events()[-1]["data"]) == "id-reused"
    bench.settle()
    assert bench.find(one.id).phase is Phase.SUCCEEDED
    assert [project.name for project in bench.view().projects()] == ["p1"]


def test_a_rejected_message_is_answered_again_under_the_same_id(bench: Bench) -> None:
    """And its id can't be used for something else."""
    bench.send("bmi.project.create.v1", {"project": "P1"}, id="m")
    first = published(bench)
    bench.send("bmi.project.create.v1", {"project": "P1"}, id="m")
    assert published(bench) == first
    bench.send("bmi.project.create.v1", {"project": "p1"}, id="m")
    assert slug(bench.events()[-1]["data"]) == "id-reused"


def test_another_users_message_of_the_same_id_is_another_message(bench: Bench) -> None:
    """Nobody can spoil somebody else's ids."""
    bench.send("bmi.project.create.v1", {"project": "p1"}, id="m", user="alice")
    bench.send("bmi.project.create.v1", {"project": "p2"}, id="m", user="bob")
    assert len(bench.view().operations()) == 2


def test_the_accepted_event_names_the_address_of_an_upload(bench: Bench) -> None:
    """And never the token, nor its digest."""
    digest = hashlib.sha256(b"token").hexdigest()
    one = bench.command("image.import", project="p1", image="i", source={"upload": digest})
    (event,) = bench.events(one.id)
    assert event["data"]["upload"] == f"http://head:8470/v1/uploads/{one.id}"
    assert digest not in json.dumps(event)
    assert one.home == "h1"


LONG = "m" * 300
STRUCTURED = "application/cloudevents+json"
GOOD: dict[str, Any] = {"specversion": "1.0", "id": "m", "source": "/s", "type": "bmi.project.create.v1"}


def body(**attributes: Any) -> bytes:
    return json.dumps({**GOOD, "data": {"project": "p1"}, **attributes}).encode()


HEADERS = {f"cloudEvents_{key}": value for key, value in GOOD.items()}


@pytest.mark.parametrize(
    ("content", "headers", "answer"),
    [
        (body(id=LONG), {}, "message-unreadable"),
        (body(id="m\x00m"), {}, "dead-letter"),
        (body(source="/s\x00"), {}, "dead-letter"),
        (body(correlationid="c\x00c", traceparent="t\x00"), {}, "message-unreadable"),
        (body(correlationid="c" * 999), {}, None),
        (body(specversion="2.0"), {}, "message-unreadable"),
        (body(time="yesterday"), {}, "message-unreadable"),
        (body(data=[1]), {}, "message-unreadable"),
        (b'{"id": "m"', HEADERS, "message-unreadable"),
        (b"\xff\xfe", HEADERS, "message-unreadable"),
        (b'{"data": NaN}', HEADERS, "message-unreadable"),
        (b"[" * 5000, HEADERS, "message-unreadable"),
        (b" " * (5 << 20), HEADERS, "message-unreadable"),
        (b" " * (5 << 20), {**HEADERS, "cloudEvents_id": "m\x00" + LONG}, "message-unreadable"),
        (b'{"id": "m"', {}, "dead-letter"),
        (b"\xff", {}, "dead-letter"),
        (b"", {}, "dead-letter"),
        (body(id=""), {}, "dead-letter"),
        (body(id=7), {}, "dead-letter"),
        (body(data={"project": "p1", "x": 10**400}), {}, "data-invalid"),
        (body(data={"project": "p1\ud800"}), {}, "dead-letter"),
    ],
)
def test_a_broken_message_is_answered_where_that_is_possible(
    bench: Bench, content: bytes, headers: dict[str, Any], answer: str | None
) -> None:
    """Otherwise it goes to the dead letters; in no case does it come again and again."""
    said = bench.acceptance.receive(Letter(content, headers, content_type=STRUCTURED))
    assert said == ("dead-letter" if answer == "dead-letter" else "ack")
    types = bench.types()
    if answer is None:
        assert types == ["bmi.operation.accepted.v1"]
    elif answer == "dead-letter":
        assert types == []
    else:
        assert types == ["bmi.command.rejected.v1"]
        assert slug(bench.events()[0]["data"]) == answer
    assert len(published(bench)) == len(types)
