"""Whether a schema has only been added to: what was understood before is understood still. No schema is made here.

Two sides look at a message. What others write to us (commands, queries) may be taken more widely, never more
narrowly, and a default never changes, because it is what an old message means. What we write (events, answers) keeps
each field that it had, with its type; a reader must expect new fields, and new values in a list of values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bmid.reference.schema import KIND

__all__ = ["breaks"]

Schema = Mapping[str, Any]
SILENT = frozenset({"$schema", "$id", "$defs", "title", "description", "examples"})
LOWER = ("minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum")
UPPER = ("maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum")
MISSING: Any = object()


def breaks(old: Mapping[str, Schema], new: Mapping[str, Schema]) -> list[str]:
    """All that is not an addition, one line each; both are schemas by name."""
    found = []
    for name, before in old.items():
        after = new.get(name)
        if after is None:
            found.append(f"{name}: the message is gone")
        elif before.get(KIND) != after.get(KIND):
            found.append(f"{name}: was a {before.get(KIND)} and is a {after.get(KIND)}")
        else:
            for side in _sides(before.get(KIND)):
                found += side(before.get("$defs", {}), after.get("$defs", {})).compare(before, after, name)
    return list(dict.fromkeys(found))


def _sides(kind: Any) -> tuple[type[_Side], ...]:
    if kind in ("command", "query"):
        return (_Read,)
    # Both sides write envelopes.
    return (_Read, _Written) if kind == "envelope" else (_Written,)


class _Side:
    """The comparison of two schemas, with what differs between the two sides left open."""

    def __init__(self, old_parts: Mapping[str, Schema], new_parts: Mapping[str, Schema]) -> None:
        self._old_parts = old_parts
        self._new_parts = new_parts

    def compare(self, old: Schema, new: Schema, path: str) -> list[str]:
        """What breaks, of a value at `path`."""
        olds, news = _alternatives(old, self._old_parts), _alternatives(new, self._new_parts)
        found = self.default(old, new, path)
        for one, others in self.pairs(olds, news):
            tries = [self._one(*self.order(one, other), path) for other in others]
            nearest: list[str] = min(tries, key=len)
            found += nearest
        return found

    def pairs(self, olds: Sequence[Schema], news: Sequence[Schema]) -> list[tuple[Schema, Sequence[Schema]]]:
        """Each alternative that must be understood, with those that may understand it."""
        raise NotImplementedError

    def order(self, one: Schema, other: Schema) -> tuple[Schema, Schema]:
        """The two of a pair as old and new."""
        raise NotImplementedError

    def limit(self, key: str, old: Any, new: Any) -> bool:
        """Whether a changed limit or form breaks."""
        raise NotImplementedError

    def required(self, old: set[str], new: set[str]) -> tuple[set[str], str]:
        """The fields whose being required has changed in a way that breaks, and how."""
        raise NotImplementedError

    def default(self, old: Schema, new: Schema, path: str) -> list[str]:
        """Whether a default has changed where one must not."""
        return []

    def _one(self, old: Schema, new: Schema, path: str) -> list[str]:
        if _kind(old) != _kind(new):
            return [f"{path}: the type was {_kind(old)} and is {_kind(new)}"]
        found = [f"{path}: the value {value!r} is gone" for value in _values(old) if value not in _values(new, value)]
        if _values(new) and not _values(old):
            found.append(f"{path}: only some values are left")
        for key in sorted((set(old) | set(new)) - SILENT - {"type", "enum", "const", "default", "required"}):
            found += self._keyword(key, old.get(key, MISSING), new.get(key, MISSING), path)
        wrong, how = self.required(set(old.get("required", ())), set(new.get("required", ())))
        known = wrong & {*old.get("properties", ()), *new.get("properties", ())}
        return found + [f"{path}.{name}: {how}" for name in sorted(known) if not _gone(name, old, new)]

    def _keyword(self, key: str, old: Any, new: Any, path: str) -> list[str]:
        if key == "properties":
            return self._properties(_mapping(old), _mapping(new), path)
        if key in ("items", "additionalProperties") and isinstance(old, Mapping) and isinstance(new, Mapping):
            # Also where both say the same: what a reference leads to may differ.
            return self.compare(old, new, f"{path}[]")
        if old != new and self.limit(key, old, new):
            return [f"{path}: {key} was {_word(old)} and is {_word(new)}"]
        return []

    def _properties(self, old: Mapping[str, Schema], new: Mapping[str, Schema], path: str) -> list[str]:
        found = [f"{path}.{name}: the field is gone" for name in old if name not in new]
        for name in old:
            if name in new:
                found += self.compare(old[name], new[name], f"{path}.{name}")
        return found


class _Read(_Side):
    """We read it: whatever was valid is valid."""

    def pairs(self, olds: Sequence[Schema], news: Sequence[Schema]) -> list[tuple[Schema, Sequence[Schema]]]:
        return [(old, news) for old in olds]

    def order(self, one: Schema, other: Schema) -> tuple[Schema, Schema]:
        return one, other

    def limit(self, key: str, old: Any, new: Any) -> bool:
        return new is not MISSING and (old is MISSING or not _wider(key, old, new))

    def required(self, old: set[str], new: set[str]) -> tuple[set[str], str]:
        return new - old, "the field is required now"

    def default(self, old: Schema, new: Schema, path: str) -> list[str]:
        before, after = old.get("default", MISSING), new.get("default", MISSING)
        # Of a field that was required no message leaves it out.
        if before is MISSING or before == after:
            return []
        return [f"{path}: the default was {_word(before)} and is {_word(after)}"]


class _Written(_Side):
    """We write it: a reader finds what it found before."""

    def pairs(self, olds: Sequence[Schema], news: Sequence[Schema]) -> list[tuple[Schema, Sequence[Schema]]]:
        return [(new, olds) for new in news]

    def order(self, one: Schema, other: Schema) -> tuple[Schema, Schema]:
        return other, one

    def limit(self, key: str, old: Any, new: Any) -> bool:
        return old is not MISSING and (new is MISSING or not _wider(key, new, old))

    def required(self, old: set[str], new: set[str]) -> tuple[set[str], str]:
        return old - new, "the field may be missing now"


def _alternatives(schema: Schema, parts: Mapping[str, Schema]) -> list[Schema]:
    """What a value may be, with references followed."""
    if "$ref" in schema:
        return _alternatives(parts[str(schema["$ref"]).rpartition("/")[2]], parts)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return [one for each in schema[key] for one in _alternatives(each, parts)]
    return [schema]


def _kind(schema: Schema) -> str:
    return str(schema.get("type", "anything"))


def _values(schema: Schema, *free: Any) -> list[Any]:
    """The values that are allowed; `free` where all are."""
    return [schema["const"]] if "const" in schema else list(schema.get("enum", free))


def _wider(key: str, old: Any, new: Any) -> bool:
    """Whether the new limit lets all through that the old one let through."""
    if key in LOWER:
        return bool(new <= old)
    if key in UPPER:
        return bool(new >= old)
    return bool(key == "additionalProperties" and new is True)


def _gone(name: str, old: Schema, new: Schema) -> bool:
    return name in old.get("properties", ()) and name not in new.get("properties", ())


def _mapping(value: Any) -> Mapping[str, Schema]:
    return value if isinstance(value, Mapping) else {}


def _word(value: Any) -> str:
    return "not set" if value is MISSING else repr(value)
