"""What every target driver promises, on the memory twin and on a tgtd of our own with real initiators."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from bmid.drivers.base import Export
from bmid.errors import PermanentError, TransientError
from tests.support.target_peer import MemoryPeer, Peer, wait_until


@pytest.fixture(params=["memory", "tgt"])
def peer(request: pytest.FixtureRequest) -> Peer:
    peer: Peer = MemoryPeer() if request.param == "memory" else request.getfixturevalue("tgt")
    return peer


def test_check_says_what_it_is_and_where_initiators_find_it(peer: Peer) -> None:
    assert peer.target.check("0")
    address, port = peer.target.portal("0")
    assert address == "127.0.0.1"
    assert port > 0


def test_a_shard_that_is_not_there_is_an_error_for_good(peer: Peer) -> None:
    with pytest.raises(PermanentError) as error:
        peer.target.status("9", 1)
    assert error.value.problem.slug == "shard-unknown"


def test_what_is_not_there_has_no_status_and_is_removed_without_a_word(peer: Peer) -> None:
    assert peer.target.status("0", 1) is None
    assert peer.target.exports("0") == ()
    peer.target.remove("0", 1, "user1")


def test_a_new_target_is_closed_to_all(peer: Peer) -> None:
    export = peer.export(1)
    peer.target.create("0", export)
    status = peer.target.status("0", 1)
    assert status is not None
    assert not status.open
    assert (status.number, status.iqn, status.backing) == (1, export.iqn, export.backing.path)
    assert not peer.enters(export)


def test_an_admitted_initiator_enters_and_no_other(peer: Peer) -> None:
    export = peer.export(1)
    peer.target.create("0", export)
    peer.target.admit("0", export)
    assert peer.enters(export)
    assert not peer.enters(replace(export, secret="ABCDEFGHIJKLMNOQ"))
    assert not peer.enters(replace(export, user="somebody"))
    status = peer.target.status("0", 1)
    assert status is not None
    assert status.open
    assert (status.user, status.addresses) == ("user1", ("127.0.0.1",))


def test_an_initiator_at_another_address_is_refused(peer: Peer) -> None:
    export = peer.export(1, address="127.0.0.2")
    peer.target.create("0", export)
    peer.target.admit("0", export)
    assert not peer.enters(export)


def test_the_account_of_one_target_opens_no_other(peer: Peer) -> None:
    for number in (1, 2):
        peer.target.create("0", peer.export(number))
        peer.target.admit("0", peer.export(number))
    assert not peer.enters(peer.export(2, user="user1"))
    assert peer.enters(peer.export(2))


def test_admitting_twice_is_admitting_once(peer: Peer) -> None:
    export = peer.export(1)
    peer.target.create("0", export)
    peer.target.admit("0", export)
    peer.target.admit("0", export)
    assert peer.enters(export)


def test_admitting_to_another_address_shuts_the_old_one_out(peer: Peer) -> None:
    export = peer.export(1)
    peer.target.create("0", export)
    peer.target.admit("0", export)
    peer.target.admit("0", replace(export, address="127.0.0.2"))
    assert not peer.enters(export)


def test_nobody_is_admitted_to_a_target_that_is_absent_or_another(peer: Peer) -> None:
    with pytest.raises(TransientError):
        peer.target.admit("0", peer.export(1))
    peer.target.create("0", peer.export(1))
    with pytest.raises(TransientError):
        peer.target.admit("0", peer.export(1, iqn="iqn.2026-01.org.bmi:other"))
    status = peer.target.status("0", 1)
    assert status is not None
    assert not status.open


def test_creating_again_makes_it_anew_and_closed_with_the_new_secret(peer: Peer) -> None:
    old, new = peer.export(1), peer.export(1, secret="QQQQQQQQQQQQQQQQ")
    peer.target.create("0", old)
    peer.target.admit("0", old)
    peer.target.create("0", new)
    assert not peer.enters(old)
    peer.target.admit("0", new)
    assert peer.enters(new)
    assert not peer.enters(old)


def test_creating_removes_what_has_the_same_name_under_another_number(peer: Peer) -> None:
    old = peer.export(1)
    peer.target.create("0", old)
    peer.target.admit("0", old)
    new = peer.export(2, iqn=old.iqn)
    peer.target.create("0", new)
    assert [(each.number, each.open) for each in peer.target.exports("0")] == [(2, False)]


def test_sessions_come_with_bytes_and_go_when_they_end(peer: Peer) -> None:
    export = peer.export(1)
    peer.target.create("0", export)
    peer.target.admit("0", export)
    end = peer.session(export, 1 << 20, 1 << 16)

    def moved() -> bool:
        status = peer.target.status("0", 1)
        assert status is not None
        return any(s.bytes_read >= 1 << 20 and s.bytes_written >= 1 << 16 for s in status.sessions)

    wait_until(moved)
    (found,) = peer.target.exports("0")
    status = peer.target.status("0", 1)
    assert status == found
    assert [session.address for session in found.sessions] == ["127.0.0.1"]
    assert found.sessions[0].initiator.startswith("iqn.")
    end()
    wait_until(lambda: peer.target.status("0", 1) == replace(found, sessions=()))


def test_removing_works_under_load_and_leaves_nothing(peer: Peer) -> None:
    export = peer.export(1)
    peer.target.create("0", export)
    peer.target.admit("0", export)
    end = peer.load(export)

    def busy() -> bool:
        status = peer.target.status("0", 1)
        return status is not None and any(session.bytes_written > 0 for session in status.sessions)

    wait_until(busy)
    peer.target.remove("0", 1, export.user)
    assert peer.target.status("0", 1) is None
    assert peer.target.exports("0") == ()
    assert not peer.enters(export)
    peer.target.remove("0", 1, export.user)
    end()


def test_removing_one_leaves_the_others_closed_to_strangers(peer: Peer) -> None:
    for number in (1, 2):
        peer.target.create("0", peer.export(number))
        peer.target.admit("0", peer.export(number))
    peer.target.remove("0", 1, "user2")  # a wrong user, as from a row that is out of date
    assert peer.enters(peer.export(2))
    assert not peer.enters(peer.export(2, user="nobody"))


def test_a_daemon_that_was_restarted_has_no_targets_and_takes_them_again(peer: Peer) -> None:
    export = peer.export(1)
    peer.target.create("0", export)
    peer.target.admit("0", export)
    peer.lose()
    assert peer.target.status("0", 1) is None
    peer.target.create("0", export)
    peer.target.admit("0", export)
    assert peer.enters(export)


def test_a_daemon_out_of_reach_is_an_error_that_may_pass(peer: Peer) -> None:
    peer.freeze()
    began = time.monotonic()
    with pytest.raises(TransientError):
        peer.target.check("0")
    with pytest.raises(TransientError):
        peer.target.status("0", 1)
    assert time.monotonic() - began < 20


def test_many_threads_make_many_targets(peer: Peer) -> None:
    exports = [peer.export(number) for number in range(1, 41)]
    errors: list[BaseException] = []

    def make(some: list[Export]) -> None:
        try:
            for export in some:
                peer.target.create("0", export)
                peer.target.admit("0", export)
                assert peer.target.status("0", export.number) is not None
                if export.number % 2:
                    peer.target.remove("0", export.number, export.user)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=make, args=(exports[n::8],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    standing = peer.target.exports("0")
    assert [each.number for each in standing] == list(range(2, 41, 2))
    assert all(each.open for each in standing)
