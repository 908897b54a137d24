"""Handlers with faults: they hold up nobody else, and their operations end all the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bmid.errors import PermanentError, TransientError
from bmid.handlers.registry import Registry, discover
from bmid.model.operation import Phase
from tests.support.bench import Bench

pytestmark = pytest.mark.usefixtures("quiet")


def _broken(part: str, error: Exception, times: int) -> Registry:
    """A registry whose node.register has a handler with a fault, so many times."""
    registry = discover()
    handler = registry.commands["bmi.node.register.v1"]
    left = [times]
    sound = getattr(handler, part)

    def faulty(*arguments: Any) -> Any:
        if left[0] > 0:
            left[0] -= 1
            raise error
        return sound(*arguments)

    commands = {**registry.commands, handler.command.type: replace(handler, **{part: faulty})}
    return Registry(commands, registry.queries, registry.events)


@pytest.mark.parametrize("part", ["plan", "finish"])
@pytest.mark.parametrize("error", [TransientError("later", "not now"), AssertionError(), KeyError("gone")])
def test_a_handler_that_fails_holds_up_nobody_else(tmp_path: Path, blank: Path, part: str, error: Exception) -> None:
    """Its operation is tried again with back-off, others go on at once, and it ends well when it can."""
    bench = Bench(tmp_path, blank=blank, registry=_broken(part, error, 3)).open()
    bad = bench.command("node.register", node="n1", macs=["52:54:00:00:00:01"])
    good = bench.command("project.create", project="p1")
    worker = bench.worker()
    for _ in range(4):
        worker.run_once()
    assert bench.find(good.id).phase is Phase.SUCCEEDED
    assert bench.find(bad.id).attempts == 1
    assert bench.find(bad.id).why
    bench.settle()
    assert bench.find(bad.id).phase is Phase.SUCCEEDED
    assert bench.unexplained() == []
    bench.close()


@pytest.mark.parametrize("part", ["plan", "finish"])
def test_a_handler_that_always_fails_ends_as_failed(tmp_path: Path, blank: Path, part: str) -> None:
    """After give_up_after, with one final event; nothing is stuck."""
    bench = Bench(tmp_path, blank=blank, registry=_broken(part, KeyError("gone"), 10**6)).open()
    bad = bench.command("node.register", node="n1", macs=["52:54:00:00:00:01"])
    bench.settle()
    assert bench.find(bad.id).phase is Phase.FAILED
    assert bench.final(bad.id)["data"]["problem"]["type"] == "urn:bmi:problem:unexpected"
    assert bench.unexplained() == []
    bench.close()


def test_time_in_which_nobody_tried_is_none_in_which_it_failed(tmp_path: Path, blank: Path) -> None:
    """bmid was down for hours, or the clock leapt: what failed once is tried again, and may still work."""
    bench = Bench(tmp_path, blank=blank, registry=_broken("plan", KeyError("gone"), 3)).open()
    bad = bench.command("node.register", node="n1", macs=["52:54:00:00:00:01"])
    worker = bench.worker()
    assert worker.run_once()
    bench.clock.advance(5 * 3600)
    assert worker.run_once()
    assert bench.find(bad.id).attempts == 2
    bench.settle()
    assert bench.find(bad.id).phase is Phase.SUCCEEDED
    bench.close()


def test_a_plan_that_is_refused_for_good_before_it_began_ends_as_failed(tmp_path: Path, blank: Path) -> None:
    """A permanent error of a plan: nothing to undo, one final event."""
    bench = Bench(tmp_path, blank=blank, registry=_broken("plan", PermanentError("never", "no"), 10**6)).open()
    bad = bench.command("node.register", node="n1", macs=["52:54:00:00:00:01"])
    bench.settle()
    assert bench.find(bad.id).phase is Phase.FAILED
    assert bench.final(bad.id)["data"]["problem"]["type"] == "urn:bmi:problem:never"
    bench.close()
