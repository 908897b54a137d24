"""What every target driver promises, on the memory twin and on a tgtd of our own with real initiators."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest
import rados
import rbd

from bmid.drivers.base import Backing, Export, ExportStatus, Target
from bmid.drivers.target.memory import MemoryTarget
from bmid.drivers.target.tgt import TgtShard, TgtTarget
from bmid.errors import PermanentError, TransientError
from lab.ceph import Ceph
from lab.tgtd import Tgtd

SECRET = "ABCDEFGHIJKLMNOP"


class Peer(Protocol):
    """A target driver with the other side of its targets: disks, initiators, and a daemon that can be killed."""

    target: Target

    def export(self, number: int, **changes: object) -> Export: ...
    def enters(self, export: Export) -> bool: ...
    def session(self, export: Export, read: int, written: int) -> Callable[[], None]: ...
    def load(self, export: Export) -> Callable[[], None]: ...
    def lose(self) -> None: ...
    def freeze(self) -> None: ...


class MemoryPeer:
    def __init__(self) -> None:
        self.target = MemoryTarget(["0"])

    def export(self, number: int, **changes: object) -> Export:
        return _export(number, f"/disk{number}", changes)

    def enters(self, export: Export) -> bool:
        try:
            self._log_in(export)
        except PermissionError:
            return False
        return True

    def session(self, export: Export, read: int, written: int) -> Callable[[], None]:
        session = self._log_in(export)
        self.target.move("0", export.number, session, read, written)
        return lambda: self.target.log_out("0", export.number, session)

    def load(self, export: Export) -> Callable[[], None]:
        self.session(export, 1 << 20, 1 << 20)
        return lambda: None

    def lose(self) -> None:
        self.target.restart("0")

    def freeze(self) -> None:
        self.target.down.add("0")

    def _log_in(self, export: Export) -> int:
        return self.target.log_in("0", export.number, address="127.0.0.1", user=export.user, secret=export.secret)


class TgtPeer:
    """Initiators are libiscsi's (QEMU's too), from 127.0.0.1."""

    def __init__(self, tgtd: Tgtd, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.tgtd = tgtd
        self.port = int(self.tgtd.portal.rpartition(":")[2])
        self.target = TgtTarget({"0": TgtShard(self.tgtd.socket, "127.0.0.1", self.port)}, timeout=2)

    def export(self, number: int, **changes: object) -> Export:
        disk = self.folder / f"disk{number}"
        with disk.open("ab") as file:
            file.truncate(16 << 20)
        return _export(number, str(disk), changes)

    def enters(self, export: Export) -> bool:
        done = subprocess.run(["iscsi-inq", self._url(export)], capture_output=True, text=True, timeout=20, check=False)
        return done.returncode == 0 and "Peripheral" in done.stdout

    def session(self, export: Export, read: int, written: int) -> Callable[[], None]:
        commands = (f"read 0 {read}", f"write 0 {written}", "sleep 600000")
        spelled = [word for command in commands for word in ("-c", command)]
        process = self._start("qemu-io", "-f", "raw", *spelled, self._url(export))
        return lambda: self._end(process)

    def load(self, export: Export) -> Callable[[], None]:
        process = self._start("qemu-img", "bench", "-w", "-c", "100000000", "-d", "32", "-f", "raw", self._url(export))
        return lambda: self._end(process)

    def lose(self) -> None:
        self.tgtd.kill()
        self.tgtd.start()

    def freeze(self) -> None:
        self.tgtd.freeze()

    def _start(self, *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.stack.callback(self._end, process)
        return process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait(10)

    def _url(self, export: Export) -> str:
        return f"iscsi://{export.user}%{export.secret}@127.0.0.1:{self.port}/{export.iqn}/{export.lun}"


def _export(number: int, path: str, changes: dict[str, object]) -> Export:
    export = Export(
        number=number,
        iqn=f"iqn.2026-01.org.bmi:disk{number}",
        backing=Backing("rdwr", path),
        address="127.0.0.1",
        user=f"user{number}",
        secret=SECRET,
    )
    return replace(export, **changes)


@pytest.fixture
def tgt(tgtd: Tgtd, tmp_path: Path) -> Iterator[TgtPeer]:
    with ExitStack() as stack:
        yield TgtPeer(tgtd, tmp_path, stack)


@pytest.fixture(params=["memory", "tgt"])
def peer(request: pytest.FixtureRequest) -> Peer:
    peer: Peer = MemoryPeer() if request.param == "memory" else request.getfixturevalue("tgt")
    return peer


def wait_until(what: Callable[[], bool], seconds: float = 10) -> None:
    last = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < last, "it didn't come to pass in time"
        time.sleep(0.02)


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
    assert time.monotonic() - began < 6


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


def test_a_frozen_tgtd_times_out_even_when_its_queue_is_full(tgt: TgtPeer) -> None:
    tgt.freeze()
    slugs: list[str] = []

    def ask() -> None:
        with pytest.raises(TransientError) as error:
            tgt.target.status("0", 1)
        slugs.append(error.value.problem.slug)

    threads = [threading.Thread(target=ask) for _ in range(48)]  # its queue holds 32
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(8)
    assert slugs == ["target-timeout"] * 48


def test_a_dead_tgtd_is_said_to_be_down(tgt: TgtPeer) -> None:
    tgt.tgtd.kill()
    for call in (lambda: tgt.target.check("0"), lambda: tgt.target.create("0", tgt.export(1))):
        with pytest.raises(TransientError) as error:
            call()
        assert error.value.problem.slug == "target-down"


def test_a_disk_that_cannot_be_opened_leaves_no_target(tgt: TgtPeer) -> None:
    export = tgt.export(1, backing=Backing("rdwr", str(tgt.folder / "missing")))
    with pytest.raises(TransientError) as error:
        tgt.target.create("0", export)
    assert error.value.problem.slug == "target-backing"
    assert tgt.target.exports("0") == ()


def test_an_account_left_by_a_crash_does_not_keep_its_old_secret(tgt: TgtPeer) -> None:
    tgt.tgtd.tgtadm("--op", "new", "--mode", "account", "--user", "user1", "--password", "old-old-old-old")
    export = tgt.export(1)
    tgt.target.create("0", export)
    tgt.target.admit("0", export)
    assert tgt.enters(export)


def test_a_change_by_another_process_is_seen(tgt: TgtPeer) -> None:
    export = tgt.export(1)
    tgt.target.create("0", export)
    other = TgtTarget({"0": TgtShard(tgt.tgtd.socket, "127.0.0.1", tgt.port)}, timeout=2)
    closed = other.status("0", 1)
    assert closed is not None
    assert not closed.open
    tgt.target.admit("0", export)
    seen = other.status("0", 1)
    assert seen is not None
    assert seen.open
    other.remove("0", 1, export.user)
    assert tgt.target.status("0", 1) is None


def test_a_known_target_is_asked_for_alone(tgt: TgtPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(1, 6):
        tgt.target.create("0", tgt.export(number))
    view = tgt.target._daemons["0"].view

    def listed() -> None:
        raise AssertionError("the list of all targets was fetched for one")

    monkeypatch.setattr(view, "exports", listed)
    assert tgt.target.status("0", 3) is not None
    tgt.target.admit("0", tgt.export(3))
    tgt.target.remove("0", 3, "user3")


def test_an_rbd_disk_is_exported_with_small_physical_blocks_and_let_go_of(tgt: TgtPeer, ceph: Ceph) -> None:
    with rados.Rados(conffile=str(ceph.conf), rados_id=ceph.user) as cluster, cluster.open_ioctx(ceph.pool) as pool:
        rbd.RBD().create(pool, "target-test", 64 << 20)
        options = f"conf={ceph.tgt_conf};id={ceph.user}"
        export = tgt.export(1, backing=Backing("rbd", f"{ceph.pool}/target-test", options))
        tgt.target.create("0", export)
        tgt.target.admit("0", export)
        end = tgt.session(export, 1 << 16, 1 << 16)
        wait_until(lambda: any(s.bytes_written for s in _status(tgt, 1).sessions))
        shown = subprocess.run(
            ["iscsi-readcapacity16", tgt._url(export)], capture_output=True, text=True, timeout=20, check=True
        ).stdout
        assert re.search(r"PER PHYSICAL BLOCK EXPONENT:3\b", shown), shown
        tgt.target.remove("0", 1, export.user)
        rbd.RBD().remove(pool, "target-test")  # refused while anybody has it open
        end()


def test_an_rbd_disk_that_is_missing_is_said_so(tgt: TgtPeer, ceph: Ceph) -> None:
    options = f"conf={ceph.tgt_conf};id={ceph.user}"
    export = tgt.export(1, backing=Backing("rbd", f"{ceph.pool}/missing", options))
    with pytest.raises(TransientError) as error:
        tgt.target.create("0", export)
    assert error.value.problem.slug == "target-backing"
    assert tgt.target.exports("0") == ()


def test_values_that_tgtd_would_misread_are_refused_and_no_secret_is_shown(tgt: TgtPeer) -> None:
    for changes in (
        {"iqn": "iqn.2026-01.org:a,b"},
        {"user": "a b"},
        {"address": "127.0.0.1\n"},
        {"secret": "AAAAAAAA,AAAAAAA"},
        {"backing": Backing("rdwr", "/a,b")},
        {"backing": Backing("rdwr", "")},
    ):
        with pytest.raises(PermanentError) as error:
            tgt.target.create("0", tgt.export(1, **changes))
        assert error.value.problem.slug == "target-value"
        assert "AAAA" not in str(error.value.problem)
    assert SECRET not in repr(tgt.export(1))


@pytest.mark.parametrize("forged", ["", "\nTarget 2: iqn.forged\n    Account information:\n        forged"])
def test_an_initiator_cannot_write_about_other_targets(tgt: TgtPeer, forged: str) -> None:
    """Its name may hold line breaks, which tgtd shows as they are. At most its own target looks odd."""
    for number in (1, 2):
        tgt.target.create("0", tgt.export(number))
        tgt.target.admit("0", tgt.export(number))
    before = tgt.target.exports("0")
    name = "iqn.2000-01.x:y\n    Account information:\n        forged\n    ACL information:\n        ALL"
    tgt._start("qemu-io", "-c", "sleep 600000", f"json:{_blockdev(tgt, tgt.export(1), name + forged)}")
    wait_until(lambda: bool(_status(tgt, 1).sessions))
    after = [replace(each, sessions=()) for each in tgt.target.exports("0")]
    assert after[1:] == list(before[1:])
    assert forged or after == list(before)
    fresh = TgtTarget({"0": TgtShard(tgt.tgtd.socket, "127.0.0.1", tgt.port)}, timeout=2)
    assert fresh.status("0", 2) == before[1]
    fresh.remove("0", 1, "user1")
    assert fresh.exports("0") == before[1:]


def _status(tgt: TgtPeer, number: int) -> ExportStatus:
    status = tgt.target.status("0", number)
    assert status is not None
    return status


def _blockdev(tgt: TgtPeer, export: Export, initiator: str) -> str:
    options = {
        "driver": "iscsi",
        "transport": "tcp",
        "portal": f"127.0.0.1:{tgt.port}",
        "target": export.iqn,
        "lun": export.lun,
        "user": export.user,
        "password": export.secret,
        "initiator-name": initiator,
    }
    return json.dumps({"driver": "raw", "file": options})
