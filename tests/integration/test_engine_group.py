"""Groups of nodes, dry runs, expiry and progress, as the engine carries them out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bmid.engine.auditor import Auditor
from bmid.engine.turn import Turn
from bmid.model.operation import Phase
from bmid.store import operations
from tests.support.bench import Bench

pytestmark = pytest.mark.usefixtures("quiet")
GROUP = {"project": "p1", "image": "debian", "nodes": ["n1", "n2", "n9"]}


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """A site with one image and two nodes."""
    site = Bench(tmp_path, blank=blank).open()
    site.furnish("n1", "n2")
    yield site
    site.close()


def ends(bench: Bench, message: str) -> list[dict[str, Any]]:
    """The events that a message caused, without those of its acceptance and progress."""
    passing = ("bmi.operation.accepted.v1", "bmi.operation.progressed.v1")
    return [one for one in bench.events() if one["causationid"] == message and one["type"] not in passing]


def test_a_group_is_an_operation_for_each_node_and_one_summary(bench: Bench) -> None:
    """The node that nobody knows fails, and the others are mapped all the same."""
    message = bench.send("bmi.node.map.v1", GROUP)
    bench.settle()
    (end,) = ends(bench, message)
    assert end["type"] == "bmi.group.finished.v1"
    assert (end["data"]["succeeded"], end["data"]["failed"]) == (2, 1)
    assert [(one["node"], one["phase"]) for one in end["data"]["members"]] == [
        ("n1", "succeeded"), ("n2", "succeeded"), ("n9", "failed"),
    ]  # fmt: skip
    assert end["data"]["members"][2]["problem"]["type"] == "urn:bmi:problem:node-unknown"
    assert sorted(disk.node or "" for disk in bench.view().disks()) == ["n1", "n2"]


def test_all_events_of_a_group_have_its_correlation_and_members_are_caused_by_its_operation(bench: Bench) -> None:
    """So that nobody takes a member's end for the group's."""
    message = bench.send("bmi.node.map.v1", GROUP)
    group = bench.operation(message)
    bench.settle()
    mapped = [one for one in bench.events() if one["type"] == "bmi.node.mapped.v1"]
    assert len(mapped) == 2
    assert {one["correlationid"] for one in mapped} == {message}
    assert {one["causationid"] for one in mapped} == {group.id}


def test_a_group_sent_twice_is_one_group(bench: Bench) -> None:
    """And is answered with its summary."""
    message = bench.send("bmi.node.map.v1", GROUP, id="once")
    bench.settle()
    before = len(bench.view().operations(500))
    bench.send("bmi.node.map.v1", GROUP, id="once")
    bench.settle()
    assert len(bench.view().operations(500)) == before
    assert len(ends(bench, message)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"node": "n1"}, {"nodes": []}, {"nodes": ["n1", "n1"]}, {"hostname": "a"}, {"nodes": ["N 1"]}, {"nodes": None},
        {"image": None, "disk": "d1"}, {"image_labels": {"os": "debian"}},
    ],
)  # fmt: skip
def test_a_group_that_makes_no_sense_is_rejected(bench: Bench, wrong: dict[str, Any]) -> None:
    """Before anything is written down for it."""
    message = bench.send(
        "bmi.node.map.v1", {key: value for key, value in {**GROUP, **wrong}.items() if value is not None}
    )
    (end,) = ends(bench, message)
    assert end["type"] == "bmi.command.rejected.v1", end


def test_a_dry_run_tells_the_steps_and_does_nothing(bench: Bench) -> None:
    """Neither rows nor calls; what the seed says is not told."""
    bench.trip.armed = True
    said = {"project": "p1", "image": "debian", "node": "n1", "user_data": "#cloud-config\npassword: SECRET\n"}
    end = bench.do("node.map", **said, dry_run=True)
    assert [one["step"] for one in end["steps"]] == [
        "require-allocated", "clone-disk", "write-seed", "boot-from-network", "export-disk", "point-boot",
        "cycle-power",
    ]  # fmt: skip
    assert end["changed"] is True
    assert "SECRET" not in str(bench.events())
    assert bench.view().disks() == []
    assert bench.view().node("n1").disk is None
    assert [moment for moment in bench.trip.seen if "commit" not in moment] == []
    bench.trip.armed = False
    assert bench.do("node.map", **said)["changed"] is True


def test_a_dry_run_of_what_would_be_refused_is_refused(bench: Bench) -> None:
    """As the run would be."""
    end = bench.do("node.map", project="p1", image="debian", node="n9", dry_run=True)
    assert end["refused"] is True
    end = bench.do("node.unmap", project="p1", node="n1", dry_run=True)
    assert (end["changed"], end["steps"]) == (False, [])


def test_what_has_expired_fails_at_once_also_behind_somebody(bench: Bench) -> None:
    """It needs no turn to be told that it is too late; the one before it is not disturbed."""
    first = bench.command("image.import", project="p1", image="new", source={"upload": "0" * 64})
    bench.settle(seconds=10)
    soon = (bench.clock.moment + timedelta(seconds=60)).isoformat()
    second = bench.command("image.remove", project="p1", image="new", expires_at=soon)
    bench.settle(seconds=30)
    assert bench.find(second.id).phase is Phase.PENDING
    bench.settle(seconds=120)
    assert bench.find(second.id).phase is Phase.FAILED
    assert bench.final(second.id)["data"]["problem"]["type"] == "urn:bmi:problem:expired"
    assert bench.find(first.id).phase is Phase.RUNNING


def test_what_has_begun_in_time_goes_on(bench: Bench) -> None:
    """The expiry is of the beginning."""
    soon = (bench.clock.moment + timedelta(seconds=2)).isoformat()
    one = bench.command("image.import", project="p1", image="new", source={"upload": "0" * 64}, expires_at=soon)
    bench.settle(seconds=60)
    bench.upload(one.id, b"\xeb" + bytes((1 << 17) - 1))
    bench.settle()
    assert bench.find(one.id).phase is Phase.SUCCEEDED


def test_progress_is_told_once_a_second_and_at_its_end(bench: Bench) -> None:
    """However often a step looks."""
    one = bench.command("image.import", project="p1", image="new", source={"upload": "0" * 64})
    holder = bench.identity.holder
    with bench.database.write() as tx:
        taken = operations.take(tx, bench.identity.head, holder, 30)
    assert taken is not None
    auditor = Auditor(bench.registry, bench.site, "h1", "/bmid/h1")
    turn = Turn(bench.database, *taken, holder, "/bmid/h1", bench.staging, auditor)
    turn.progress("copy-image", 1, 10)
    turn.progress("copy-image", 2, 10)
    bench.clock.advance(1.1)
    turn.progress("copy-image", 3, 10)
    turn.progress("copy-image", 10, 10)
    events = [event["data"] for event in bench.events() if event["type"] == "bmi.operation.progressed.v1"]
    told = [data["done"] for data in events if data["operation"] == one.id]
    assert told == [1, 3, 10]


def test_an_idle_worker_rests_until_the_next_look_that_somebody_waits_for(bench: Bench) -> None:
    """A second at most; what is due but stands behind others doesn't make it run in circles."""
    worker = bench.worker()
    assert worker.pause() == 1.0
    bench.command("image.import", project="p1", image="new", source={"upload": "0" * 64})
    bench.command("image.remove", project="p1", image="new")
    assert worker.run_once()
    assert not worker.run_once()
    assert worker.pause() == 1.0
    bench.clock.advance(29.6)
    assert not worker.run_once()
    assert 0.3 < worker.pause() <= 0.4
