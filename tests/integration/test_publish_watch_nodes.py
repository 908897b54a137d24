"""bmi-publish watch nodes beside a real bmid: what a user sees while nodes come, are mapped, and go."""

from __future__ import annotations

import json
import os
import pty
import signal
from contextlib import suppress
from typing import Any

from bmid.handlers.remove_node import RemoveNode
from bmid.handlers.unmap_node import UnmapNode
from tests.support.bmid import House
from tests.support.follower import Follower


def rows(follower: Follower, node: str) -> list[dict[str, Any]]:
    """What was said of one node."""
    return [row for row in map(json.loads, list(follower.lines)) if row["node"] == node]


def test_each_change_of_a_node_is_a_line(folder_house: House) -> None:
    """Those that are there at the start come first."""
    house = folder_house
    project = house.project()
    image, old = house.image(project), house.node()
    with Follower(house.url("alice"), "watch", "nodes", "-o", "json") as follower:
        follower.until(lambda: rows(follower, old))
        new = house.node()
        follower.until(lambda: rows(follower, new))
        mapped = house.mapped(project, image, new)
        follower.until(lambda: rows(follower, new)[-1]["state"] == "mapped")
        house.did(UnmapNode(project=project, node=new))
        follower.until(lambda: rows(follower, new)[-1]["state"] == "free")
        house.did(RemoveNode(node=new))
        follower.until(lambda: rows(follower, new)[-1]["state"] == "removed")
        assert follower.interrupt() == 130
    [seen] = [row for row in rows(follower, new) if row["state"] == "mapped"][:1]
    assert (seen["project"], seen["image"], seen["disk"]) == (project, f"{project}/{image}", mapped["disk"])
    assert seen["boot"] == "waiting"
    states = [row["state"] for row in rows(follower, new)]
    assert [state for state in states if state not in ("making", "removing", "mapped")] == ["free", "free", "removed"]
    assert follower.told == []


def test_what_happened_without_a_connection_is_seen_when_it_is_back(folder_house: House) -> None:
    house = folder_house
    old = house.node()
    with Follower(house.url("bob"), "watch", "nodes", "-o", "json") as follower:
        follower.until(lambda: rows(follower, old))
        # While it stands still its connections go, and the event of the new node with them.
        follower.process.send_signal(signal.SIGSTOP)
        house.rabbitmq.ctl("close_all_user_connections", "bob", "a test")
        new = house.node()
        follower.process.send_signal(signal.SIGCONT)
        follower.until(lambda: rows(follower, new), 25)
    assert "the connection is lost" in follower.told[0]


def test_of_one_project_a_node_comes_and_leaves_again(folder_house: House) -> None:
    house = folder_house
    project = house.project()
    image, other, node = house.image(project), house.node(), house.node()
    with Follower(house.url("alice"), "watch", "nodes", "--project", project, "-o", "value") as follower:
        house.mapped(project, image, node)
        follower.until(lambda: any(line.startswith(f"{node}\tmapped\t{project}") for line in follower.lines))
        house.did(UnmapNode(project=project, node=node))
        follower.until(lambda: follower.lines[-1].startswith(f"{node}\tfree\t\t"))
        house.did(RemoveNode(node=node))
    assert not any(line.startswith(other) for line in follower.lines)


def test_a_terminal_gets_a_table_that_is_drawn_again(folder_house: House) -> None:
    """What changes is on it, however many nodes there are for its few lines."""
    house = folder_house
    for _ in range(5):
        house.node()
    screen, terminal = pty.openpty()
    words = ("watch", "nodes")
    with Follower(house.url("alice"), *words, stdout=terminal, TERM="xterm", COLUMNS="120", LINES="6") as follower:
        os.set_blocking(screen, False)
        shown = bytearray()

        def drawn() -> list[str]:
            """The first words of the lines of the last table; the follower tells it where a test fails."""
            with suppress(BlockingIOError):
                shown.extend(os.read(screen, 1 << 20))
            follower.lines[:] = shown.decode(errors="replace").rpartition("NODE")[2].splitlines()
            return [line.partition(" ")[0] for line in follower.lines if "nodes" in follower.lines[-1]]

        follower.until(drawn)
        node = house.node()
        follower.until(lambda: node in drawn())
        house.did(RemoveNode(node=node))
        new = house.node()
        follower.until(lambda: new in (names := drawn()) and node not in names)
        assert len(follower.lines) == 6
    os.close(terminal)
    os.close(screen)


def test_a_bmid_that_does_not_answer_is_said_and_waited_for(folder_house: House) -> None:
    """The broker is there, and nobody behind it."""
    house = folder_house
    house.bmid.freeze()
    try:
        with Follower(house.url("alice"), "watch", "nodes", "-o", "json") as follower:
            follower.until(lambda: follower.told, 40)
            house.bmid.thaw()
            node = house.node()
            follower.until(lambda: rows(follower, node), 40)
        assert "no bmid has answered" in follower.told[0]
    finally:
        house.bmid.thaw()
