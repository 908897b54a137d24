"""A head dies, stands still, or is emptied while systems write to the disks that it exports: nothing that they were
told is on disk is lost, nothing older comes over it, and their addresses answer again."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.duo import DEAD_AFTER, Duo, duo_of
from tests.support.writer import Writer

WATCH = 32.0  # seconds; after 30 of them the list of who has an image open is without a client that stands still


@pytest.fixture(scope="module")
def lab(request: pytest.FixtureRequest) -> Iterator[Duo]:
    """Two heads for all tests of this module."""
    with duo_of(request) as made:
        yield made


@pytest.fixture
def duo(lab: Duo) -> Iterator[Duo]:
    """Both heads with their own addresses, and no node mapped before or after."""
    lab.go_home()
    yield lab
    lab.unmap()


def told(*writers: Writer) -> None:
    """Print what they went through, which a run shows with -s."""
    for one in writers:
        print(f"{one.name}: {one.number} writes, {one.logins} log-ins, longest pause {one.longest:.1f} s, {one.errors}")


def writing(duo: Duo, head: str) -> tuple[list[Writer], list[Writer]]:
    """Two systems that write to disks of a head, and two of it that have only read so far."""
    duo.map(*duo.nodes(8))
    mine = [node for node, home in duo.homes().items() if home == head]
    assert len(mine) == 4
    writers, readers = [duo.writer(node) for node in mine[:2]], [duo.writer(node, idle=True) for node in mine[2:]]
    duo.until(lambda: all(one.number > 20 for one in writers), 60, "first writes")
    return writers, readers


def go_on(duo: Duo, writers: list[Writer], readers: list[Writer], seconds: float) -> None:
    """Wait until all of them write, those that only read, too."""
    marks = {one.name: one.number for one in writers}
    for one in readers:
        one.wake()
    duo.until(lambda: all(one.number > marks[one.name] + 70 for one in writers), seconds, "writes after it")
    duo.until(lambda: all(one.number > 70 for one in readers), 60, "first writes of those that read")


def test_writers_go_on_at_the_other_head_when_theirs_is_killed(duo: Duo) -> None:
    writers, readers = writing(duo, "head-a")
    try:
        duo.head("head-a").kill()
        took = duo.until(lambda: duo.ready("head-b"), DEAD_AFTER + 30, "the takeover")
        go_on(duo, writers, readers, 60)
        assert duo.addresses("head-b") == {place.ip for place in duo.site.network.addresses.heads}
        assert set(duo.homes().values()) == {"head-b"}
    finally:
        for one in (*writers, *readers):
            one.stop()
        told(*writers, *readers)
        duo.start("head-a")
    assert duo.wrong(*writers, *readers) == []
    assert [one.errors for one in (*writers, *readers)] == [[]] * 4
    assert took < DEAD_AFTER + 15
    assert duo.targets("head-b") == 8


def test_a_frozen_head_that_wakes_writes_nothing_more_and_clears_what_it_has(duo: Duo) -> None:
    """Writes lie in its sockets when it is frozen, which it would carry out when it wakes; the first ones of disks that
    were not written before, too. It stands still for so long that Ceph has forgotten who it was."""
    writers, readers = writing(duo, "head-a")
    head, other = duo.head("head-a"), duo.site.bmids[1]
    try:
        for tgtd in head.tgtds:
            tgtd.freeze()
        for one in readers:
            one.wake()
        time.sleep(0.5)
        head.freeze()
        other.freeze()
        time.sleep(WATCH)
        other.thaw()
        duo.until(lambda: duo.ready("head-b"), DEAD_AFTER + 30, "the takeover")
        go_on(duo, writers, readers, 60)
        head.thaw()
        took = duo.until(lambda: duo.targets("head-a") == 0, 40, "the targets of the one that woke to go")
        print(f"cleared {took:.1f} s after it woke")
        duo.until(lambda: duo.addresses("head-a") == set(), 30, "its address to go")
        go_on(duo, writers, readers, 60)
    finally:
        other.thaw()
        head.thaw()
        for one in (*writers, *readers):
            one.stop()
        told(*writers, *readers)
    assert duo.wrong(*writers, *readers) == []
    assert [one.errors for one in (*writers, *readers)] == [[]] * 4
    assert list(head.dnsmasq.hosts.iterdir()) == []
    assert duo.targets("head-b") == 8


def test_both_heads_are_drained_in_turn_under_24_writers_without_an_error(
    duo: Duo, capsys: pytest.CaptureFixture[str]
) -> None:
    duo.map(*duo.nodes(24))
    writers = [duo.writer(node) for node in duo.homes()]
    try:
        duo.until(lambda: all(one.number > 5 for one in writers), 60, "first writes")
        for name in ("head-a", "head-b"):
            assert duo.roster.drain(name)
            took = duo.until(lambda name=name: not duo.roster.left(name), 60, f"{name} to be empty")
            print(f"{name} empty after {took:.1f} s, with {duo.targets(name)} targets")
            marks = {one.name: one.number for one in writers}
            duo.until(lambda marks=marks: all(one.number > marks[one.name] for one in writers), 60, "writes after it")
            duo.roster.undrain(name)
            for row in duo.roster.portals():
                duo.roster.move(row["portal"].partition(":")[0], row["native"])
            duo.until(duo.at_home, 60, "the address to come back")
    finally:
        for one in writers:
            one.stop()
        told(*writers)
        with capsys.disabled():
            print(
                f"\n24 writers, both heads drained in turn: longest pause {max(one.longest for one in writers):.1f} s"
            )
    assert duo.wrong(*writers) == []
    assert [one.errors for one in writers if one.errors] == []


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("number", "woken"), [(100, False), (300, False), (300, True)])
def test_hundreds_of_disks_of_a_dead_head_are_exported_within_30_seconds(
    request: pytest.FixtureRequest, number: int, woken: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody is logged in; what nodes go through is seen above. `woken`: it stands still, and wakes afterwards."""
    wide: dict[str, object] = {"subnet": "10.200.0.0/16", "first": "10.200.0.10", "last": "10.200.3.250"}
    with duo_of(request, network=wide) as duo:
        with duo.only("head-a"):
            duo.map(*duo.nodes(number), alias=False)
        assert set(duo.homes().values()) == {"head-a"}
        head, began = duo.head("head-a"), time.monotonic()
        (head.freeze if woken else head.kill)()
        try:
            duo.until(lambda: duo.ready("head-b"), DEAD_AFTER + 120, "the takeover")
            took = time.monotonic() - began - DEAD_AFTER
        finally:
            if woken:
                head.thaw()
        with capsys.disabled():
            print(f"\n{number} exports: ready {took:.1f} s after the head counted as dead")
        assert duo.targets("head-b") == number
        assert duo.open_to() == {disk.id: [disk.owner] for disk in duo.disks().values()}
        if woken:
            cleared = duo.until(lambda: duo.targets("head-a") == 0, 60, "the targets of the one that woke to go")
            duo.until(lambda: duo.addresses("head-a") == set(), 10, "its address to go")
            assert duo.targets("head-b") == number
            assert duo.open_to() == {disk.id: [disk.owner] for disk in duo.disks().values()}
            with capsys.disabled():
                print(f"cleared {cleared:.1f} s after it woke")
    assert took < 30
