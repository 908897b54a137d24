"""Two heads share a site: maps are spread, each step runs at its home, and one of them does what only one may do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, text

from bmid.handlers.create_project import CreateProject
from bmid.handlers.import_image import ImageSource, ImportImage
from bmid.handlers.map_node import MapNode
from bmid.handlers.unmap_node import UnmapNode
from bmid.store import portals, schema
from lab.bmid import Bmid
from lab.process import LabError
from tests.support.bmid import new_token
from tests.support.image import bios_disk
from tests.support.pair import Pair, heads, image, nodes, pair

__all__ = ["heads", "image", "nodes", "pair"]


def map_all(heads: Pair, image: tuple[str, str], nodes: list[str]) -> dict[str, str]:
    """Map nodes at once; the portal that each was told."""
    client, (project, name) = heads.a.client(), image
    tickets = [client.ticket(MapNode(project=project, node=node, image=name)) for node in nodes]
    results = client.wait_all(tickets, 60)
    assert [result.state.value for result in results] == ["done"] * len(nodes), results
    return {result.event.data["node"]: result.event.data["portal"] for result in results if result.event}


def test_maps_at_once_fill_both_heads_evenly_and_each_stands_at_its_home(
    heads: Pair, image: tuple[str, str], nodes: list[str]
) -> None:
    portals = map_all(heads, image, nodes)
    homes = heads.homes()
    assert Counter(homes.values()) == {"head-a": 12, "head-b": 12}
    assert portals == {node: heads.house(home or "").tgtd.portal for node, home in homes.items()}
    for head in ("head-a", "head-b"):
        numbers = {disk.number for disk in heads.a.disks() if disk.head == head}
        addresses = {disk.address for disk in heads.a.disks() if disk.head == head}
        assert heads.targets(head) == numbers
        assert {path.name for path in heads.house(head).parts.hosts.iterdir()} == addresses
        assert heads.rows()[head]["shards"]["s0"]["disks"] == 12


def test_whichever_head_takes_a_command_its_disks_home_carries_it_out(
    heads: Pair, image: tuple[str, str], nodes: list[str]
) -> None:
    """An operation whose home is down waits for it; the others go on."""
    map_all(heads, image, nodes[:4])
    homes = heads.homes()
    heads.a.bmid.stop()
    client = heads.a.client()
    tickets = [client.ticket(UnmapNode(project=image[0], node=node)) for node in sorted(homes)]
    for ticket in tickets:
        client.publish(ticket)
    heads.a.until(lambda: set(heads.homes().values()) == {"head-a"})
    assert heads.targets("head-b") == set()
    assert (heads.rows()["head-a"]["state"], heads.rows()["head-a"]["operations"]) == ("stopped", 2)
    heads.start()
    assert all(result.ok for result in client.wait_all(tickets, 30))
    assert heads.homes() == {}
    assert heads.targets("head-a") == set()


def test_what_is_asked_of_one_node_is_done_in_that_order_whichever_heads_do_it(
    heads: Pair, image: tuple[str, str], nodes: list[str]
) -> None:
    client, (project, name) = heads.a.client(), image
    tickets = [
        client.ticket(command)
        for _ in range(3)
        for kind in (MapNode, UnmapNode)
        for node in nodes[:4]
        for command in [kind(project=project, node=node, **({"image": name} if kind is MapNode else {}))]
    ]
    results = client.wait_all(tickets, 90)
    assert all(result.ok and result.event and result.event.data["changed"] for result in results), results
    with heads.a.database.read() as tx:
        rows = list(tx.execute(select(schema.outbox).where(schema.outbox.c.type.like("bmi.node.%mapped.v1"))))
    for node in nodes[:4]:
        mine = sorted((row.position, row.type) for row in rows if row.envelope["subject"] == f"node/{node}")
        last = [kind for _, kind in mine][-6:]
        assert last == ["bmi.node.mapped.v1", "bmi.node.unmapped.v1"] * 3
    assert heads.targets("head-a") == heads.targets("head-b") == set()


def test_a_drained_head_gets_no_new_disk_and_says_what_it_still_has(
    heads: Pair, image: tuple[str, str], nodes: list[str]
) -> None:
    map_all(heads, image, nodes[:2])
    [stays] = [node for node, home in heads.homes().items() if home == "head-a"]
    with pytest.raises(LabError, match=rf"node {stays} .* project {image[0]}"):
        heads.b.bmid.run("head", "drain", "head-a")
    map_all(heads, image, nodes[2:8])
    assert Counter(heads.homes().values()) == {"head-a": 1, "head-b": 7}
    listed = json.loads(heads.b.bmid.run("heads", "-o", "json"))
    assert [(row["head"], row["state"], row["draining"]) for row in listed] == [
        ("head-a", "alive", True),
        ("head-b", "alive", False),
    ]

    command = [Path(sys.executable).parent / "bmid", "--config", heads.b.bmid.config, "head", "drain", "head-a"]
    with subprocess.Popen([*command, "--wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stderr is not None
        line = waiting.stderr.readline()
        assert "1 disk and 0 operations are left, 127.0.0.1 is still to be given back there" in line
        parked = heads.a.did(UnmapNode(project=image[0], node=stays, disk="park"))["disk"]
        # The loopback never goes away: as after the machine was switched off, a person says that nobody answers.
        heads.b.until(lambda: heads.homes()[""] is None)
        with heads.a.database.write() as tx:
            portals.withdraw(tx, "127.0.0.1", "head-a")
        output, _ = waiting.communicate(timeout=90)
    assert waiting.returncode == 0
    assert "head-a is empty" in output
    assert "safe to switch it off" in output
    assert heads.homes()[""] is None
    resumed = heads.a.did(MapNode(project=image[0], node=stays, disk=parked))
    assert resumed["portal"] == heads.b.tgtd.portal
    assert [(row["head"], row["native"], row["ready"]) for row in portal_rows(heads)] == [
        ("head-b", "head-a", True),
        ("head-b", "head-b", True),
    ]
    # And back again.
    heads.b.bmid.run("head", "undrain", "head-a")
    assert "from head-b to head-a" in heads.b.bmid.run("head", "move", "127.0.0.1", "--to", "head-a")
    with heads.a.database.write() as tx:
        portals.withdraw(tx, "127.0.0.1", "head-b")
    heads.a.until(lambda: all(row["head"] == row["native"] and row["ready"] for row in portal_rows(heads)))


def test_a_head_says_whether_it_is_to_have_an_address(heads: Pair) -> None:
    """For keepalived: yes, no, and what can't be known, which is neither."""
    ask = [Path(sys.executable).parent / "bmid", "--config", heads.a.bmid.config, "head", "carries"]

    def answer(address: str, **settings: str) -> int:
        return subprocess.run(
            [*ask, address], capture_output=True, env={**os.environ, **settings}, check=False
        ).returncode

    assert (answer("127.0.0.1"), answer("127.0.0.2"), answer("127.0.0.3")) == (0, 1, 1)
    assert answer("127.0.0.1", BMID_DATABASE__URL="postgresql+psycopg://nobody@127.0.0.1:1/none") not in (0, 1)
    with pytest.raises(LabError, match=r"no portal at 127\.0\.0\.3"):
        heads.a.bmid.run("head", "move", "127.0.0.3", "--to", "head-b")
    with pytest.raises(LabError, match="no living head head-z"):
        heads.a.bmid.run("head", "move", "127.0.0.1", "--to", "head-z")
    heads.a.bmid.stop()
    assert answer("127.0.0.1") == 0  # its tgtd is at work
    heads.start()


def portal_rows(heads: Pair) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(heads.b.bmid.run("head", "portals", "-o", "json"))
    return rows


def test_a_map_waits_while_every_head_is_drained_and_says_so(
    heads: Pair, image: tuple[str, str], nodes: list[str]
) -> None:
    heads.drain("head-a", "head-b")
    client = heads.a.client()
    ticket = client.ticket(MapNode(project=image[0], node=nodes[0], image=image[1]))
    client.publish(ticket)

    def why() -> str:
        with heads.a.database.read() as tx:
            query = select(schema.operation.c.why).where(schema.operation.c.message == ticket.id)
            return tx.execute(query).scalar() or ""

    heads.a.until(lambda: "drained (head-a, head-b)" in why())
    heads.drain()
    with heads.a.database.write() as tx:  # as `bmid operations retry` does
        tx.execute(schema.operation.update().where(schema.operation.c.message == ticket.id).values(due_at=tx.now))
    [result] = client.wait_all([ticket], 30)
    assert result.ok, result


def test_both_heads_listen_to_each_other(heads: Pair) -> None:
    """Else what one hands to the other would wait until that one looks by itself, for up to a second."""

    def ears() -> int:
        with heads.a.database.read() as tx:
            here = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query = :listen")
            return int(tx.execute(here, {"listen": "LISTEN bmid"}).scalar_one())

    heads.a.until(lambda: ears() == 2, 25)


def test_an_upload_goes_to_the_head_that_took_the_command_and_to_no_other(heads: Pair, image: tuple[str, str]) -> None:
    """Its bytes would lie in the other one's staging folder, where nobody looks."""
    content, (token, digest) = bios_disk(), new_token()
    answers: list[int] = []

    def elsewhere(address: str) -> None:
        urls = {row["url"] for row in heads.rows().values()}
        [other] = [url for url in urls if not address.startswith(url)]
        path = address.partition("/v1/")[2]
        headers = {"Authorization": f"Bearer {token}"}
        answers.append(httpx.put(f"{other}/v1/{path}", content=content, headers=headers).status_code)

    command = ImportImage(project=image[0], image="uploaded", source=ImageSource(upload=digest))
    assert heads.a.upload(command, token, content, then=elsewhere).ok
    assert answers == [404]


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_events_go_on_when_the_head_that_publishes_them_is_gone(heads: Pair, end: str) -> None:
    """Stopped in order, it gives the role back at once; killed, its lease of 10 s runs out."""
    with heads.a.listener() as listener:
        heads.a.project()
        relaying = heads.role("relay")
        assert relaying in ("head-a", "head-b")
        getattr(heads.house(relaying).bmid, end)()
        assert end == "kill" or heads.role("relay") != relaying, "given back at once"
        result = heads.a.ask(CreateProject(project=heads.a.name("p")))
        assert result.ok
        listener.until(lambda: listener.of(result.ticket.id, "bmi.project.created.v1"))
        assert heads.role("relay") not in (None, relaying)
        assert heads.rows()[relaying]["state"] == ("stopped" if end == "stop" else "alive")
        # What was on its way out when it was killed goes out twice, and nothing is left out.
        places = list(dict.fromkeys(event.position for event in listener.heard))
        assert places == list(range(places[0], places[0] + len(places)))


def test_a_head_doesnt_begin_under_the_name_of_one_that_is_alive_elsewhere(heads: Pair) -> None:
    """It would free what the other one holds. Killed and started again, it is itself."""
    double = Bmid(heads.a.folder / "double", replace(heads.a.parts, tftp=heads.a.folder / "x"), "head-a")
    double.configure()
    try:
        double.process.start()
        refused = "another machine runs bmid as head head-a"
        double.process.wait_for(lambda: refused in double.process.tail(30), 30, "its refusal")
        assert '"head.began"' not in double.process.log.read_text()
        heads.a.bmid.kill()
        heads.a.bmid.start(30)
    finally:
        double.stop()
