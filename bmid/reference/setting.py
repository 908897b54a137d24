"""The settings file with every setting in it, commented out, with its default and its reason."""

from __future__ import annotations

import json
import textwrap
import types
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bmid.settings import Settings, Shard

__all__ = ["settings_file"]

HEAD = """\
# Settings of bmid, /etc/bmid/bmid.toml.
#
# Every setting is here with its default; where there is none, with an example. Lines that begin with "# " explain,
# those that begin with "#" alone are settings: take the # away to change one. An unknown key is an error that names
# its line, and `bmid check` looks at whatever is named here.
# Secrets are never in this file, only the files that hold them. The environment wins over the file: BMID_ and the
# name, with two underscores for each dot, as in BMID_ENGINE__WORKERS=8.
"""
# Of settings that have no default, or one that differs from machine to machine.
EXAMPLES: dict[str, Any] = {
    "head.name": "head-a",
    "database.password_file": "/etc/bmid/database.password",
    "broker.password_file": "/etc/bmid/broker.password",
    "broker.ca_file": "/etc/bmid/broker-ca.pem",
    "images.import_folder": "/srv/bmi/imports",
    "images.export_folder": "/srv/bmi/exports",
    "http.url": "https://head-a.example.org:8470",
    "target.shards.name": "s0",
    "target.shards.socket": "/var/run/tgtd/socket.0",
    "target.shards.portal_address": "10.77.0.1",
}
WIDTH = 118


def settings_file() -> str:
    """The text of bmid.toml."""
    lines = [HEAD]
    for name, field in Settings.model_fields.items():
        lines += _section(name, _model(field))
    return "\n".join(lines).rstrip() + "\n"


def _section(path: str, model: type[BaseModel]) -> Iterator[str]:
    """A table: its own keys first, then the tables in it."""
    yield from _comment(model.__doc__ or "")
    listed = model is Shard
    yield f"#[[{path}]]" if listed else f"[{path}]"
    tables = []
    for name, field in model.model_fields.items():
        below = _table(field)
        if below is None:
            yield from _setting(f"{path}.{name}", name, field)
        else:
            tables.append((f"{path}.{name}", below))
    yield ""
    for name, below in tables:
        yield from _section(name, below)


def _setting(path: str, name: str, field: FieldInfo) -> Iterator[str]:
    value = field.default if field.default_factory is None else None
    absent = path in EXAMPLES
    note = " (no default: an example)" if absent and path != "head.name" else ""
    choices = f" ({', '.join(get_args(field.annotation))})" if get_origin(field.annotation) is Literal else ""
    yield from _comment(f"{field.description}{choices}{note}")
    yield f"#{name} = {_toml(EXAMPLES[path] if absent else value)}"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), WIDTH)]


def _model(field: FieldInfo) -> type[BaseModel]:
    found = _table(field)
    if found is None:
        raise TypeError(f"{field} is no table")
    return found


def _table(field: FieldInfo) -> type[BaseModel] | None:
    """The model behind a table, or behind a list of tables."""
    kinds = [field.annotation]
    if get_origin(field.annotation) in (tuple, Union, types.UnionType):
        kinds = list(get_args(field.annotation))
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(one) for one in value)}]"
    plain = str(value) if isinstance(value, Path | IPv4Address | IPv4Network) else value
    return json.dumps(plain)
