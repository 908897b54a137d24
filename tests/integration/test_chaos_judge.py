"""What chaos judges by what was heard and by the rows: each thing that can be wrong is seen."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from bmid.handlers.registry import discover
from bmid.messages.envelope import Envelope
from bmid.store import schema
from chaos.breaker import Breaker
from chaos.fault import Fault
from chaos.judge import Judge
from chaos.ledger import Ledger
from chaos.operator import Operator
from lab.process import LabError
from tests.support.bench import Bench

pytestmark = pytest.mark.usefixtures("quiet")
MAP = {"project": "p1", "node": "n1", "image": "debian"}


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """A site where a node was mapped, and a map was refused."""
    site = Bench(tmp_path, blank=blank).open()
    site.furnish("n1")
    site.do("node.map", **MAP)
    site.do("node.map", **MAP | {"image": "nothing"})
    site.clock.advance(60)
    yield site
    site.close()


@pytest.fixture
def judge(bench: Bench) -> Judge:
    """On its rows."""
    made = Judge.__new__(Judge)
    made._registry, made._direct = discover(), bench.database
    return made


@pytest.fixture
def heard(bench: Bench) -> dict[str, Envelope]:
    """Every event."""
    names = {field.name for field in dataclasses.fields(Envelope)} - {"time"}
    rows = [{key: value for key, value in one.items() if key in names} for one in bench.events()]
    return {one["id"]: Envelope(**one) for one in rows}


def sent(heard: Mapping[str, Envelope]) -> list[str]:
    return [str(one.causationid) for one in heard.values() if one.type == "bmi.operation.accepted.v1"]


def of(heard: Mapping[str, Envelope], kind: str) -> str:
    """The id of the one event of a type."""
    return next(key for key, one in heard.items() if one.type == kind)


def test_what_is_right_is_right(judge: Judge, heard: dict[str, Envelope]) -> None:
    """And how operations ended is told, refusals apart."""
    assert judge.commands(sent(heard), heard) == ([], [])
    assert judge.outcomes()["refused: disk-in-place"] + judge.outcomes()["refused: image-unknown"] == 1
    assert judge.outcomes()["done"] == len(sent(heard)) - 1
    assert judge.unfinished() == []


@pytest.mark.parametrize("kind", ["bmi.node.mapped.v1", "bmi.operation.failed.v1", "bmi.operation.accepted.v1"])
def test_a_command_without_its_begin_or_end_is_lost(judge: Judge, heard: dict[str, Envelope], kind: str) -> None:
    """One thing is missed, one sentence said."""
    known = sent(heard)
    del heard[of(heard, kind)]
    lost, doubled = judge.commands(known, heard)
    assert (len(lost), doubled) == (1, [])


@pytest.mark.parametrize("kind", ["bmi.node.mapped.v1", "bmi.operation.accepted.v1"])
def test_a_second_begin_or_end_is_a_double(judge: Judge, heard: dict[str, Envelope], kind: str) -> None:
    """Under another id, and of another operation where it is the begin."""
    one = heard[of(heard, kind)]
    other = one.data if kind == "bmi.node.mapped.v1" else one.data | {"operation": "other"}
    heard["again"] = dataclasses.replace(one, id="again", data=other)
    assert len(set(judge.commands(sent(heard), heard)[1])) == 1


def test_an_event_that_is_no_end_is_none(judge: Judge, heard: dict[str, Envelope]) -> None:
    """A boot, or that a node was set aside, also names the operation."""
    one = heard[of(heard, "bmi.node.mapped.v1")]
    for kind in ("bmi.node.booted.v1", "bmi.node.set-aside.v1", "bmi.node.unmapped.v1"):
        heard[kind] = dataclasses.replace(one, id=kind, type=kind)
    assert judge.commands(sent(heard), heard) == ([], [])
    del heard[of(heard, "bmi.node.mapped.v1")]
    assert "has no end" in judge.commands(sent(heard), heard)[0][0]


def test_a_lost_row_a_rejection_and_what_goes_on_are_seen(
    bench: Bench, judge: Judge, heard: dict[str, Envelope]
) -> None:
    """A database that forgot a commit, and a command that was fit and wasn't taken."""
    begin = heard[of(heard, "bmi.operation.accepted.v1")]
    with bench.database.write() as tx:
        gone = schema.operation.c.id == begin.data["operation"]
        tx.execute(delete(schema.operation_key).where(schema.operation_key.c.operation == begin.data["operation"]))
        tx.execute(delete(schema.operation).where(gone))
    data = {"reasons": ["why not"]}
    heard["no"] = dataclasses.replace(begin, id="no", type="bmi.command.rejected.v1", causationid="m0", data=data)
    lost, _ = judge.commands([*sent(heard), "m0"], heard)
    assert [word in " ".join(lost) for word in ("has no row", "was rejected", "m0 was not accepted")] == [True] * 3
    with bench.database.write() as tx:
        tx.execute(update(schema.operation).values(phase="stuck", ended_at=None))
    assert all("is stuck" in one for one in judge.unfinished())
    assert judge.unfinished()


def test_bytes_of_an_image_that_a_disk_was_not_made_from_are_seen(bench: Bench, judge: Judge) -> None:
    """By way of copies and snapshots; of golden files as of disks."""
    bench.do("image.copy", project="p1", image="debian", to="copy")
    bench.do("disk.create", project="p1", disk="d1", image="copy")
    bench.do("disk.snapshot", project="p1", disk="d1", image="of-d1")
    bench.do("disk.create", project="p1", disk="d2", image="of-d1")
    disks = {disk.name: disk.id for disk in bench.view().disks()}
    ledger = Ledger()
    ledger.inherited = {(disks["d1"], "golden-debian"), (disks["d2"], "golden-debian"), (disks["d2"], disks["d1"])}
    assert judge.inherited(ledger) == []
    ledger.inherited = {(disks["d1"], "golden-p2"), (disks["d1"], disks["d2"])}
    assert len(judge.inherited(ledger)) == 2


class Deaf:
    """A site whose tgtd can't be frozen."""

    heads: tuple[Any, ...] = ()

    @property
    def operator(self) -> Operator:
        raise ValueError("nobody is there")


def test_a_fault_that_could_not_be_made_is_no_fault_that_was_mended() -> None:
    """Whatever it failed with: the run says so."""
    breaker = Breaker(Deaf(), (Fault(0.0, 0.1, "drain", "portal-a"),), lambda _line: None)  # type: ignore[arg-type]
    breaker.start()
    breaker.join()
    assert len(breaker.failed) == 1
    assert "nobody is there" in breaker.failed[0]


def test_an_operator_types_again_what_found_no_database_and_takes_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On another head's settings each time; what never works is told."""
    script = tmp_path / "bmid"
    script.write_text('#!/bin/sh\ncat "$2"; exit $(head -c 2 "$2")\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    configs = {name: tmp_path / name for name in ("head-a", "head-b")}
    operator = Operator(configs, {"head-a": "127.2.0.1", "head-b": "127.2.0.2"})
    monkeypatch.setattr(operator._ended, "wait", lambda _seconds: False)
    configs["head-a"].write_text("69 the database is away")
    configs["head-b"].write_text("1  something is left")
    operator.drain("head-a")
    assert [one.split()[-1] for one in operator.told] == ["away", "left"]
    configs["head-a"].write_text("69 there is no living head head-b")
    operator.move("head-b")
    assert operator.told[-1].startswith("bmid head move 127.2.0.2 --to head-a: 69")
    configs["head-a"].write_text("69 the database is away")
    configs["head-b"].write_text("69 the database is away")
    with pytest.raises(LabError, match="was not done"):
        operator.undrain("head-a")
    configs["head-a"].write_text("1  something is left")
    configs["head-b"].write_text("1  Traceback (most recent call last)")
    with pytest.raises(LabError, match="broke down"):
        operator.undrain("head-a")
