"""The operator's way out of what is stuck, and what keeps a head small: retry, abandon, forgetting, sweeping."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from bmid.care.leftover import Leftovers
from bmid.care.repair import Repair
from bmid.engine.auditor import Auditor
from bmid.errors import PermanentError, Refused, TransientError
from bmid.model.operation import Operation, Phase
from bmid.scheduler.housekeeping import Housekeeping
from bmid.settings import Settings
from bmid.store import operations, outbox
from tests.support.bench import Bench
from tests.support.recipe_site import look

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
    return repairer(bench)


def settings_of(bench: Bench) -> Settings:
    return Settings(database={"url": f"sqlite:///{bench.folder}/bmid.db"}, head={"name": "h1"})


def repairer(bench: Bench, head: str = "h1") -> Repair:
    """One that looks at the twins, as if it ran on that head."""
    auditor = Auditor(bench.registry, bench.site, head, f"/bmid/{head}")
    ports = Leftovers(bench.database, auditor, lambda: nullcontext(bench.ports()), head, bench.site.iqn_prefix)
    return Repair(settings_of(bench), ports)


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
    assert repair.retry(one.id).phase == "reverting"
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
    assert "clone-disk" in told.steps
    event = bench.final(one.id)["data"]
    assert event["problem"]["type"] == "urn:bmi:problem:abandoned"
    assert "the folder is gone" in event["problem"]["detail"]
    bench.settle()
    assert bench.final(behind.id)["data"]["problem"]["type"] == "urn:bmi:problem:disk-in-place"
    assert bench.do("node.unmap", **UNMAP)["changed"] is True
    assert bench.unexplained() == []
    assert bench.do("node.map", **MAP)["changed"] is True


def test_what_abandon_says_it_leaves_is_just_what_is_found_then(bench: Bench, repair: Repair) -> None:
    """Nothing before, just that afterwards; with the things in the world that belong to it."""
    one = stuck(bench)
    assert look(bench)["findings"] == {}
    told = repair.abandon(one.id, "the folder is gone")
    [thing] = told.left
    disk = bench.view().node("n1").disk
    assert (thing.kind, thing.subject, told.unseen) == ("disk-unfinished", disk, {})
    assert thing.parts == (f"disk {disk} in the storage", f"target {bench.view().disk(disk).number} at shard 0 of h1")
    assert look(bench)["findings"] == {"disk-unfinished": 1}
    events = [one["data"] for one in bench.events() if one["type"] == "bmi.operation.abandoned.v1"]
    assert [event["left"][0]["subject"] for event in events] == [disk]
    assert bench.final(one.id)["data"]["problem"]["extra"]["left_behind"] == [thing.model_dump(mode="json")]


def test_what_stands_behind_an_abandoned_operation_doesnt_hide_what_it_leaves(bench: Bench, repair: Repair) -> None:
    """Another command to the same node waits for its turn meanwhile."""
    one = stuck(bench)
    bench.command("node.unmap", **UNMAP)
    assert [thing.kind for thing in repair.abandon(one.id, "no time").left] == ["disk-unfinished"]
    bench.settle()
    assert look(bench)["findings"] == {}


def test_a_part_that_is_away_and_another_head_are_named_and_hinder_nothing(bench: Bench) -> None:
    """Whoever wants to get out gets out, and knows where nobody has looked."""
    one = stuck(bench)

    def away(name: str, arguments: tuple[Any, ...]) -> None:
        raise TransientError("storage-down", "the storage is away")

    bench.storage._before = away
    told = repairer(bench, "h2").abandon(one.id, "no time")
    bench.storage._before = lambda name, arguments: None
    assert {"storage", "head h1"} <= set(told.unseen)
    assert "disk-unfinished" in [thing.kind for thing in told.left]
    assert bench.find(one.id).phase is Phase.FAILED


def test_an_abandoned_snapshot_of_a_node_leaves_its_snapshot(bench: Bench, repair: Repair) -> None:
    """Also what isn't a row: what is frozen and can't be thawed is named, and found."""
    bench.do("node.map", **MAP, power="none")

    def fail(name: str, arguments: tuple[Any, ...]) -> None:
        if name in ("thaw", "seal_image"):
            raise PermanentError("storage-missing", "it is not there")

    bench.storage._before = fail
    one = bench.command("node.snapshot", project="p1", node="n1", image="new", crash_consistent=True)
    bench.settle()
    bench.storage._before = lambda name, arguments: None
    assert bench.find(one.id).phase is Phase.STUCK
    told = repair.abandon(one.id, "no time")
    assert "snapshot-orphaned" in [thing.kind for thing in told.left]
    assert look(bench)["findings"] == dict(Counter(thing.kind for thing in told.left))


def test_a_retry_is_told(bench: Bench, repair: Repair) -> None:
    """With the reason, where there is one."""
    one = stuck(bench)
    repair.retry(one.id, "the folder is back")
    [event] = [one["data"] for one in bench.events() if one["type"] == "bmi.operation.retried.v1"]
    assert (event["operation"], event["phase"], event["reason"]) == (one.id, "reverting", "the folder is back")


def test_only_what_is_stuck_can_be_abandoned_and_only_what_has_not_ended_retried(bench: Bench, repair: Repair) -> None:
    """Each says why not, and what to do."""
    one = bench.command("project.create", project="p9")
    with pytest.raises(Refused, match="pending") as early:
        repair.abandon(one.id, "why not")
    bench.settle()
    with pytest.raises(Refused, match="ended") as late:
        repair.retry(one.id)
    with pytest.raises(Refused, match="no operation") as unknown:
        repair.show("nothing")
    assert all(one.value.problem.todo for one in (early, late, unknown))


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


def test_half_an_export_goes_when_its_operation_has_ended_elsewhere(bench: Bench) -> None:
    """Another head wrote the file to its own folder. What is still being written stays, and so does what no row knows:
    it may be another site's."""
    ended, waiting = bench.command("project.create", project="p9"), stuck(bench)
    bench.settle(seconds=5)
    halves = {name: bench.exports / f".{name}.part" for name in (ended.id, waiting.id, "0" * 32)}
    for half in halves.values():
        half.write_bytes(b"x")
    (bench.exports / "whole.qcow2").write_bytes(b"x")
    Housekeeping(bench.database, "h1/a", bench.staging, 14, bench.exports).sweep()
    assert {name for name, half in halves.items() if half.exists()} == {waiting.id, "0" * 32}
    assert (bench.exports / "whole.qcow2").exists()


def test_an_upload_that_never_comes_is_given_up(bench: Bench) -> None:
    """After an hour; its name is free again, and nothing is left."""
    one = bench.command("image.import", project="p1", image="i", source={"upload": "0" * 64})
    (bench.staging / one.id).write_bytes(b"half of it")
    bench.settle()
    assert bench.final(one.id)["data"]["problem"]["type"] == "urn:bmi:problem:deadline-passed"
    assert bench.view().image("p1", "i") is None
    assert bench.unexplained() == []
