"""The parts of chaos that judge: a fault of each kind is seen, and what a seed gives stays what it is."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from chaos import main
from chaos.call import interleavings
from chaos.fault import CARE, care, parts_of, schedule
from chaos.ledger import BLOCK, Ledger, content, golden, offset
from chaos.machine import parse
from chaos.report import Report

TWO = parts_of(("head-a", "head-b"), ceph=True, postgresql=True)


def test_a_seed_gives_the_same_faults_in_the_same_order() -> None:
    assert schedule(7, 1800, TWO) == schedule(7, 1800, TWO) != schedule(8, 1800, TWO)


def test_every_part_is_harmed_in_every_way_within_half_an_hour_and_never_twice_at_a_time() -> None:
    faults = schedule(7, 1800, TWO)
    assert {fault.part for fault in faults} == set(TWO)
    assert len({(fault.part, fault.kind) for fault in faults}) == 24
    assert all(0 < fault.begin < fault.end < 1800 for fault in faults)
    for part in TWO:
        mine = [fault for fault in faults if fault.part == part]
        assert all(before.end < after.begin for before, after in itertools.pairwise(mine))


def test_operators_do_everything_to_every_head_one_thing_after_the_other_and_end_before_the_run() -> None:
    """Whatever else breaks meanwhile; with one head there is nowhere to go."""
    heads = ("head-a", "head-b")
    done = care(7, 600, heads)
    assert done == care(7, 600, heads) != care(8, 600, heads)
    assert {(one.part, one.kind) for one in done} == {(f"portal-{letter}", kind) for letter in "ab" for kind in CARE}
    assert all(before.end < after.begin for before, after in itertools.pairwise(done))
    assert 0 < done[0].begin < done[-1].end < 600
    assert care(7, 600, heads[:1]) == ()


def test_a_block_may_hold_the_last_write_that_was_told_or_a_later_one() -> None:
    ledger = Ledger()
    first, one = ledger.begin("d1", 3)
    ledger.told("d1", 3, first)
    _, other = ledger.begin("d1", 3)
    assert ledger.check("d1", 3, one, "here")
    assert ledger.check("d1", 3, other, "here")
    assert (ledger.verified, ledger.wrong) == (2 * BLOCK, [])


def test_a_lost_write_is_wrong() -> None:
    ledger = Ledger()
    number, _ = ledger.begin("d1", 3)
    ledger.told("d1", 3, number)
    assert not ledger.check("d1", 3, content("golden-p1", 3, 0), "here")


def test_a_write_that_failed_and_appears_over_a_later_one_is_wrong() -> None:
    ledger = Ledger()
    _, stale = ledger.begin("d1", 3)
    number, _ = ledger.begin("d1", 3)
    ledger.told("d1", 3, number)
    assert not ledger.check("d1", 3, stale, "here")


def test_bytes_of_another_disk_are_wrong_where_something_was_written_and_asked_about_where_nothing_was() -> None:
    ledger = Ledger()
    _, theirs = ledger.begin("d2", 3)
    assert ledger.check("d1", 3, theirs, "here")
    assert ledger.inherited == {("d1", "d2")}
    number, _ = ledger.begin("d1", 3)
    ledger.told("d1", 3, number)
    assert not ledger.check("d1", 3, theirs, "here")
    assert not ledger.check("d1", 4, theirs, "here")


def test_a_new_disk_holds_its_image() -> None:
    """Which one, is written down, and asked about at the end."""
    image, ledger = golden("p1"), Ledger()
    assert ledger.check("d1", 5, image[offset(5) : offset(5) + BLOCK], "here")
    assert ledger.inherited == {("d1", "golden-p1")}


def test_a_node_whose_write_is_acknowledged_after_another_one_has_its_disk_is_wrong() -> None:
    """Only if it was sent after that; what was on its way before may be told of late."""
    ledger = Ledger()
    sent, _ = ledger.begin("d1", 1, 1, "n1")
    other, _ = ledger.begin("d1", 2, 2, "n2")
    ledger.told("d1", 2, other, 2, "n2")
    ledger.told("d1", 1, sent, 1, "n1")
    assert ledger.wrong == []
    late, _ = ledger.begin("d1", 1, 1, "n1")
    assert ledger.wrong == []
    ledger.told("d1", 1, late, 1, "n1")
    second, _ = ledger.begin("d1", 1, 2, "n3")
    ledger.told("d1", 1, second, 2, "n3")
    assert len(ledger.wrong) == 2
    assert "n1 under generation 1, after n2" in ledger.wrong[0]
    assert "n3 under generation 2" in ledger.wrong[1]


def test_a_call_under_an_epoch_that_has_passed_on_is_an_interleaving(tmp_path: Path) -> None:
    def called(head: str, *calls: tuple[str, int]) -> Path:
        log = tmp_path / head / "bmid" / "bmid.log"
        log.parent.mkdir(parents=True)
        lines = [
            json.dumps({"event": "driver.called", "timestamp": moment, "held": {"node:n1": epoch}})
            for moment, epoch in calls
        ]
        log.write_text("\n".join([*lines, '{"event": "other"}', ""]))
        return log

    a = called("head-a", ("2026-01-01T00:00:01Z", 1), ("2026-01-01T00:00:04Z", 3))
    b = called("head-b", ("2026-01-01T00:00:02Z", 2))
    assert interleavings([a, b]) == (3, [])
    stale = called("head-c", ("2026-01-01T00:00:05Z", 2))
    count, found = interleavings([a, b, stale])
    assert count == 4
    assert len(found) == 1
    assert "head-c" in found[0]
    both = called("head-d", ("2026-01-01T00:00:06Z", 3))
    assert "head-d called under epoch 3" in interleavings([a, b, both])[1][0]


def test_half_a_line_of_a_log_hides_no_other(tmp_path: Path) -> None:
    """Whoever is killed while it writes leaves one."""
    log = tmp_path / "head-a" / "bmid" / "bmid.log"
    log.parent.mkdir(parents=True)
    whole = json.dumps({"event": "driver.called", "timestamp": "2026-01-01T00:00:01Z", "held": {"node:n1": 1}})
    log.write_text(f'{whole}\n{{"event": "driver.called", "ti{whole}\n{whole}\n')
    assert interleavings([log]) == (2, [])


def test_a_boot_script_says_the_way_to_the_disk_and_the_waiting_one_says_none() -> None:
    script = (
        "#!ipxe\n# bmi disk=d1 generation=2 address=10.0.0.9 iqn=iqn.2026-11.x:d1\nset initiator-iqn iqn.y\n"
        "set username d1\nset password s3cret\nsanboot iscsi:10.0.0.1::3260:1:iqn.2026-11.x:d1 ||\n"
    )
    way = parse(script)
    assert way is not None
    assert (way.disk, way.generation, way.portal, way.user) == ("d1", 2, "10.0.0.1:3260", "d1")
    assert way.url(5) == "iscsi://d1%s3cret@127.0.0.1:5/iqn.2026-11.x:d1/1"
    assert parse("#!ipxe\n:loop\n") is None


DONE: dict[str, Any] = {"commands": 1, "events": 1, "calls": 1, "acknowledged": 1, "verified": 1, "ways": 1}


@pytest.mark.parametrize(
    "kind", ["lost", "doubled", "gaps", "orphans", "interleavings", "misled", "hanging", "wrong", "broken"]
)
def test_a_run_is_right_only_if_nothing_is_wrong(kind: str) -> None:
    done = DONE | {"outcomes": Counter(done=1)}
    assert Report(**done).right
    assert not Report(**done, **{kind: ["something"]}).right
    assert "WRONG" in Report(**done, **{kind: ["something"]}).text()


@pytest.mark.parametrize("missing", [*DONE, "outcomes"])
def test_a_run_is_right_only_if_there_was_something_to_judge(missing: str) -> None:
    """A log whose words have changed, say, or a site that refuses everything."""
    done = DONE | {"outcomes": Counter(done=1)}
    assert not Report(**{key: value for key, value in done.items() if key != missing}).right


@pytest.mark.parametrize("only", [["--storage", "directory"], ["--database", "sqlite"]])
def test_two_heads_without_what_they_must_share_are_a_usage_error(
    only: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["chaos", "--heads", "2", *only])
    monkeypatch.setattr("signal.signal", lambda *_: None)  # this process keeps its own
    assert main.main() == 64
