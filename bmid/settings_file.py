"""Reads the settings file. What is wrong in it is told with file, line, key and the nearest known key."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bmid.errors import Misconfigured
from bmid.settings import Settings, Shard
from bmid.settings_part import Network

__all__ = ["load"]


def load(path: Path) -> Settings:
    """The settings of a file. Misconfigured, with file, line, key, what is wrong and the nearest known key."""
    try:
        text = path.read_text()
    except OSError as error:
        raise Misconfigured(f"{path}: {error.strerror}", todo="Name the settings file with --config.") from error
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{path}: no TOML: it is not UTF-8: {error}", todo="Save it as UTF-8.") from error
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{path}: no TOML: {error}", todo="Write it as `bmid settings` shows.") from error
    try:
        settings = Settings(**content)
    except ValidationError as error:
        lines = [f"{_place(path, text, one['loc'])}: {_explain(one)}" for one in error.errors(include_input=False)]
        raise Misconfigured(
            "\n".join(lines), todo="`bmid settings` prints a file with every setting in it, and what it is for."
        ) from error
    lines = [f"{_place(path, text, where)}: {'.'.join(where)}: {what}" for where, what in _contradictions(settings)]
    if lines:
        raise Misconfigured(
            "\n".join(lines), todo="`bmid settings` prints a file with every setting in it, and what it is for."
        )
    return settings


def _contradictions(settings: Settings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Values that are good each by itself, and not together: key and reason."""
    network, shards = settings.network, settings.target.shards
    ends = (network.subnet.network_address, network.subnet.broadcast_address)
    for name, address in (("first", network.first), ("last", network.last)):
        if address not in network.subnet or address in ends:
            yield ("network", name), f"{address} is no address for a node in {network.subnet}"
    if network.last < network.first:
        yield ("network", "last"), f"{network.last} comes before first, {network.first}"
    names = [shard.name for shard in shards]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield ("target", "shards"), f"two shards have the name {name}"
    for shard in shards:
        if _is_given(shard.portal_address, network):
            where = f"the portal {shard.portal_address} of shard {shard.name}"
            yield ("target", "shards"), f"{where} is among the addresses that nodes are given"


def _is_given(address: str, network: Network) -> bool:
    try:
        return network.first <= IPv4Address(address) <= network.last
    except ValueError:
        return False


def _place(path: Path, text: str, where: tuple[Any, ...]) -> str:
    """The variable that a value came from, or else the line of the file."""
    prefix, separator = Settings.model_config["env_prefix"], Settings.model_config["env_nested_delimiter"] or "__"
    variable = (prefix + separator.join(str(part) for part in where)).upper()
    return variable if variable in os.environ else f"{path}:{_line(text, where)}"


def _explain(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{where}: {error['msg']}"
    known = _known(error["loc"][:-1])
    near = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
    return f"{where}: unknown key; {hint}"


def _known(path: tuple[Any, ...]) -> list[str]:
    model: Any = Settings
    for part in path:
        if isinstance(part, int):
            model = Shard
            continue
        field = model.model_fields.get(str(part))
        model = field.annotation if field else Settings
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            model = Shard
    return list(model.model_fields)


def _line(text: str, path: tuple[Any, ...]) -> int:
    """The line where a key, or at least its table, stands; 1 if it can't be found."""
    names = [str(part) for part in path if not isinstance(part, int)]
    best, section = 1, ""
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[{1,2}\s*([A-Za-z0-9_.-]+)\s*\]{1,2}", line)
        if header:
            section = header.group(1)
            if section == ".".join(names) or ".".join(names).startswith(f"{section}."):
                best = number
            continue
        key = re.match(r"\s*([A-Za-z0-9_-]+)\s*=", line)
        full = ".".join(part for part in (section, key.group(1) if key else "") if part)
        if key and full == ".".join(names):
            return number
    return best
