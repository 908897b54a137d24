"""Lists as the user of bmi-publish meets them: whole, however many pages they have, or as far as he wants them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bmi_publish import Client
from bmid.handlers.list_nodes import ListNodes
from bmid.messages.envelope import Envelope
from lab.rabbitmq import RabbitMQ
from tests.support.command_line import Run
from tests.support.fake_bmid import FakeBmid

NODES = [f"n{number:04}" for number in range(1200)]


class Pages:
    """Answers a list from rows; the cursor is the number of rows before."""

    def __init__(self, member: str, rows: list[dict[str, Any]]) -> None:
        self._member = member
        self._rows = rows

    def __call__(self, query: Envelope) -> dict[str, Any]:
        start, limit = int(query.data.get("after") or 0), query.data["limit"]
        more = start + limit < len(self._rows)
        return {self._member: self._rows[start : start + limit], "next": str(start + limit) if more else None}


@pytest.fixture
def bmid(bmid: FakeBmid) -> FakeBmid:
    """One with long lists."""
    bmid.results["bmi.node.list.v1"] = Pages("nodes", [{"node": name, "state": "free"} for name in NODES])
    operations = [{"operation": f"o{number}", "phase": "failed"} for number in range(250)]
    bmid.results["bmi.operation.list.v1"] = Pages("operations", operations)
    return bmid


def test_a_list_is_followed_to_its_end(run: Run, bmid: FakeBmid) -> None:
    result = run("node", "list", "-o", "value", "-c", "node")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.split() == NODES
    assert [one.data.get("after") for one in bmid.asked] == [None, "500", "1000"]
    assert [one["node"] for one in json.loads(run("node", "list", "-o", "json").stdout)] == NODES


def test_a_limit_counts_all_rows_and_says_how_to_go_on(run: Run, bmid: FakeBmid) -> None:
    result = run("node", "list", "--limit", "1100", "-o", "value", "-c", "node")
    assert result.stdout.split() == NODES[:1100]
    assert [one.data["limit"] for one in bmid.asked] == [1000, 100]
    assert "--after 1100" in result.stderr
    result = run("node", "list", "--limit", "100", "--after", "1100", "-o", "value", "-c", "node")
    assert (result.stdout.split(), result.stderr) == (NODES[1100:], "")


def test_of_the_newest_first_a_page_is_shown_unless_more_is_asked_for(run: Run, bmid: FakeBmid) -> None:
    result = run("operation", "list")
    assert len(result.stdout.splitlines()) == 1 + 100
    assert "--after 100" in result.stderr
    assert len(run("operation", "list", "--limit", "300").stdout.splitlines()) == 1 + 250


def test_filters_and_orders_are_options_and_wrong_ones_are_not_sent(run: Run, bmid: FakeBmid) -> None:
    words = ("--state", "free", "--label", "rack=r7", "--label", "gpu=a=1", "--name", "n1*", "--order", "-created_at")
    assert run("node", "list", *words).exit_code == 0
    asked = {
        "state": "free", "labels": {"rack": "r7", "gpu": "a=1"}, "name": "n1*", "order": "-created_at", "limit": 500,
    }  # fmt: skip
    assert bmid.asked[0].data == asked
    sent = len(bmid.asked)
    for wrong in (
        ("--limit", "0"), ("--limit", "-1"), ("--order", "size"), ("--state", "odd"), ("--name", "A"), ("--label", "x"),
        ("--image", "debian"), ("--after", ""),
    ):  # fmt: skip
        assert run("node", "list", *wrong).exit_code == 2, wrong
    assert len(bmid.asked) == sent


def test_the_users_own_project_is_no_filter_for_what_belongs_to_the_site(run: Run, bmid: FakeBmid) -> None:
    run("node", "list")
    run("node", "list", "--project", "p2")
    run("operation", "list")
    assert [one.data.get("project") for one in bmid.asked if "after" not in one.data] == [None, "p2", "p1"]


def test_a_table_leaves_out_what_no_row_says_and_what_fits_into_no_cell(run: Run, bmid: FakeBmid) -> None:
    rows = [
        {"image": "a", "parent": None, "default_for": [{"os": "x"}], "children": 0, "description": "", "disks": 2},
        {"image": "b", "parent": None, "default_for": [], "children": 0, "description": "", "disks": 0},
    ]
    bmid.results["bmi.image.list.v1"] = Pages("images", rows)
    assert run("image", "list").stdout.splitlines() == [
        "IMAGE  CHILDREN  DISKS",
        "a      0         2",
        "b      0         0",
    ]
    assert json.loads(run("image", "list", "-o", "json").stdout) == rows


def test_a_service_gets_row_by_row_and_asks_for_no_page_too_many(rabbitmq: RabbitMQ, bmid: FakeBmid) -> None:
    with Client(rabbitmq.url("alice"), source="/tests") as client:
        rows = client.rows(ListNodes(limit=10))
        assert [next(rows)["node"] for _ in range(10)] == NODES[:10]
        assert len(bmid.asked) == 1
        assert next(rows)["node"] == NODES[10]
        assert [row["node"] for row in client.rows(ListNodes(limit=100), most=150)] == NODES[:150]
        assert [row["node"] for row in client.rows(ListNodes(limit=1000))] == NODES
