"""From a message's JSON schema to the parameters of a command, and from their values back to the message's data.

Any schema works: what has no simple form on a command line is taken as JSON text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import click
from pydantic import ValidationError

from bmid.messages.base import Message

__all__ = ["Form", "checked", "form_of"]

M = TypeVar("M", bound=Message)


def _json(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise click.BadParameter(f"this is no JSON: {error}") from None


def _pair(value: str) -> tuple[str, str]:
    key, equals, text = value.partition("=")
    if not key or not equals:
        raise click.BadParameter("write it as KEY=VALUE")
    return key, text


def _text(value: str) -> str:
    """A text, or with @FILE what is in the file: a text on a command line is seen by all who see the processes."""
    if not value.startswith("@"):
        return value
    try:
        with click.open_file(value[1:], encoding="utf-8") as file:
            return str(file.read())
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{value[1:]}: {getattr(error, 'strerror', None) or 'this is no text'}") from None


# A type for click, and the word for it in the help.
Kind = tuple[Any, str | None]
SCALARS: dict[str, Kind] = {
    "string": (click.STRING, "TEXT"),
    "integer": (click.INT, None),
    "number": (click.FLOAT, None),
}

FREE = ("additionalProperties", "patternProperties")  # an object with keys of the user's choice


@dataclass(frozen=True)
class Field:
    """One parameter and the place of its value in the data."""

    path: tuple[str, ...]
    parameter: click.Parameter
    pairs: bool = False


@dataclass(frozen=True)
class Form:
    """The parameters of one message. `subject` is the field that is written without an option, if there is one."""

    fields: tuple[Field, ...]
    subject: str | None

    def parameters(self) -> list[click.Parameter]:
        """For click."""
        return [field.parameter for field in self.fields]

    def data(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The message's data; what was not given is left out."""
        data: dict[str, Any] = {}
        for field in self.fields:
            value = values.get(str(field.parameter.name))
            if value is None or value == ():
                continue
            place = data
            for part in field.path[:-1]:
                place = place.setdefault(part, {})
            place[field.path[-1]] = dict(value) if field.pairs else list(value) if isinstance(value, tuple) else value
        return data


def checked(message: type[M], data: Mapping[str, Any]) -> M:
    """The message. Raises UsageError with all that is wrong."""
    try:
        return message.model_validate(data)
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in one['loc']) or 'message'}: {one['msg']}" for one in error.errors()]
        raise click.UsageError("; ".join(lines)) from None


def form_of(schema: Mapping[str, Any], noun: str, verb: str) -> Form:
    """The form of a message: the field named like the noun, or else `name`, is its subject."""
    properties: Mapping[str, Any] = schema.get("properties", {})
    candidates = [name for name in (noun, "name") if name in properties]
    subject = candidates[0] if candidates and verb != "list" else None
    fields = _fields(schema, schema.get("$defs", {}), (), True, subject)
    return Form(tuple(fields), subject)


def _fields(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], path: tuple[str, ...], needed: bool, subject: str | None
) -> Iterator[Field]:
    for name, raw in schema.get("properties", {}).items():
        field = _resolved(raw, definitions)
        required = needed and name in schema.get("required", ()) and name != "project"
        if name == subject and not path:
            argument = click.Argument([name], required=required or name == "project", metavar=name.upper())
            yield Field((name,), argument)
        elif "properties" in field:
            yield from _fields(field, definitions, (*path, name), False, None)
        else:
            yield _option((*path, name), field, required, definitions)


def _option(path: tuple[str, ...], field: Mapping[str, Any], required: bool, definitions: Mapping[str, Any]) -> Field:
    kind = field.get("type")
    many = kind == "array" or (kind == "object" and any(free in field for free in FREE))
    words = "-".join(path).replace("_", "-")
    name = words[:-1] if many and words.endswith("s") else words
    help_text = str(field.get("description", ""))
    default = field.get("default")
    if default not in (None, [], {}, "", False):
        help_text = f"{help_text}  [default: {default if isinstance(default, str) else json.dumps(default)}]".strip()
    common: dict[str, Any] = {"help": help_text, "required": required}
    parameter = "__".join(path)
    if path == ("project",):
        common["help"] = help_text or "The project; BMI_PROJECT or `project` in the settings file by default."
        return Field(path, click.Option([parameter, "--project"], metavar="PROJECT", **common))
    if kind == "boolean":
        return Field(path, _flag(parameter, name, default, common))
    if kind == "array":
        kinds = _kind(_resolved(field.get("items", {}), definitions))
    else:
        kinds = (_pair, "KEY=VALUE") if many else _kind(field)
    names = [parameter, *dict.fromkeys((f"--{name}", f"--{words}"))]
    option = click.Option(names, type=kinds[0], metavar=kinds[1], multiple=many, **common)
    return Field(path, option, pairs=many and kind == "object")


def _flag(parameter: str, name: str, default: Any, common: Mapping[str, Any]) -> click.Option:
    names = f"--{name}/--no-{name}" if default is not False else f"--{name}"
    return click.Option([parameter, names], is_flag=True, default=None, **common)


def _kind(field: Mapping[str, Any]) -> Kind:
    if "enum" in field:
        return click.Choice([str(value) for value in field["enum"]]), None
    if "const" in field:
        return click.Choice([str(field["const"])]), None
    if "contentMediaType" in field:
        return _text, "TEXT|@FILE"
    return SCALARS.get(str(field.get("type")), (_json, "JSON"))


def _resolved(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema behind references and `or null`, with the field's own description and default."""
    own = {key: value for key, value in field.items() if key in ("description", "default")}
    if "$ref" in field:
        target = definitions[str(field["$ref"]).rpartition("/")[2]]
        inner = {key: value for key, value in _resolved(target, definitions).items() if key != "description"}
        return {**inner, **own}
    choices = [one for one in field.get("anyOf", ()) if one.get("type") != "null"]
    if len(choices) == 1:
        return {**_resolved(choices[0], definitions), **own}
    return field
