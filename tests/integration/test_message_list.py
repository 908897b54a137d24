"""Lists over the real broker, on both kinds of database: pages, filters, lineage, and what is wrong with a question."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pika

from bmid.handlers.list_disks import ListDisks
from bmid.handlers.list_images import ListImages
from bmid.handlers.list_nodes import ListNodes
from bmid.handlers.list_operations import ListOperations
from bmid.handlers.map_node import MapNode
from bmid.handlers.show_image import ShowImage
from bmid.handlers.show_operation import ShowOperation
from bmid.handlers.unmap_node import UnmapNode
from bmid.messages.envelope import Envelope, encode
from tests.support.bmid import House

REPLIES = "amq.rabbitmq.reply-to"


class Asker:
    """Asks as any program can, also what no client of ours would send."""

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._answers: list[bytes] = []
        self._channel.basic_consume(REPLIES, lambda *delivery: self._answers.append(delivery[3]), auto_ack=True)

    def problem(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        """The problem that such a query is answered with."""
        identifier = str(uuid.uuid4())
        headers, body = encode(Envelope(id=identifier, source="/odd", type=f"bmi.{kind}.list.v1", data=data))
        properties = pika.BasicProperties(
            content_type="application/cloudevents+json", headers=headers, user_id="alice", correlation_id=identifier,
            reply_to=REPLIES,
        )  # fmt: skip
        self._channel.basic_publish("bmi.queries", f"bmi.{kind}.list.v1", body, properties)
        for _ in range(200):
            self._connection.process_data_events(0.1)
            if self._answers:
                return dict(json.loads(self._answers.pop())["data"]["problem"])
        raise TimeoutError("no answer")

    def close(self) -> None:
        self._connection.close()


def test_what_is_wrong_with_a_question_is_said_and_nothing_breaks(house: House) -> None:
    house.project(), house.project()
    cursor = house.query(ListOperations(limit=1))["next"]
    assert cursor
    asker = Asker(house.url("alice"))
    try:
        for kind, data, slug in (
            ("node", {"limit": 0}, "data-invalid"), ("node", {"limit": 1001}, "data-invalid"),
            ("node", {"limit": "many"}, "data-invalid"), ("node", {"order": "size"}, "data-invalid"),
            ("node", {"order": ["name"]}, "data-invalid"), ("node", {"offset": 3}, "data-invalid"),
            ("node", {"state": "parked"}, "data-invalid"), ("node", {"name": "%"}, "data-invalid"),
            ("node", {"image": "debian"}, "data-invalid"), ("node", {"labels": {"'; --": "x"}}, "data-invalid"),
            ("node", {"labels": ["rack"]}, "data-invalid"), ("node", {"after": ""}, "data-invalid"),
            ("node", {"after": "a" * 513}, "data-invalid"), ("node", {"after": "nonsense"}, "cursor-invalid"),
            ("node", {"after": cursor}, "cursor-invalid"), ("operation", {"after": cursor + "A"}, "cursor-invalid"),
            ("operation", {"since": "yesterday"}, "data-invalid"),
            ("operation", {"since": "2026-11-21T08:00:00"}, "data-invalid"),
            ("operation", {"since": "0001-01-01T00:00:00+14:00"}, "data-invalid"),
            ("operation", {"phase": "done"}, "data-invalid"), ("disk", {"head": "a/b"}, "data-invalid"),
            ("image", {"parent": "p/../x"}, "data-invalid"), ("project", {"project": "p1"}, "data-invalid"),
        ):  # fmt: skip
            problem = asker.problem(kind, data)
            assert problem["type"] == f"urn:bmi:problem:{slug}", (kind, data, problem)
    finally:
        asker.close()
    assert house.query(ListNodes(name="none-such*")) == {"nodes": [], "next": None}


def test_a_list_is_told_in_pages_until_next_is_null(house: House) -> None:
    nodes = [house.node(labels={"shelf": "of-pages", "slot": str(slot % 2)}) for slot in range(5)]
    query, pages = ListNodes(labels={"shelf": "of-pages"}, order="created_at", limit=2), []
    while True:
        answer = house.query(query)
        pages.append([one["node"] for one in answer["nodes"]])
        if answer["next"] is None:
            break
        query = query.model_copy(update={"after": answer["next"]})
    assert pages == [nodes[0:2], nodes[2:4], nodes[4:]]
    odd = ListNodes(labels={"shelf": "of-pages", "slot": "1"}, order="-created_at", limit=1)
    assert [one["node"] for one in house.client().rows(odd)] == [nodes[3], nodes[1]]


def test_images_nodes_and_disks_are_found_by_what_they_have_to_do_with_each_other(house: House) -> None:
    project, other = house.project(), house.project()
    image, node = house.image(project), house.node()
    disk = house.mapped(other, f"{project}/{image}", node)["disk"]
    for query in (
        ListNodes(image=f"{project}/{image}"), ListNodes(project=other, state="mapped"),
        ListNodes(project=other, name=node),
    ):  # fmt: skip
        assert [one["node"] for one in house.query(query)["nodes"]] == [node], query
    for found in (ListDisks(node=node), ListDisks(project=other), ListDisks(image=f"{project}/{image}", head="head-a")):
        assert [one["disk"] for one in house.query(found)["disks"]] == [disk], found
    assert house.query(ListNodes(project=project))["nodes"] == []
    [listed] = house.query(ListImages(project=project, state="ready"))["images"]
    assert (listed["parent"], listed["children"], listed["disks"], listed["default_for"]) == (None, 0, 1, [])
    shown = house.query(ShowImage(project=project, image=image))["image"]
    assert (shown["parent"], shown["children"], shown["nodes"]) == (None, [], [node])
    assert shown["disks"] == [{"disk": disk, "project": other, "node": node}]
    house.did(UnmapNode(project=other, node=node))


def test_operations_tell_whether_the_state_said_no_and_are_found_by_node(house: House) -> None:
    project, node = house.project(), house.node()
    refused = house.ask(MapNode(project=project, node=node, image="none"))
    [one] = house.query(ListOperations(node=node, phase="failed"))["operations"]
    assert (one["operation"], one["refused"], one["group"]) == (refused.operation, True, None)
    shown = house.query(ShowOperation(operation=refused.operation))["operation"]
    assert (shown["refused"], shown["behind"], shown["members"]) == (True, [], {})
    commands = [one["command"] for one in house.query(ListOperations(node=node))["operations"]]
    assert commands == ["bmi.node.map.v1", "bmi.node.register.v1"]
    assert house.query(ListOperations(node=node, phase="unfinished"))["operations"] == []
