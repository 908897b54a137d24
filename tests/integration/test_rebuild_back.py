"""A rebuild of a node that fails leaves the node as it was: on its old disk, and on; or says that it is off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bmid.drivers.base import PowerAction, PowerState
from bmid.drivers.power.memory import Switch
from bmid.errors import PermanentError
from tests.support.bench import Bench

pytestmark = pytest.mark.usefixtures("quiet")
N1 = {"project": "p1", "node": "n1"}
HINT = "bmi-publish node power n1 --action on"


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """A node that runs from its disk, with a seed."""
    one = Bench(tmp_path, blank=blank).open()
    one.furnish("n1")
    one.do("node.map", **N1, image="debian", user_data="#!/bin/sh\n")
    assert switch(one).state is PowerState.ON
    yield one
    one.close()


def switch(bench: Bench) -> Switch:
    return bench.power.switch("bmc-n1")


def failed(bench: Bench) -> dict[str, Any]:
    """The rebuild, which fails; its problem. The node is on the disk that it was on."""
    (disk,) = bench.view().disks()
    one = bench.command("node.rebuild", **N1)
    bench.settle()
    final = bench.final(one.id)
    assert final["type"] == "bmi.operation.failed.v1"
    assert [(left.id, left.state) for left in bench.view().disks()] == [(disk.id, disk.state)]
    assert bench.boot.entries[disk.address].disk == disk.id
    bench.power.before = None
    assert bench.unexplained() == []
    return dict(final["data"]["problem"])


def refuses(bench: Bench, call: str) -> None:
    """The boot driver, or the target's, for good; from the next call on, once."""
    (disk,) = bench.view().disks()

    def before(name: str, arguments: tuple[Any, ...]) -> None:
        if name == call and all(getattr(one, "disk", "") != disk.id for one in arguments):
            raise PermanentError("boot-folder", "no")

    bench.boot.before = before


def test_a_node_that_was_switched_off_for_it_is_on_again(bench: Bench) -> None:
    """It was on, and it never was sent to boot anything else."""
    refuses(bench, "point")
    starts = switch(bench).starts
    problem = failed(bench)
    assert (switch(bench).state, switch(bench).starts) == (PowerState.ON, starts + 1)
    assert (problem["detail"], "power-back" in problem["undone"]) == ("no", True)
    assert HINT not in problem["todo"]


def deaf(bench: Bench, *actions: PowerAction) -> None:
    """The BMC takes these, and does nothing."""

    def before(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "request":
            switch(bench).lies = arguments[1] in actions

    bench.power.before = before


def test_a_node_that_did_not_come_up_on_its_new_disk_is_on_with_its_old_one(bench: Bench) -> None:
    """As soon as its BMC does what it is told."""
    deaf(bench, PowerAction.CYCLE)
    problem = failed(bench)
    assert "waits for the BMC to say that the node is on" in problem["detail"]
    assert switch(bench).state is PowerState.ON
    assert HINT not in problem["todo"]


def test_where_a_node_can_not_be_switched_on_again_that_is_said(bench: Bench) -> None:
    """With what to do, and without getting stuck."""
    deaf(bench, PowerAction.CYCLE, PowerAction.ON)
    problem = failed(bench)
    assert switch(bench).state is PowerState.OFF
    assert problem["detail"].endswith("; node n1 was switched off for it, and could not be switched on again")
    assert problem["todo"].endswith(HINT)
    switch(bench).lies = False
    bench.do("node.power", **N1, action="on")
    assert switch(bench).state is PowerState.ON


def test_where_its_bmc_refuses_to_switch_it_on_again_that_is_said_at_once(bench: Bench) -> None:
    refuses(bench, "point")

    def before(name: str, arguments: tuple[Any, ...]) -> None:
        if name == "request" and arguments[1] is not PowerAction.OFF:
            raise PermanentError("bmc-cannot", "it can't")

    bench.power.before = before
    problem = failed(bench)
    assert problem["detail"] == "no; node n1 was switched off for it, and could not be switched on again"


def test_a_node_that_was_off_before_is_off_afterwards(bench: Bench) -> None:
    bench.do("node.power", **N1, action="off")
    refuses(bench, "point")
    problem = failed(bench)
    assert switch(bench).state is PowerState.OFF
    assert (problem["detail"], HINT in problem["todo"]) == ("no", False)
