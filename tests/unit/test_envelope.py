"""CloudEvents on AMQP: what is read, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmid.messages.envelope import CONTENT_TYPE, MAX_BODY, Envelope, Unreadable, decode, encode

EVENT = {"specversion": "1.0", "id": "1", "source": "s", "type": "t.v1", "data": {"n": 1}}


def structured(**changes: Any) -> bytes:
    content = {name: value for name, value in (EVENT | changes).items() if value is not ...}
    return json.dumps(content).encode()


def read(**changes: Any) -> Envelope:
    return decode(CONTENT_TYPE, None, structured(**changes))


def test_what_is_written_is_read_back():
    envelope = Envelope(
        id="1",
        source="/bmid/head-a",
        type="bmi.node.mapped.v1",
        time=datetime(2026, 1, 2, 3, 4, 5, 678000, UTC),
        subject="node/n1",
        correlationid="c",
        causationid="d",
        traceparent="00-ab-cd-01",
        sequence="00000000000000000007",
        position=42,
        data={"node": "n1", "überraschung": ["☃", None, 1.5]},
    )
    headers, body = encode(envelope)
    assert decode(CONTENT_TYPE, headers, body) == envelope
    assert headers["cloudEvents_type"] == "bmi.node.mapped.v1"
    assert headers["cloudEvents_specversion"] == "1.0"
    assert all(isinstance(value, str) for value in headers.values())


@pytest.mark.parametrize("prefix", ["cloudEvents_", "cloudEvents:", "ce-", "CE-"])
def test_binary_mode_is_read_with_every_prefix_in_use(prefix):
    headers = {f"{prefix}{name}": EVENT[name] for name in ("specversion", "id", "source", "type")}
    assert decode("application/json", headers, b'{"n": 1}') == Envelope("1", "s", "t.v1", data={"n": 1})


def test_binary_mode_needs_no_data():
    headers = {"ce-id": "1", "ce-source": "s", "ce-type": "t.v1"}
    assert decode(None, headers, b"").data == {}


def test_structured_mode_is_known_by_its_content_where_nobody_says_so():
    assert decode(None, None, structured()).id == "1"


def test_the_body_counts_where_headers_say_otherwise():
    assert decode(CONTENT_TYPE, {"cloudEvents_id": "2"}, structured()).id == "1"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"n":NaN}}',
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"n":-Infinity}}',
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"n":1e999}}',
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"n":"\\ud800"}}',
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"n":["\\u0000"]}}',
        b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"\\u0000":1}}',
        b"[" * 100_000,
        b'{"n":' + b"9" * 10_000 + b"}",
        b" " * (MAX_BODY + 1),
        structured(data=...),
        structured(data=[1]),
        structured(id=...),
        structured(id=""),
        structured(id=7),
        structured(source="s" * 256),
        structured(type=None),
        structured(specversion="0.3"),
        structured(time="yesterday"),
        structured(time=5),
        structured(time="2026-01-02T03:04:05"),
    ],
)
def test_what_is_no_event_is_unreadable(body):
    with pytest.raises(Unreadable):
        decode(CONTENT_TYPE, None, body)


def test_an_unreadable_message_is_answerable_when_its_headers_say_who_sent_what():
    headers = {"cloudEvents_id": "1", "cloudEvents_source": b"s", "cloudEvents_type": "t\0" + "x" * 500}
    with pytest.raises(Unreadable) as caught:
        decode(CONTENT_TYPE, headers, b"{")
    assert caught.value.answerable
    assert caught.value.attributes["source"] == "s"
    assert len(caught.value.attributes["type"]) == 255
    assert "\0" not in caught.value.attributes["type"]


def test_an_unreadable_message_without_an_id_has_nobody_to_answer_to():
    with pytest.raises(Unreadable) as caught:
        decode(CONTENT_TYPE, None, structured(id=...))
    assert not caught.value.answerable


@pytest.mark.parametrize("position", ["²", "9" * 5000, -1, 1.5, True, None, "x"])
def test_a_position_that_is_no_number_of_ours_is_left_out(position):
    assert read(position=position).position is None


def test_an_event_is_never_written_as_something_else_than_json():
    _, body = encode(Envelope("1", "s", "t", data={"n": float("nan")}))
    assert json.loads(body, parse_constant=pytest.fail)["data"] == {"n": None}


values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5)
headers = st.dictionaries(
    st.sampled_from(["cloudEvents_id", "ce-source", "cloudEvents:type", "ce-time", "ce-position"]) | st.text(),
    values | st.binary(),
)
contents = st.dictionaries(st.sampled_from([*EVENT, "time", "position", "subject"]), values)


@given(
    st.none() | st.text() | st.just(CONTENT_TYPE), headers, st.binary() | contents.map(lambda c: json.dumps(c).encode())
)
def test_whatever_comes_is_an_event_or_unreadable(content_type, headers, body):
    try:
        envelope = decode(content_type, headers, body)
    except Unreadable:
        return
    assert decode(CONTENT_TYPE, *encode(envelope)) == envelope
