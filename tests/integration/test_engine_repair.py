"""The operator's way out of what is stuck, and what keeps a head small: retry, abandon, forgetting, sweeping."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bmid.errors import PermanentError, Refused
from bmid.model.operation import Operation, Phase
from bmid.repair import Repair
from bmid.scheduler.housekeeping import Housekeeping
from bmid.settings import Settings
from bmid.store import operations, outbox
from tests.support.bench import Bench

pytestmark = pytest.mark.usefixtures("quiet")
MAP = {"project": "p1", "node": "n1", "image": "debian"}
UNMAP = {"project": "p1", "node": "n1"}


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """A site with one image and one node."""
    site = Bench(tmp_path, blank=blank).open()
    site.furnish("n1")
    yield site
    site.close()


@pytest.fixture
def repair(bench: Bench) -> Repair:
    """On the same database."""
    return Repair(Settings(database={"url": f"sqlite:///{bench.folder}/bmid.db"}, head={"name": "h1"}))


def stuck(bench: Bench) -> Operation:
    """A map whose boot pointer can neither be written nor taken away."""

    def fail(name: str, arguments: tuple[Any, ...]) -> None:
        if name in ("point", "clear"):
            raise PermanentError("disk-full", "no space for scripts")

    bench.boot.before = fail
    one = bench.command("node.map", **MAP)
    bench.settle()
    bench.boot.before = None
    assert bench.find(one.id).phase is Phase.STUCK
    return one


def test_retry_finishes_the_way_back(bench: Bench, repair: Repair) -> None:
    """With the problem that it failed with first; the node is free for the next one."""
    one = stuck(bench)
    assert "reverting" in repair.retry(one.id)
    bench.clock.advance(3600)
    bench.settle()
    assert bench.final(one.id)["data"]["problem"]["type"] == "urn:bmi:problem:disk-full"
    assert bench.unexplained() == []
    assert bench.do("node.map", **MAP)["changed"] is True


def test_an_abandoned_map_can_be_unmapped_and_is_not_taken_for_a_disk_in_place(bench: Bench, repair: Repair) -> None:
    """Its rows stay, so that what it left behind is found and taken away."""
    one = stuck(bench)
    behind = bench.command("node.map", **MAP)
    told = repair.abandon(one.id, "the folder is gone")
    assert "clone-disk" in told
    event = bench.final(one.id)["data"]
    assert event["problem"]["type"] == "urn:bmi:problem:abandoned"
    assert "the folder is gone" in event["problem"]["detail"]
    bench.settle()
    assert bench.final(behind.id)["data"]["problem"]["type"] == "urn:bmi:problem:disk-in-place"
    assert bench.do("node.unmap", **UNMAP)["changed"] is True
    assert bench.unexplained() == []
    assert bench.do("node.map", **MAP)["changed"] is True


def test_only_what_is_stuck_can_be_abandoned_and_only_what_has_not_ended_retried(bench: Bench, repair: Repair) -> None:
    """Each says why not."""
    one = bench.command("project.create", project="p9")
    with pytest.raises(Refused, match="pending"):
        repair.abandon(one.id, "why not")
    bench.settle()
    with pytest.raises(Refused, match="ended"):
        repair.retry(one.id)
    with pytest.raises(Refused, match="no operation"):
        repair.show("nothing")


def test_the_list_shows_what_has_not_ended_and_why(bench: Bench, repair: Repair) -> None:
    """As JSON, however many have ended since; with everything if it is asked for."""
    one = stuck(bench)
    (row,) = repair.list(False)
    assert (row["operation"], row["phase"]) == (one.id, "stuck")
    assert "no space" in row["why"]
    assert len(repair.list(True)) > 1
    assert json.dumps(repair.show(one.id))
    with bench.database.write() as tx:
        for number in range(1000):
            ended = Operation(**{**vars(one), "id": f"o{number}", "phase": Phase.SUCCEEDED, "ended_at": tx.now})
            operations.accept(tx, ended, ())
    assert [row["operation"] for row in repair.list(False)] == [one.id]


def test_what_is_older_than_its_retention_is_forgotten(bench: Bench) -> None:
    """Operations, keys and published events; what is stuck stays, and so does its event."""
    one = stuck(bench)
    with bench.database.write() as tx:
        outbox.assign(tx, 1000)
        outbox.mark(tx, outbox.unpublished(tx, 1000), unrouted=False)
    housekeeping = Housekeeping(bench.database, "h1/a", bench.staging, 14)
    bench.clock.advance(13 * 86400)
    housekeeping.forget()
    assert len(bench.view().operations()) > 1
    bench.clock.advance(2 * 86400)
    housekeeping.forget()
    assert [left.id for left in bench.view().operations()] == [one.id]
    assert bench.events() == []
    bench.send("bmi.project.create.v1", {"project": "p1"}, id="m1")
    assert bench.operation("m1").phase is Phase.PENDING


def test_staging_files_go_with_their_operation(bench: Bench) -> None:
    """What a kill left behind is swept; what is still awaited stays."""
    waiting = bench.command("image.import", project="p1", image="i", source={"upload": "0" * 64})
    ended = bench.command("project.create", project="p9")
    (bench.staging / waiting.id).write_bytes(b"x")
    (bench.staging / f"{ended.id}.work").mkdir()
    (bench.staging / "nobodys.part").write_bytes(b"x")
    bench.settle(seconds=5)
    Housekeeping(bench.database, "h1/a", bench.staging, 14).sweep()
    assert [path.name for path in bench.staging.iterdir()] == [waiting.id]


def test_an_upload_that_never_comes_is_given_up(bench: Bench) -> None:
    """After an hour; its name is free again, and nothing is left."""
    one = bench.command("image.import", project="p1", image="i", source={"upload": "0" * 64})
    (bench.staging / one.id).write_bytes(b"half of it")
    bench.settle()
    assert bench.final(one.id)["data"]["problem"]["type"] == "urn:bmi:problem:deadline-passed"
    assert bench.view().image("p1", "i") is None
    assert bench.unexplained() == []
