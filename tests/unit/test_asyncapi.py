"""The AsyncAPI document: its own parser reads it without an error, and finds every message of the registry in it."""

from __future__ import annotations

import copy
import json
import re
import subprocess
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from bmid.amqp.topology import COMMANDS, EVENTS, QUERIES
from bmid.cli.main import main
from bmid.handlers.registry import discover
from bmid.reference.asyncapi import document
from tests.support.node import node

CHECK = Path(__file__).parents[1] / "support/asyncapi/check.mjs"
ERROR = 0  # the severity of a diagnostic
REGISTRY = discover()


def read(*documents: str) -> list[dict[str, Any]]:
    """What the parser says to each document."""
    done = subprocess.run(
        [node(), str(CHECK)], input=json.dumps(documents), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    results: list[dict[str, Any]] = json.loads(done.stdout)
    return results


def errors(result: dict[str, Any]) -> list[str]:
    told = [f"{one['path']}: {one['message']}" for one in result["diagnostics"] if one["severity"] == ERROR]
    return [*told, *result["misfits"]]


def printed(*words: str) -> str:
    result = CliRunner().invoke(main, ["asyncapi", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_parser_of_asyncapi_reads_what_is_printed_and_finds_every_message() -> None:
    """As JSON and as YAML; each command and query received, each event sent, each query answered, with an example."""
    in_json, in_yaml = read(printed(), printed("-o", "yaml"))
    assert errors(in_json) == errors(in_yaml) == []
    assert in_json["operations"] == in_yaml["operations"]
    operations = {one["id"]: one for one in in_json["operations"]}
    public = {kind for kind, handler in REGISTRY.commands.items() if not handler.internal}
    received = {kind for kind, one in operations.items() if one["action"] == "receive"}
    assert received == public | set(REGISTRY.queries)
    assert set(operations) - received == set(REGISTRY.events)
    assert all(one["messages"] == [kind] for kind, one in operations.items())
    answers = ["bmi.query.answered.v1", "bmi.query.failed.v1"]
    for kind, one in operations.items():
        assert one["answers"] == (answers if kind in REGISTRY.queries else [])
    assert set(in_json["messages"]) == {*operations, *answers}
    assert in_json["examples"] == len(in_json["messages"])


def test_channels_are_the_exchanges_that_are_declared() -> None:
    channels = document(REGISTRY)["channels"]
    exchanges = {name: one["bindings"]["amqp"]["exchange"] for name, one in channels.items() if "bindings" in one}
    assert {name: (one["name"], one["type"], one["durable"]) for name, one in exchanges.items()} == {
        "commands": (COMMANDS.exchange.name, COMMANDS.exchange.kind, True),
        "queries": (QUERIES.exchange.name, QUERIES.exchange.kind, True),
        "events": (EVENTS.name, EVENTS.kind, True),
    }


def test_a_command_says_every_event_that_may_answer_it() -> None:
    """Also what ends a dry run and, where a command can be to many nodes, a group."""
    operations = document(REGISTRY)["operations"]
    common = {f"bmi.operation.{one}.v1" for one in ("accepted", "planned", "failed")}
    for kind, handler in REGISTRY.commands.items():
        if not handler.internal:
            told = set(re.findall("`(.+?)`", operations[kind]["description"]))
            group = {"bmi.group.finished.v1"} if "nodes" in handler.command.model_fields else set()
            assert told == {handler.outcome.type, *common, "bmi.command.rejected.v1", *group}


def test_the_two_forms_say_the_same() -> None:
    assert yaml.safe_load(printed("-o", "yaml")) == json.loads(printed())


MAP = ("components", "messages", "bmi.node.map.v1")
EXAMPLE = (*MAP, "examples", 0, "payload")
FAULTS: dict[str, tuple[tuple[Any, ...], Callable[[Any], None]]] = {
    "an example without a required field": ((*EXAMPLE, "data"), lambda data: data.pop("project")),
    "an example with a name that is none": ((*EXAMPLE, "data"), lambda data: data.update(node="N 1")),
    "an example of another type": (EXAMPLE, lambda example: example.update(type="bmi.node.unmap.v1")),
    "a message whose schema is gone": (("components", "schemas"), lambda schemas: schemas.pop("bmi.node.map.v1")),
    "an operation without a channel": (("operations", "bmi.node.map.v1"), lambda one: one.pop("channel")),
    "a channel that is not there": (("channels",), lambda channels: channels.pop("events")),
    "an action that is none": (("operations", "bmi.node.map.v1"), lambda one: one.update(action="publish")),
    "a schema that is none": (("components", "schemas", "bmi.node.map.v1"), lambda one: one.update(type="text")),
    "a binding that is none": (
        ("channels", "commands", "bindings", "amqp"),
        lambda one: one.update({"is": "exchange"}),
    ),
}


def test_breaking_the_document_is_noticed() -> None:
    """Each fault alone makes an error."""
    documents = []
    for path, spoil in FAULTS.values():
        spoiled = copy.deepcopy(document(REGISTRY))
        spoil(reduce(lambda place, key: place[key], path, spoiled))
        documents.append(json.dumps(spoiled))
    unnoticed = [name for name, result in zip(FAULTS, read(*documents), strict=True) if not errors(result)]
    assert unnoticed == []


@pytest.mark.parametrize("word", ["password", "localhost:5672"])
def test_nothing_of_a_site_stands_in_it(word: str) -> None:
    """It is the same for everybody: where the broker is are variables."""
    assert word not in printed().lower().replace("userpassword", "")
