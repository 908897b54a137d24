"""Claims that are listed, and taken away by an operator: one acts at a time, also then."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bmid.care.custody import Custody
from bmid.errors import Refused
from bmid.model.operation import Phase
from bmid.settings import Settings
from bmid.store import claims
from tests.support.bench import LEASE, Bench

pytestmark = pytest.mark.usefixtures("quiet")
MAP = {"project": "p1", "node": "n1", "image": "debian"}


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """A site with one image and one node."""
    site = Bench(tmp_path, blank=blank).open()
    site.furnish("n1")
    yield site
    site.close()


@pytest.fixture
def custody(bench: Bench) -> Custody:
    """On the same database, and with its time."""
    made = Custody(Settings(database={"url": f"sqlite:///{bench.folder}/bmid.db"}, head={"name": "h1"}))
    made._database = bench.database
    return made


def test_a_broken_claim_lets_the_next_one_on_and_its_old_holder_touches_nothing(bench: Bench, custody: Custody) -> None:
    """An instance hangs in a driver's call, and keeps its claims: another one does all of it, once."""
    calls: list[str] = []

    def hang(name: str, arguments: tuple[Any, ...]) -> None:
        calls.append(name)
        if name == "point" and calls.count("point") == 1:
            rows = {row["key"]: row for row in custody.list()}
            assert (rows["node:n1"]["operation"], rows["node:n1"]["alive"]) == (one.id, True)
            assert rows["node:n1"]["expires_in"] == LEASE
            with pytest.raises(Refused, match="is alive"):
                custody.take_away("node:n1", "it hangs")
            told = custody.take_away("node:n1", "it hangs", alive=True)
            assert {"node:n1", f"operation:{one.id}"} <= set(told.keys)
            bench.settle(bench.worker(bench.new_identity()), seconds=60)
            calls.append(bench.find(one.id).phase.value)

    bench.boot.before = bench.power.before = hang
    one = bench.command("node.map", **MAP)
    bench.settle()
    assert bench.find(one.id).phase is Phase.SUCCEEDED
    ends = ("bmi.node.mapped.v1", "bmi.operation.failed.v1")
    assert [event["type"] for event in bench.events() if event["type"] in ends] == ["bmi.node.mapped.v1"]
    assert calls[-1] == "succeeded", "the next one didn't go on, or the old holder did"
    [event] = [event["data"] for event in bench.events() if event["type"] == "bmi.claim.broken.v1"]
    assert (event["key"], event["alive"], event["reason"]) == ("node:n1", True, "it hangs")
    assert custody.list() == []
    assert bench.unexplained() == []
    with pytest.raises(Refused, match="nobody has"):
        custody.take_away("node:n1", "again")


def test_a_claim_of_the_dead_is_broken_without_a_warning_and_its_epoch_goes_up(bench: Bench, custody: Custody) -> None:
    """Nobody has to wait for a lease of years, which a clock has made."""
    with bench.database.write() as tx:
        held = claims.take(tx, ["role:relay"], "h9/gone", 1e8, None)
    assert held is not None
    [row] = custody.list()
    assert (row["key"], row["holder"], row["alive"], row["operation"], row["age"]) == (
        "role:relay", "h9/gone", False, None, None
    )  # fmt: skip
    assert custody.holder("role:relay") == ("h9/gone", False)
    assert custody.take_away("role:relay", "the clock jumped").keys == ("role:relay",)
    with bench.database.write() as tx:
        taken = claims.take(tx, ["role:relay"], "h1/new", 30, None)
    assert taken is not None
    assert taken[0].epoch > held[0].epoch + 1
