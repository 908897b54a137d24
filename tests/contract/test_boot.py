"""What every boot driver promises, on the memory twin and on files that a real dnsmasq serves to real clients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bmid.drivers.base import Pointer
from bmid.drivers.boot.script import DARK
from bmid.errors import PermanentError
from tests.support.boot_peer import SECRET, IpxePeer, MemoryPeer, Peer


@pytest.fixture(params=["memory", "ipxe"])
def peer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Peer]:
    with ExitStack() as stack:
        yield MemoryPeer() if request.param == "memory" else IpxePeer(tmp_path, stack)


def test_check_says_what_it_is(peer: Peer) -> None:
    assert peer.boot.check()


def test_a_node_that_is_led_nowhere_gets_the_dark_script(peer: Peer) -> None:
    peer.boot.check()
    entry = peer.entry()
    assert peer.boot.pointer(entry.address) is None
    assert peer.boot.pointers() == ()
    assert peer.script(entry.address) == DARK


def test_a_pointed_node_gets_its_script_and_others_do_not(peer: Peer) -> None:
    entry, other = peer.entry(1), peer.entry(2)
    peer.boot.point(entry)
    script = peer.script(entry.address)
    assert script is not None
    assert entry.iqn in script
    assert SECRET in script
    assert peer.script(other.address) == DARK


def test_a_pointer_can_be_read_back(peer: Peer) -> None:
    entry, other = peer.entry(1, generation=7), peer.entry(2)
    peer.boot.point(entry)
    peer.boot.point(other)
    wanted = Pointer(entry.address, "d1", 7, entry.iqn, complete=True)
    assert peer.boot.pointer(entry.address) == wanted
    assert {pointer.address: pointer for pointer in peer.boot.pointers()} == {
        entry.address: wanted,
        other.address: Pointer(other.address, "d2", 1, other.iqn, complete=True),
    }


def test_pointing_again_changes_nothing_and_pointing_anew_replaces(peer: Peer) -> None:
    entry = peer.entry()
    peer.boot.point(entry)
    peer.boot.point(entry)
    newer = peer.entry(generation=2, secret="QQQQQQQQQQQQQQQQ")
    peer.boot.point(newer)
    script = peer.script(entry.address)
    assert script is not None
    assert SECRET not in script
    assert newer.secret in script
    assert len(peer.boot.pointers()) == 1


def test_a_cleared_node_gets_the_dark_script(peer: Peer) -> None:
    peer.boot.check()
    entry = peer.entry()
    peer.boot.point(entry)
    peer.boot.clear(entry.address, entry.disk)
    assert peer.boot.pointer(entry.address) is None
    assert peer.script(entry.address) == DARK
    peer.boot.clear(entry.address, entry.disk)


def test_clearing_leaves_a_pointer_to_another_disk_alone(peer: Peer) -> None:
    entry = peer.entry()
    peer.boot.point(entry)
    peer.boot.clear(entry.address, "d9")
    pointer = peer.boot.pointer(entry.address)
    assert pointer is not None
    assert pointer.complete


@pytest.mark.parametrize(
    "changes",
    [
        {"secret": "AAAA\nsanboot iscsi:evil"},
        {"secret": "AAAA${net0/mac}"},
        {"user": "a b"},
        {"iqn": "iqn.2026-01.org.bmi:a||reboot"},
        {"initiator": "iqn.x:\n"},
        {"hostname": "n1,set:known"},
        {"mac": "52:54:00:77:00"},
        {"address": "../10.0.0.1"},
        {"address": "010.77.0.11"},
        {"portal": ("head", 3260)},
        {"portal": ("10.77.0.1", 0)},
        {"disk": "d1\n"},
        {"generation": -1},
    ],
)
def test_values_that_would_be_read_as_more_are_refused_and_no_secret_is_shown(
    peer: Peer, changes: dict[str, object]
) -> None:
    with pytest.raises(PermanentError) as error:
        peer.boot.point(peer.entry(**changes))
    assert error.value.problem.slug == "boot-value"
    assert "AAAA" not in str(error.value.problem)
    assert peer.boot.pointers() == ()


def test_an_address_that_is_none_is_refused(peer: Peer) -> None:
    for call in (peer.boot.pointer, peer.boot.answers, lambda text: peer.boot.clear(text, "d1")):
        with pytest.raises(PermanentError):
            call("../../etc")


def test_our_own_dhcp_needs_no_lines_of_anybody(peer: Peer) -> None:
    assert peer.boot.foreign_lines(peer.entry()) == ()
