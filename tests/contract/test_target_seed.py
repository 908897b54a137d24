"""What every target driver promises of the seed beside a disk: a second LUN, for reading only."""

from __future__ import annotations

import pytest

from tests.support.target_peer import MemoryPeer, Peer


@pytest.fixture(params=["memory", "tgt"])
def peer(request: pytest.FixtureRequest) -> Peer:
    peer: Peer = MemoryPeer() if request.param == "memory" else request.getfixturevalue("tgt")
    return peer


def test_a_seed_stands_beside_its_disk_and_only_there(peer: Peer) -> None:
    with_seed, without = peer.export(1, seed=peer.seed(1)), peer.export(2)
    for export in (with_seed, without):
        peer.target.create("0", export)
        peer.target.admit("0", export)
    assert with_seed.seed is not None
    found = {each.number: (each.backing, each.seed) for each in peer.target.exports("0")}
    assert found == {1: (with_seed.backing.path, with_seed.seed.path), 2: (without.backing.path, None)}
    for number, each in found.items():
        status = peer.target.status("0", number)
        assert status is not None
        assert (status.backing, status.seed) == each


def test_a_seed_comes_and_goes_when_its_target_is_made_anew(peer: Peer) -> None:
    seed = peer.seed(1)
    for wanted in (None, seed, None, seed):
        export = peer.export(1, seed=wanted)
        peer.target.create("0", export)
        peer.target.admit("0", export)
        status = peer.target.status("0", 1)
        assert status is not None
        assert status.seed == (wanted.path if wanted else None)
        assert peer.enters(export)
    peer.target.remove("0", 1, "user1")
    assert peer.target.exports("0") == ()


def test_a_seed_is_back_with_the_target_of_a_daemon_that_was_restarted(peer: Peer) -> None:
    export = peer.export(1, seed=peer.seed(1))
    peer.target.create("0", export)
    peer.target.admit("0", export)
    before = peer.target.status("0", 1)
    peer.lose()
    peer.target.create("0", export)
    peer.target.admit("0", export)
    assert peer.target.status("0", 1) == before
