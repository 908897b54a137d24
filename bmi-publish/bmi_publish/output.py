"""How records are shown on standard output: table, json, yaml or value. What they mean is not known here."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import click

__all__ = ["FORMATS", "chosen", "records_of", "show", "value_line"]

FORMATS = ("table", "json", "yaml", "value")
Record = Mapping[str, Any]
ID = re.compile(r"^[0-9a-f-]{32,}$")
TIME = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?(?:\+00:00|Z)$")
UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def show(
    records: Sequence[Record], form: str, columns: Sequence[str], *, single: bool, usual: Sequence[str] = ()
) -> None:
    """Print records. `columns` may be dotted paths; `usual` are those of a table where none are asked for."""
    if form in ("json", "yaml"):
        found = [chosen(record, columns) for record in records]
        click.echo(_dump(found[0] if single and found else found, form), nl=form == "json")
        return
    names = list(columns) or list(usual) or _names(records, filled=form == "table")
    if form == "value":
        for record in records:
            click.echo(value_line(record, names))
    elif single and not columns and not usual:
        _table([[_title(name), _cell(name, value)] for record in records for name, value in record.items()])
    else:
        rows = [[_cell(name, _at(record, name)) for name in names] for record in records]
        _table([[_title(name) for name in names], *rows])


def chosen(record: Record, columns: Sequence[str]) -> dict[str, Any]:
    """These columns of a record, or all where none are named."""
    return {name: _at(record, name) for name in columns} if columns else dict(record)


def value_line(record: Record, columns: Sequence[str]) -> str:
    """These columns in a line, with tabs between them."""
    return "\t".join(_text(_at(record, name)) for name in columns)


def records_of(result: Mapping[str, Any]) -> tuple[list[Record], bool]:
    """The records in the answer to a query, and whether it is about a single thing: {"nodes": [...]} is a list (with
    `next` where it comes in pages), {"node": {...}} and anything else one record."""
    values = [value for key, value in result.items() if key != "next"]
    if len(values) == 1 and isinstance(values[0], list):
        return [one if isinstance(one, dict) else {"value": one} for one in values[0]], False
    if len(values) == 1 and isinstance(values[0], dict):
        return [values[0]], True
    return [result], True


def _dump(value: Any, form: str) -> str:
    if form == "json":
        return json.dumps(value, indent=2, ensure_ascii=False)
    import yaml  # noqa: PLC0415 - only this format needs it

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))


def _names(records: Sequence[Record], *, filled: bool) -> list[str]:
    """Columns for a list: what fits into a cell. Of ids and digests only the first column, what the list is about;
    `filled`: only where any record says something."""
    names = list(dict.fromkeys(name for record in records for name in record))
    values = {name: [record.get(name) for record in records] for name in names}
    return [
        name
        for index, name in enumerate(names)
        if index == 0
        or not (
            any(_deep(value) or (isinstance(value, str) and ID.match(value)) for value in values[name])
            or (filled and all(value in (None, "", []) for value in values[name]))
        )
    ]


def _deep(value: Any) -> bool:
    """Whether it has parts of its own, so that a cell can't show it."""
    return isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, dict) for one in value))


def _at(record: Record, path: str) -> Any:
    value: Any = record
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ",".join(value)
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else str(value)
    # A terminal obeys control characters, and some of this text comes from other people.
    return "".join(char if char.isprintable() else " " for char in text)


def _cell(name: str, value: Any) -> str:
    """For people: sizes with units, times to the second."""
    if name == "size" and isinstance(value, int) and not isinstance(value, bool):
        power = min(max(value.bit_length() - 1, 0) // 10, len(UNITS) - 1)
        return f"{value / 1024**power:.{1 if power else 0}f} {UNITS[power]}"
    if isinstance(value, str) and (found := TIME.match(value)):
        return f"{found[1]}Z"
    return _text(value)


def _title(name: str) -> str:
    return name.upper().replace("_", " ")


def _table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))] if rows else []
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
