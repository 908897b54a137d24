"""Who had an operation in hand and never gave it back is cut off from the storage before anybody else works on it."""

from __future__ import annotations

import pytest

from bmid.errors import TransientError
from bmid.model.operation import Operation, Phase
from bmid.store import operations
from tests.support.bench import LEASE, Bench
from tests.support.twin import StorageClient

pytestmark = pytest.mark.usefixtures("quiet")


def taken(bench: Bench, holder: str, client: str | None) -> Operation:
    """The next operation, in the hands of somebody."""
    with bench.database.write() as tx:
        found = operations.take(tx, "h1", holder, LEASE, client=client)
    assert found is not None
    return found[0]


def given_back(bench: Bench, one: Operation, former: tuple[str, ...]) -> None:
    """By whoever waits for something."""
    with bench.database.write() as tx:
        operations.give_back(tx, one.id, former)
    bench.clock.advance(LEASE + 1)


def test_what_was_given_back_has_nobody_to_cut_off(bench: Bench) -> None:
    bench.command("node.map", project="p1", node="n1", image="debian")
    one = taken(bench, "h1/a", "a")
    assert not one.clients
    given_back(bench, one, ())
    assert not taken(bench, "h2/b", "b").clients


def test_all_are_known_who_never_gave_it_back(bench: Bench) -> None:
    bench.command("node.map", project="p1", node="n1", image="debian")
    taken(bench, "h1/a", "a")
    bench.clock.advance(LEASE + 1)
    assert taken(bench, "h2/b", "b").clients == ("a",)
    bench.clock.advance(LEASE + 1)
    one = taken(bench, "h3/c", None)
    assert one.clients == ("a", "b")
    given_back(bench, one, ("a", "b"))
    assert taken(bench, "h4/d", "d").clients == ("a", "b")


def test_a_call_that_comes_late_is_refused_although_who_came_next_did_not_get_so_far(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That one had no call of the storage, since a BMC was down, and leaves it to whoever comes after."""
    bench.do("node.map", project="p1", node="n1", image="debian")
    one = bench.command("node.unmap", project="p1", node="n1")
    bench.keep()
    bench.trip.armed = True
    bench.settle()
    moment = bench.trip.seen.index("before storage.discard")
    bench.rewind()
    phases: list[Phase] = []

    def down(*_: object) -> None:
        raise TransientError("bmc-down", "nobody answers")

    def freeze() -> None:
        bench.clock.advance(LEASE + 1)
        with monkeypatch.context() as patch:
            patch.setattr(bench.power, "state", down)
            bench.worker(bench.new_identity()).run_once()
        phases.append(bench.find(one.id).phase)
        bench.settle(bench.worker(bench.new_identity()))
        phases.append(bench.find(one.id).phase)
        bench.trip.armed = True

    bench.trip.at, bench.trip.strike, bench.trip.armed = moment, freeze, True
    bench.settle()
    assert phases == [Phase.RUNNING, Phase.SUCCEEDED]
    after = [moment for moment in bench.trip.seen[moment:] if "commit" not in moment]
    assert after == ["before storage.discard"], "it had no effect, and nothing came after it"


def test_who_is_cut_off_comes_back_as_somebody_else(bench: Bench) -> None:
    client = StorageClient(bench.storage, "bmid-x")
    first = client.client()
    bench.storage.cut_off([str(first)])
    with pytest.raises(TransientError, match="cut off"):
        client.sealed("debian")
    assert client.client() != first
    assert not client.sealed("nothing")
