"""Messages that no sound publisher sends: each is answered if it can be, kept whole if not, and leaves nothing."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pika
import pytest

from bmid.messages.operation import CommandRejected
from tests.support.bmid import House
from tests.support.listener import Listener

REJECTED = CommandRejected.type
JSON = "application/cloudevents+json"


class Sender:
    """Publishes bytes as they are."""

    def __init__(self, house: House, heard: Listener) -> None:
        self._heard = heard
        self._connection = pika.BlockingConnection(pika.URLParameters(house.url("alice")))
        self.channel = self._connection.channel()
        self.channel.confirm_delivery()

    def send(self, body: bytes, *, user: str | None = "alice", headers: dict[str, Any] | None = None) -> None:
        properties = pika.BasicProperties(user_id=user, content_type=JSON, headers=headers, delivery_mode=2)
        self.channel.basic_publish("bmi.commands", "bmi.any", body, properties, mandatory=True)

    def rejection(self, identifier: str) -> dict[str, Any]:
        """The problem of the rejection of this message."""
        self._heard.until(lambda: self._heard.of(identifier, REJECTED))
        [event] = self._heard.of(identifier, REJECTED)
        assert event.data["message"] == identifier
        assert event.data["reasons"]
        problem: dict[str, Any] = event.data["problem"]
        return problem

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def heard(house: House):  # type: ignore[no-untyped-def]
    with house.listener() as listener:
        yield listener


@pytest.fixture
def sender(house: House, heard: Listener):  # type: ignore[no-untyped-def]
    made = Sender(house, heard)
    yield made
    made.close()


def event(data: Any, kind: str = "bmi.project.create.v1", **attributes: Any) -> tuple[str, bytes]:
    identifier = str(uuid.uuid4())
    content = {"specversion": "1.0", "id": identifier, "source": "/t", "type": kind, "data": data, **attributes}
    return identifier, json.dumps(content).encode()


IMPORT = {"project": "p", "image": "i"}
RBD = {"pool": "theirs", "image": "i"}
NODE = {"node": "n", "macs": ["52:54:00:00:00:01"]}
BAD_DATA: dict[str, tuple[str, dict[str, Any]]] = {
    "unknown field": ("bmi.project.create.v1", {"project": "p", "colour": "red"}),
    "no field": ("bmi.project.create.v1", {}),
    "no text": ("bmi.project.create.v1", {"project": 7}),
    "null": ("bmi.project.create.v1", {"project": None}),
    "empty": ("bmi.project.create.v1", {"project": ""}),
    "upper case": ("bmi.project.create.v1", {"project": "P1"}),
    "dot dot": ("bmi.project.create.v1", {"project": ".."}),
    "path": ("bmi.project.create.v1", {"project": "../../etc"}),
    "dot in a label": ("bmi.project.create.v1", {"project": "a.b"}),
    "quote": ("bmi.project.create.v1", {"project": "a'b"}),
    "double quote": ("bmi.project.create.v1", {"project": 'a"b'}),
    "newline": ("bmi.project.create.v1", {"project": "a\nb"}),
    "newline at the end": ("bmi.project.create.v1", {"project": "a\n"}),
    "escape": ("bmi.project.create.v1", {"project": "a\x1b[2Jb"}),
    "wide character": ("bmi.project.create.v1", {"project": "a\u202eb"}),
    "too long": ("bmi.project.create.v1", {"project": "a" * 64}),
    "image dot dot": ("bmi.image.remove.v1", {"project": "p", "image": "a..b"}),
    "image path": ("bmi.image.remove.v1", {"project": "p", "image": "a/b"}),
    "image hidden": ("bmi.image.remove.v1", {"project": "p", "image": ".hidden"}),
    "file path": ("bmi.image.import.v1", {"project": "p", "image": "i", "source": {"file": "../secret"}}),
    "file absolute": ("bmi.image.import.v1", {"project": "p", "image": "i", "source": {"file": "/etc/passwd"}}),
    "two sources": ("bmi.image.import.v1", {"project": "p", "image": "i", "source": {"file": "f", "upload": "0" * 64}}),
    "no source": ("bmi.image.import.v1", {"project": "p", "image": "i", "source": {}}),
    "format": ("bmi.image.import.v1", {"project": "p", "image": "i", "source": {"file": "f"}, "format": "vmdk"}),
    "digest": ("bmi.image.import.v1", {"project": "p", "image": "i", "source": {"file": "f"}, "sha256": "abc"}),
    "rbd and a file": ("bmi.image.import.v1", {**IMPORT, "source": {"file": "f", "rbd": RBD}}),
    "rbd path": ("bmi.image.import.v1", {**IMPORT, "source": {"rbd": {**RBD, "image": "p/i:conf=/etc/x"}}}),
    "rbd snapshot": ("bmi.image.import.v1", {**IMPORT, "source": {"rbd": {**RBD, "snapshot": "a@b"}}}),
    "rbd digest": ("bmi.image.import.v1", {**IMPORT, "source": {"rbd": RBD}, "sha256": "0" * 64}),
    "copy to a path": ("bmi.image.copy.v1", {**IMPORT, "to": "p2/i"}),
    "copy without a name": ("bmi.image.copy.v1", IMPORT),
    "copy flat": ("bmi.image.copy.v1", {**IMPORT, "to": "j", "flatten": "very"}),
    "export path": ("bmi.image.export.v1", {**IMPORT, "to": {"file": "../../etc/cron.d/x"}}),
    "export hidden": ("bmi.image.export.v1", {**IMPORT, "to": {"file": ".profile"}}),
    "export nowhere": ("bmi.image.export.v1", {**IMPORT, "to": {}}),
    "export twice": ("bmi.image.export.v1", {**IMPORT, "to": {"file": "f", "rbd": RBD}}),
    "export of another project": ("bmi.image.export.v1", {**IMPORT, "image": "q/i", "to": {"file": "f"}}),
    "export token": ("bmi.image.export.v1", {**IMPORT, "to": {"file": "f", "token": "plain text"}}),
    "update of nothing": ("bmi.image.update.v1", IMPORT),
    "update of another project": ("bmi.image.update.v1", {**IMPORT, "image": "q/i", "labels": {}}),
    "default for nothing": ("bmi.image.update.v1", {**IMPORT, "default_for": {}}),
    "no mac": ("bmi.node.register.v1", {"node": "n", "macs": []}),
    "bad mac": ("bmi.node.register.v1", {"node": "n", "macs": ["52:54:00:00:00"]}),
    "multicast mac": ("bmi.node.register.v1", {"node": "n", "macs": ["01:54:00:00:00:01"]}),
    "bad address": ("bmi.node.register.v1", {**NODE, "address": "10.0.0.999"}),
    "address with more": ("bmi.node.register.v1", {**NODE, "address": "10.0.0.1\nset"}),
    "bad firmware": ("bmi.node.register.v1", {**NODE, "firmware": "coreboot"}),
    "label key": ("bmi.node.register.v1", {**NODE, "labels": {"../x": "y"}}),
    "label control": ("bmi.node.register.v1", {**NODE, "labels": {"a": "b\x07"}}),
    "power path": ("bmi.node.register.v1", {**NODE, "power": {"driver": "r", "address": "a", "credential": "../k"}}),
    "power space": ("bmi.node.register.v1", {**NODE, "power": {"driver": "redfish", "address": "a b"}}),
    "power word": ("bmi.node.map.v1", {"project": "p", "node": "n", "image": "i", "power": "maybe"}),
    "image of two projects": ("bmi.node.map.v1", {"project": "p", "node": "n", "image": "a/b/c"}),
}


@pytest.mark.parametrize("case", list(BAD_DATA))
def test_data_that_is_out_of_form_is_rejected_naming_the_field(folder_house: House, case: str) -> None:
    kind, data = BAD_DATA[case]
    with folder_house.nothing_left(), folder_house.listener() as heard:
        sender = Sender(folder_house, heard)
        identifier, body = event(data, kind)
        sender.send(body)
        problem = sender.rejection(identifier)
        sender.close()
    assert problem["type"] == "urn:bmi:problem:data-invalid"
    assert problem["detail"]
    assert "fields of this command" in problem["todo"]


@pytest.mark.parametrize(
    ("kind", "slug", "hint"),
    [
        ("bmi.node.destroy.v1", "type-unknown", "bmi.node"),
        ("bmi.node.mapp.v1", "type-unknown", "bmi.node.map.v1"),
        ("bmi.node.map.v2", "version-unknown", "bmi.node.map.v1"),
        ("bmi.node.map", "type-unknown", "bmi.node.map.v1"),
        ("bmi.export.restore.v1", "type-unknown", "bmi."),
        ("completely.different", "type-unknown", "bmi."),
    ],
)
def test_an_unknown_type_or_version_is_rejected_with_the_nearest_known(
    house: House, heard: Listener, sender: Sender, kind: str, slug: str, hint: str
) -> None:
    with house.nothing_left():
        identifier, body = event({"project": "p"}, kind)
        sender.send(body)
        problem = sender.rejection(identifier)
    assert problem["type"].endswith(slug)
    assert kind in problem["detail"]
    assert hint in problem["todo"]


def test_a_message_of_nobody_is_rejected(house: House, heard: Listener, sender: Sender) -> None:
    with house.nothing_left():
        identifier, body = event({"project": "p"})
        sender.send(body, user=None)
        problem = sender.rejection(identifier)
    assert problem["type"].endswith("user-id-missing")
    assert "user_id" in problem["todo"]


def test_a_zero_byte_anywhere_is_rejected(house: House, heard: Listener, sender: Sender) -> None:
    with house.nothing_left():
        identifier, body = event({"project": "a\x00b"})
        sender.send(body)
        problem = sender.rejection(identifier)
    assert problem["type"].endswith("message-unreadable")
    assert "NUL" in problem["detail"]


def deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


UNREADABLE: dict[str, bytes] = {
    "5 MB": json.dumps({"specversion": "1.0", "data": {"project": "x" * (5 << 20)}}).encode(),
    "invalid UTF-8": b'{"specversion": "1.0", "id": "\xff\xfe"}',
    "NaN": b'{"specversion": "1.0", "id": "1", "source": "/t", "type": "bmi.node.map.v1", "data": {"project": NaN}}',
    "infinity": b'{"specversion": "1.0", "id": "1", "source": "/t", "type": "x", "data": {"project": -Infinity}}',
    "deep nesting": json.dumps({"specversion": "1.0", "data": deep(900)}).encode(),
    "no JSON": b"hello",
    "half of JSON": b'{"specversion": "1.0", "id": "1", "sou',
    "a list": b"[1, 2, 3]",
    "other specversion": json.dumps({"specversion": "7", "data": {}}).encode(),
    "data is a list": json.dumps({"specversion": "1.0", "data": [1]}).encode(),
    "nothing": b"",
}


@pytest.mark.parametrize("case", list(UNREADABLE))
def test_an_unreadable_message_whose_headers_say_who_asked_is_rejected(
    house: House, heard: Listener, sender: Sender, case: str
) -> None:
    identifier = str(uuid.uuid4())
    headers = {"cloudEvents_id": identifier, "cloudEvents_source": "/t", "cloudEvents_type": "bmi.node.map.v1"}
    with house.nothing_left():
        sender.send(UNREADABLE[case], headers=headers)
        problem = sender.rejection(identifier)
    assert problem["type"].endswith("message-unreadable")
    assert problem["detail"]


@pytest.mark.parametrize("case", list(UNREADABLE))
def test_an_unreadable_message_without_a_sender_is_kept_whole_in_the_dead_letter_queue(
    house: House, heard: Listener, sender: Sender, case: str
) -> None:
    body = UNREADABLE[case]
    if case in ("NaN", "infinity"):
        body = body.replace(b'"id": "1", ', b"")
    sender.channel.queue_purge("bmi.dead")
    with house.nothing_left():
        sender.send(body)
        end = time.monotonic() + 60
        while True:
            method, _, found = sender.channel.basic_get("bmi.dead", auto_ack=True)
            if method is not None:
                break
            assert time.monotonic() < end, "not in the dead-letter queue"
            time.sleep(0.05)
    assert found == body


def test_commands_after_bad_messages_are_carried_out(house: House, heard: Listener, sender: Sender) -> None:
    for body in UNREADABLE.values():
        sender.send(body)
    house.project()
