"""Two heads share a site: maps are spread, each step runs at its home, and one of them does what only one may do."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import select

from bmid.handlers.create_project import CreateProject
from bmid.handlers.map_node import MapNode
from bmid.handlers.show_operation import ShowOperation
from bmid.handlers.unmap_node import UnmapNode
from bmid.scheduler.housekeeping import Housekeeping
from bmid.store import claims, schema
from lab.bmid import Bmid
from lab.process import LabError
from tests.support.bmid import building
from tests.support.pair import Pair, pair

__all__ = ["pair"]

MANY = 24


@pytest.fixture
def heads(pair: Pair) -> Pair:
    """Both heads run, none is drained, and no node is mapped."""
    pair.start()
    pair.undrain()
    for disk in pair.a.disks():
        pair.a.did(UnmapNode(project=disk.project, node=disk.node or ""))
    return pair


@pytest.fixture(scope="module")
def image(pair: Pair) -> tuple[str, str]:
    """A project and its image."""
    project = pair.a.project()
    return project, pair.a.image(project)


@pytest.fixture(scope="module")
def nodes(pair: Pair) -> list[str]:
    """Nodes without power."""
    return [pair.a.node() for _ in range(MANY)]


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
    assert Counter(homes.values()) == {"head-a": MANY // 2, "head-b": MANY // 2}
    assert portals == {node: heads.house(home or "").tgtd.portal for node, home in homes.items()}
    for head in ("head-a", "head-b"):
        numbers = {disk.number for disk in heads.a.disks() if disk.head == head}
        addresses = {disk.address for disk in heads.a.disks() if disk.head == head}
        assert heads.targets(head) == numbers
        assert {path.name for path in heads.house(head).parts.hosts.iterdir()} == addresses
        assert heads.rows()[head]["shards"]["s0"]["disks"] == MANY // 2


def test_whichever_head_takes_a_command_its_disks_home_carries_it_out(
    heads: Pair, image: tuple[str, str], nodes: list[str]
) -> None:
    """An operation whose home is down waits for it; the others go on."""
    for stopped, other in (("head-a", "head-b"), ("head-b", "head-a")):
        map_all(heads, image, nodes[:4])
        homes = heads.homes()
        heads.house(stopped).bmid.stop()
        client = heads.a.client()
        tickets = {node: client.ticket(UnmapNode(project=image[0], node=node)) for node in sorted(homes) if homes[node]}
        for ticket in tickets.values():
            client.publish(ticket)
        heads.a.until(lambda stopped=stopped: set(heads.homes().values()) == {stopped})
        assert heads.targets(other) == set()
        assert heads.rows()[stopped]["state"] == "stopped"
        assert heads.rows()[stopped]["operations"] == 2
        heads.start()
        assert all(result.ok for result in client.wait_all(list(tickets.values()), 30))
        assert heads.homes() == {}
        assert heads.targets(stopped) == set()


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
    assert heads.rows()["head-a"]["draining"]

    command = [Path(sys.executable).parent / "bmid", "--config", heads.b.bmid.config, "head", "drain", "head-a"]
    with subprocess.Popen([*command, "--wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as waiting:
        assert waiting.stderr is not None
        assert "1 disks" in waiting.stderr.readline()
        heads.a.did(UnmapNode(project=image[0], node=stays))
        output, _ = waiting.communicate(timeout=20)
    assert waiting.returncode == 0
    assert "head-a is empty" in output


def test_a_map_waits_while_every_head_is_drained_and_says_so(
    heads: Pair, image: tuple[str, str], nodes: list[str]
) -> None:
    for name in ("head-a", "head-b"):
        heads.a.bmid.run("head", "drain", name)
    client = heads.a.client()
    ticket = client.ticket(MapNode(project=image[0], node=nodes[0], image=image[1]))
    client.publish(ticket)

    def shown() -> str:
        rows = client.query(ShowOperation(message=ticket.id, source="/tests/alice"))
        return str(rows["operation"]["why"])

    heads.a.until(lambda: "drained (head-a, head-b)" in _quiet(shown))
    heads.undrain()
    with heads.a.database.write() as tx:  # as `bmid operations retry` does
        tx.execute(schema.operation.update().where(schema.operation.c.message == ticket.id).values(due_at=tx.now))
    [result] = client.wait_all([ticket], 30)
    assert result.ok, result


def _quiet(look: object) -> str:
    try:
        return str(look())  # type: ignore[operator]
    except Exception as error:
        return f"not yet: {error}"


@pytest.mark.parametrize(("end", "limit"), [("stop", 5.0), ("kill", 20.0)])
def test_events_go_on_when_the_head_that_publishes_them_is_gone(heads: Pair, end: str, limit: float) -> None:
    """Stopped in order, it gives the role back at once; killed, its lease of 10 s runs out."""
    with heads.a.listener() as listener:
        heads.a.project()
        relaying = heads.role("relay")
        assert relaying in ("head-a", "head-b")
        getattr(heads.house(relaying).bmid, end)()
        began, heard = time.monotonic(), len(listener.heard)
        assert heads.a.ask(CreateProject(project=heads.a.name("p"))).ok
        listener.until(lambda: len(listener.heard) >= heard + 2, limit)
        assert time.monotonic() - began < limit
        assert heads.role("relay") not in (None, relaying)
        assert heads.rows()[relaying]["state"] == ("stopped" if end == "stop" else "alive")
        places = [event.position for event in listener.heard]
        assert places == list(range(places[0], places[0] + len(places)))


def test_the_trash_is_emptied_by_one_head_at_a_time(heads: Pair) -> None:
    """Two would try the same things of it."""
    purged: list[str] = []

    def keeper(head: str) -> Housekeeping:
        def purge(_: int) -> int:
            purged.append(head)
            return 0

        return Housekeeping(heads.a.database, f"{head}/test", heads.a.folder, 14, purge)

    with heads.a.database.write() as tx:
        tx.execute(schema.claim.delete().where(schema.claim.c.key == "role:purge"))
    one, other = keeper("one"), keeper("other")
    for house in (one, other, one):
        house.purge()
    assert purged == ["one", "one"]
    with heads.a.database.write() as tx:
        claims.release_roles(tx, "one/test")
    other.purge()
    assert purged[-1] == "other"


def test_a_second_head_is_refused_where_the_storage_is_one_heads_own(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> None:
    with building(tmp_path_factory.mktemp("alone"), request) as builder:
        house = builder.house(ceph=False, postgresql=True)
        second = Bmid(house.folder / "second", house.parts, "head-b")
        second.configure()
        with pytest.raises(LabError, match="head head-a is alive, and this database or storage serves one head only"):
            second.run("run")
        assert house.bmid.process.alive()
