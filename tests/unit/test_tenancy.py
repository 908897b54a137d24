"""Whose disk a node may be led to, and when, as chaos judges it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from chaos.sighting import GAP, Seen, Sightings
from chaos.tenancy import Tenancies

BEGIN = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


def row(kind: str, project: str, begin: float, end: float | None, phase: str = "succeeded", **memo: Any) -> Any:
    return SimpleNamespace(
        type=f"bmi.node.{kind}.v1",
        command={"project": project, "node": "n1"},
        plan={"memo": {"changed": True, **memo}},
        phase=phase,
        accepted_at=BEGIN + timedelta(seconds=begin),
        ended_at=None if end is None else BEGIN + timedelta(seconds=end),
    )


# d1 for p1 until 50, then d2 for p2, which is rebuilt as d3 from 200 on.
ROWS = [
    row("map", "p1", 0, 10, disk="d1"),
    row("unmap", "p1", 40, 50, disk="d1"),
    row("map", "p2", 60, 70, disk="d2"),
    row("rebuild", "p2", 190, 200, disk="d3", old="d2"),
    row("map", "p1", 0, 30, disk="d9", phase="failed"),
]


def wrong(disk: str, since: float, until: float, node: str = "n1") -> str | None:
    begin = BEGIN.timestamp()
    return Tenancies(ROWS).wrong(node, Seen("head-a", disk, begin + since, begin + until))


def test_a_node_may_be_led_to_a_disk_from_the_map_on_until_the_unmap_has_ended() -> None:
    """From when it was accepted, until the end of what took it away, whichever that was."""
    assert wrong("d1", 1, 49) is None
    assert wrong("d2", 61, 199) is None
    assert wrong("d3", 195, 9999) is None
    assert wrong("d9", 5, 29) is None


def test_the_disk_of_the_tenant_before_is_wrong_later_and_earlier() -> None:
    """Whose it was, whose the node is by then, and how late it was are told."""
    assert wrong("d1", 1, 90) == (
        "node n1 was led to disk d1 by head-a of project p1 40.0 s after it had left it, "
        "and was with project p2 by then"
    )
    assert "nobody by then" in str(wrong("d1", 55, 55.5))
    assert "149.0 s after" in str(wrong("d2", 300, 349))
    assert "before it was mapped" in str(wrong("d2", 30, 80))
    assert "40.0 s after" in str(wrong("d9", 35, 70))


def test_a_disk_that_was_never_the_nodes_is_wrong() -> None:
    assert "not its own" in str(wrong("d7", 1, 2))
    assert "not its own" in str(wrong("d1", 1, 2, node="n2"))


def test_a_disk_that_comes_back_to_its_node_may_be_seen_both_times_and_not_between() -> None:
    rows = [*ROWS, row("unmap", "p2", 400, 410, disk="d3"), row("map", "p2", 500, 510, disk="d3", resumed=True)]
    rows += [row("unmap", "p2", 950, 960, disk="d3"), row("map", "p2", 962, 970, disk="d3", resumed=True)]
    tenancies, begin = Tenancies(rows), BEGIN.timestamp()
    assert tenancies.wrong("n1", Seen("head-a", "d3", begin + 300, begin + 409)) is None
    assert tenancies.wrong("n1", Seen("head-a", "d3", begin + 501, begin + 900)) is None
    assert tenancies.wrong("n1", Seen("head-a", "d3", begin + 300, begin + 450))
    assert tenancies.wrong("n1", Seen("head-a", "d3", begin + 450, begin + 460))
    assert tenancies.wrong("n1", Seen("head-a", "d3", begin + 901, begin + 980)) is None


def test_sightings_are_joined_while_they_go_on_and_only_where_the_portal_is() -> None:
    sightings = Sightings(lambda head, portal: (head, portal) == ("head-a", "p:1"))
    for at in (1.0, 2.0, 3.0, 3.0 + 2 * GAP):
        sightings.note("head-a", "d1", "p:1", at)
        sightings.note("head-a", "d2", "p:2", at)
        sightings.note("head-b", "d1", "p:1", at)
    assert sightings.all == [Seen("head-a", "d1", 1.0, 3.0), Seen("head-a", "d1", 3.0 + 2 * GAP, 3.0 + 2 * GAP)]
