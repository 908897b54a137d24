"""What counts as an addition to a message, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest

from bmid.reference.addition import breaks

Schema = dict[str, Any]
PARTS = {"Part": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}}
NULL = {"type": "null"}
LABEL = {"type": "string", "pattern": "^[a-z]+$", "maxLength": 63}


def message(kind: str, field: Schema | None, *, required: bool = False, **more: Schema) -> dict[str, Schema]:
    properties = {**({"f": field} if field is not None else {}), **more}
    schema = {"x-bmi-kind": kind, "$defs": PARTS, "type": "object", "properties": properties}
    return {"m": {**schema, "required": ["f"] if required else []}}


def changed(kind: str, old: Schema, new: Schema) -> list[str]:
    return breaks(message(kind, old), message(kind, new))


BOTH_BREAK: list[tuple[Schema, Schema]] = [
    ({"type": "string"}, {"type": "integer"}),
    ({"type": "integer"}, {"type": "number", "minimum": 1}),
    ({"enum": ["a", "b"], "type": "string"}, {"enum": ["a"], "type": "string"}),
    ({"type": "string"}, {"enum": ["a"], "type": "string"}),
    (LABEL, {**LABEL, "pattern": "^[b-z]+$"}),
    ({"type": "array", "items": {"type": "string"}}, {"type": "array", "items": {"type": "integer"}}),
    ({"type": "array", "items": {"type": "string"}}, {"type": "string"}),
    ({"$ref": "#/$defs/Part"}, {"type": "string"}),
    ({"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}),
]
READ_BREAKS: list[tuple[Schema, Schema]] = [
    ({"anyOf": [{"type": "string"}, NULL]}, {"type": "string"}),
    ({"type": "string"}, LABEL),
    (LABEL, {**LABEL, "maxLength": 62}),
    ({"type": "array", "maxItems": 32}, {"type": "array", "maxItems": 31}),
    ({"type": "array", "minItems": 1}, {"type": "array", "minItems": 2}),
    ({"type": "integer", "minimum": 0}, {"type": "integer", "minimum": 1}),
    ({"type": "object"}, {"type": "object", "additionalProperties": False}),
    ({"type": "boolean", "default": False}, {"type": "boolean", "default": True}),
    ({"type": "boolean", "default": False}, {"type": "boolean"}),
    ({"anyOf": [{"enum": ["a", "b"], "type": "string"}, NULL]}, {"anyOf": [{"enum": ["a"], "type": "string"}, NULL]}),
]
BOTH_ADD: list[tuple[Schema, Schema]] = [
    ({"enum": ["a"], "type": "string"}, {"enum": ["a", "b"], "type": "string"}),
    ({"const": "a", "type": "string"}, {"enum": ["a", "b"], "type": "string"}),
    ({"type": "string", "description": "old"}, {"type": "string", "description": "better"}),
    ({"$ref": "#/$defs/Part"}, {"$ref": "#/$defs/Part", "description": "said better"}),
]


@pytest.mark.parametrize(("old", "new"), BOTH_BREAK)
@pytest.mark.parametrize("kind", ["command", "query", "event", "reply", "envelope"])
def test_another_type_or_form_breaks_whoever_writes_it(kind: str, old: Schema, new: Schema) -> None:
    assert changed(kind, old, new)


@pytest.mark.parametrize(("old", "new"), READ_BREAKS)
@pytest.mark.parametrize("kind", ["command", "query", "envelope"])
def test_what_we_read_is_never_taken_more_narrowly(kind: str, old: Schema, new: Schema) -> None:
    """And may be taken more widely."""
    assert changed(kind, old, new)
    if "default" not in old:
        assert changed("command", new, old) == []


@pytest.mark.parametrize(("old", "new"), [pair for pair in READ_BREAKS if "default" not in pair[0]])
def test_what_we_write_never_becomes_wider(old: Schema, new: Schema) -> None:
    """A reader that relied on it would stumble: over null, over longer texts, over other names."""
    if old.get("anyOf") and new.get("anyOf"):
        return  # a new value in a list of values is an addition
    assert changed("event", new, old)
    assert changed("envelope", new, old)


@pytest.mark.parametrize(("old", "new"), BOTH_ADD)
@pytest.mark.parametrize("kind", ["command", "query", "event", "reply", "envelope"])
def test_a_new_value_or_a_better_text_is_an_addition(kind: str, old: Schema, new: Schema) -> None:
    assert changed(kind, old, new) == []


@pytest.mark.parametrize("kind", ["command", "query", "event", "reply", "envelope"])
def test_a_new_optional_field_and_a_new_message_are_additions(kind: str) -> None:
    text = {"type": "string"}
    old = message(kind, text)
    assert breaks(old, message(kind, text, g=text)) == []
    assert breaks(old, {**old, "n": old["m"]}) == []


def test_what_a_reference_leads_to_is_looked_at_also_in_lists() -> None:
    """The reference itself stays the same."""
    old = message("event", {"type": "array", "items": {"$ref": "#/$defs/Part"}})
    new = {"m": {**old["m"], "$defs": {"Part": {**PARTS["Part"], "properties": {}}}}}
    assert breaks(old, new) == ["m.f[].a: the field is gone"]


def test_a_field_that_is_required_anew_breaks_senders_alone() -> None:
    text = {"type": "string"}
    for kind, broken in (("command", True), ("query", True), ("envelope", True), ("event", False)):
        assert bool(breaks(message(kind, text), message(kind, text, required=True))) is broken
        assert bool(breaks(message(kind, None), message(kind, text, required=True))) is broken


def test_a_field_that_may_be_missing_breaks_readers_alone() -> None:
    text = {"type": "string"}
    for kind, broken in (("event", True), ("reply", True), ("envelope", True), ("command", False)):
        assert bool(breaks(message(kind, text, required=True), message(kind, text))) is broken


def test_a_message_of_another_kind_is_another_message() -> None:
    text = {"type": "string"}
    assert breaks(message("command", text), message("event", text)) == ["m: was a command and is a event"]
