"""What bmi-publish knows while it is left on: which events are wanted, and how the nodes stand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from bmi_publish import roster as module
from bmi_publish.error import QueryFailed, Unreachable
from bmi_publish.listen import Choice, line_of
from bmi_publish.live import table_of
from bmi_publish.roster import Roster
from bmid.errors import Problem
from bmid.handlers.list_nodes import ListNodes
from bmid.messages.base import Query
from bmid.messages.envelope import Envelope

FREE = {"node": "n1", "state": "free", "project": None, "image": None, "disk": None, "address": None}
MAPPED = {**FREE, "state": "mapped", "project": "p1", "image": "p1/i", "disk": "d1", "address": "10.0.0.9"}


def event(kind: str = "bmi.node.mapped.v1", subject: str = "node/n1", **data: Any) -> Envelope:
    time = datetime(2026, 11, 21, 9, tzinfo=UTC)
    return Envelope(id="1", source="/s", type=kind, time=time, subject=subject, data=data)


@pytest.mark.parametrize(
    ("choice", "keys"),
    [
        (Choice(), ("#",)),
        (Choice(project="p1"), ("#.p1",)),
        (Choice(["bmi.node.#", "bmi.image.imported.v1"]), ("bmi.node.#.*", "bmi.image.imported.v1.*")),
        (Choice(["bmi.node.booted.v1"], "p1"), ("bmi.node.booted.v1.p1",)),
        # The accepted events are needed too, to know what is about the node.
        (Choice(["bmi.node.booted.v1"], "p1", ["n1"]), ("#.p1",)),
    ],
)
def test_no_more_is_bound_than_is_wanted(choice: Choice, keys: tuple[str, ...]) -> None:
    assert choice.keys() == keys


def test_a_type_may_have_the_wildcards_of_routing_keys() -> None:
    wanted = {"bmi.node.booted.v1": True, "bmi.node.boot-failed.v1": True, "bmi.image.imported.v1": False}
    for pattern in ("bmi.node.#", "bmi.node.*.v1"):
        assert {kind: Choice([pattern]).takes(event(kind)) for kind in wanted} == wanted
    assert not Choice(["bmi.node.*"]).takes(event("bmi.node.booted.v1"))


def test_columns_are_chosen_and_a_time_is_read_by_people_and_programs() -> None:
    one = event(disk="d1", node="n1", project="p1")
    assert json.loads(line_of(one, "json", ["data.disk", "type"])) == {"data.disk": "d1", "type": one.type}
    assert line_of(one, "table", ["data.disk", "subject"]) == "d1\tnode/n1"
    assert line_of(one, "table").startswith("2026-11-21T09:00:00Z  bmi.node.mapped.v1")


@dataclass
class Site:
    """Answers as a bmid with these nodes; `asked` is what it was asked."""

    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    silent: bool = False

    def query(self, query: Query, _timeout: float, /) -> dict[str, Any]:
        name = query.payload()["node"]
        self._hear(name)
        if name not in self.nodes:
            raise QueryFailed(Problem.of("node-unknown", "there is none"))
        return {"node": {**self.nodes[name], "boot": {"stage": "booted"} if self.nodes[name]["disk"] else None}}

    def rows(self, query: Query, _timeout: float, /) -> Iterator[dict[str, Any]]:
        assert isinstance(query, ListNodes)
        self._hear("all")
        yield from self.nodes.values()

    def _hear(self, what: str) -> None:
        if self.silent:
            raise Unreachable.of("unreachable", "nobody answers", "Ask again.")
        self.asked.append(what)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting for what else an operation may say."""
    monkeypatch.setattr(module, "SETTLE", 0.0)
    monkeypatch.setattr(module, "STARTED", 0.0)


def test_all_are_asked_for_once_and_then_only_what_an_event_is_about() -> None:
    site = Site({"n1": FREE, "n2": {**FREE, "node": "n2"}})
    roster = Roster(site)
    assert [row["node"] for row in roster.refresh()] == ["n1", "n2"]
    assert roster.refresh() == []
    site.nodes["n1"] = MAPPED
    roster.hear(event(node="n1"))
    assert roster.refresh() == [{**MAPPED, "boot": "booted"}]
    del site.nodes["n2"]
    roster.hear(event("bmi.node.removed.v1", "node/n2"))
    assert roster.refresh() == [{"node": "n2", "state": "removed"}]
    assert site.asked == ["all", "n1", "n2"]


def test_the_end_of_an_operation_is_about_the_node_that_its_acceptance_named() -> None:
    site = Site({"n1": FREE})
    roster = Roster(site)
    roster.refresh()
    roster.hear(event("bmi.operation.accepted.v1", "operation/o1", operation="o1", about="node/n1"))
    roster.refresh()
    roster.hear(event("bmi.operation.failed.v1", "operation/o1", operation="o1"))
    roster.hear(event("bmi.operation.failed.v1", "operation/o2", operation="o2"))
    roster.refresh()
    assert site.asked == ["all", "n1", "n1"]


def test_what_changed_last_is_on_a_terminal_with_few_lines() -> None:
    site = Site({f"n{number}": {**FREE, "node": f"n{number}"} for number in range(20)})
    roster = Roster(site)
    roster.refresh()
    site.nodes["n3"] = {**MAPPED, "node": "n3", "image": "an-image-with-a-name-that-does-not-fit-into-a-cell"}
    roster.hear(event(subject="node/n3"))
    roster.refresh()
    drawn = drawn_on(roster, lines=7)
    assert [line.split()[0] for line in drawn[1:-1]] == ["n3", "n6", "n7", "n8", "n9"]
    assert (len(drawn), drawn[-1].strip()) == (7, "20 nodes, here the 5 that changed last")
    assert drawn_on(roster, lines=22)[-1].strip() == "20 nodes"


def drawn_on(roster: Roster, lines: int) -> list[str]:
    """The lines of the table."""
    console = Console(file=StringIO(), width=60, height=lines)
    with console.capture() as capture:
        console.print(table_of(roster.rows, lines))
    return capture.get().splitlines()


def test_many_at_once_come_in_portions_and_a_list_keeps_what_is_known_of_boots() -> None:
    site = Site({f"n{number}": {**MAPPED, "node": f"n{number}"} for number in range(40)})
    roster = Roster(site)
    assert len(roster.refresh()) == 32
    assert roster.wait() == 0
    assert len(roster.refresh()) == 8
    assert {row["boot"] for row in roster.rows.values()} == {"booted"}
    roster.missed()
    assert roster.refresh() == []
    assert (len(site.asked), site.asked.count("all")) == (42, 2)


def test_a_question_that_nobody_answers_is_asked_again() -> None:
    site = Site({"n1": FREE})
    roster = Roster(site)
    roster.refresh()
    site.nodes["n1"] = MAPPED
    roster.hear(event(node="n1"))
    site.silent = True
    with pytest.raises(Unreachable):
        roster.refresh()
    assert roster.wait() == 0
    site.silent = False
    assert [row["state"] for row in roster.refresh()] == ["mapped"]
    assert roster.wait() > 1


def test_of_one_project_only_its_nodes_are_shown_and_the_one_that_leaves() -> None:
    site = Site({"n1": MAPPED, "n2": {**FREE, "node": "n2"}})
    roster = Roster(site, "p1")
    assert [row["node"] for row in roster.refresh()] == ["n1"]
    site.nodes["n1"] = FREE
    roster.missed()
    assert roster.refresh() == [{"node": "n1", "state": "free"}]
    assert roster.rows == {}
