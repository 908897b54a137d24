"""The contract of the messages changes by additions alone: tests/golden holds the schema of each message.

After an addition: bmid schemas --into tests/golden. It refuses everything else.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bmid.cli.main import main
from bmid.handlers.registry import discover
from bmid.reference.addition import breaks
from bmid.reference.schema import schemas

FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN: dict[str, dict[str, Any]] = {file.stem: json.loads(file.read_text()) for file in FOLDER.glob("*.json")}
WORDS = ("description", "title")  # may be put better at any time


def meaning(schema: Any) -> Any:
    """A schema without its texts for people."""
    if isinstance(schema, dict):
        texts = {key for key in WORDS if isinstance(schema.get(key), str)}
        return {key: meaning(one) for key, one in schema.items() if key not in texts}
    return [meaning(one) for one in schema] if isinstance(schema, list) else schema


def test_nothing_but_additions_since_the_golden_schemas() -> None:
    """A removed message or field, another type, narrower limits, a new required field: none of them."""
    assert breaks(GOLDEN, schemas(discover())) == []


def test_every_addition_is_written_down() -> None:
    """So that the next change is held against it."""
    now = schemas(discover())
    assert set(GOLDEN) == set(now), "run: bmid schemas --into tests/golden"
    changed = [name for name in now if meaning(now[name]) != meaning(GOLDEN[name])]
    assert changed == [], "run: bmid schemas --into tests/golden"


def fields(schema: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The path of each table of fields in a schema."""
    yield ()
    yield from (("$defs", part) for part, one in schema.get("$defs", {}).items() if "properties" in one)


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_of_every_message_each_field_that_goes_or_changes_its_type_is_noticed(name: str) -> None:
    """Also inside of nested fields; and each field of an event that may be missing."""
    schema = GOLDEN[name]
    for path in fields(schema):
        table = reduce(lambda place, key: place[key], path, schema)
        for field in table.get("properties", ()):
            gone, other, loose = (copy.deepcopy(schema) for _ in range(3))
            del reduce(lambda place, key: place[key], path, gone)["properties"][field]
            reduce(lambda place, key: place[key], path, other)["properties"][field] = {"type": "odd"}
            assert breaks({name: schema}, {name: gone}), f"{path} {field} is gone"
            assert breaks({name: schema}, {name: other}), f"{path} {field} has another type"
            required = reduce(lambda place, key: place[key], path, loose).get("required", [])
            if field in required and schema["x-bmi-kind"] in ("event", "reply"):
                required.remove(field)
                assert breaks({name: schema}, {name: loose}), f"{path} {field} may be missing"


def test_the_command_writes_additions_and_refuses_the_rest(tmp_path: Path) -> None:
    """What is refused leaves every file as it was."""
    runner = CliRunner()
    assert runner.invoke(main, ["schemas", "--into", str(tmp_path)]).exit_code == 0
    assert set(GOLDEN) == {file.stem for file in tmp_path.iterdir()}
    file = tmp_path / "bmi.node.map.v1.json"
    whole = file.read_text()
    older = json.loads(whole)
    del older["properties"]["force"]
    file.write_text(json.dumps(older))
    assert runner.invoke(main, ["schemas", "--into", str(tmp_path)]).exit_code == 0
    assert file.read_text() == whole
    more = json.loads(whole)
    more["properties"]["colour"] = {"type": "string"}
    file.write_text(json.dumps(more))
    (tmp_path / "bmi.node.paint.v1.json").write_text(json.dumps({**more, "title": "bmi.node.paint.v1"}))
    result = runner.invoke(main, ["schemas", "--into", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr.splitlines()[:2] == [
        "not an addition: bmi.node.map.v1.colour: the field is gone",
        "not an addition: bmi.node.paint.v1: the message is gone",
    ]
    assert json.loads(file.read_text()) == more
