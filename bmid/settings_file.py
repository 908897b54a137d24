"""Reads the settings file. What is wrong in it is told with file, line, key and the nearest known key."""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from bmid.errors import Misconfigured
from bmid.settings import Settings, Shard

__all__ = ["load"]


def load(path: Path) -> Settings:
    """The settings of a file. Misconfigured, with file, line, key, what is wrong and the nearest known key."""
    try:
        text = path.read_text()
    except OSError as error:
        raise Misconfigured(f"{path}: {error.strerror}", todo="Name the settings file with --config.") from error
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{path}: no TOML: {error}") from error
    try:
        return Settings(**content)
    except ValidationError as error:
        lines = [f"{path}:{_line(text, one['loc'])}: {_explain(one)}" for one in error.errors(include_input=False)]
        raise Misconfigured("\n".join(lines)) from error


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
