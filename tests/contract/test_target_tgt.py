"""What the tgt driver promises beyond its port: a frozen or dead tgtd, crashes, rbd disks, forged words."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from dataclasses import replace

import pytest
import rados
import rbd

from bmid.drivers.base import Backing, Export, ExportStatus
from bmid.drivers.target.tgt import TgtShard, TgtTarget
from bmid.errors import PermanentError, TransientError
from lab.ceph import Ceph
from tests.support.target_peer import SECRET, SEED_SIZE, TgtPeer, wait_until


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
        thread.join(30)
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


def test_a_seed_that_cannot_be_opened_leaves_no_target(tgt: TgtPeer) -> None:
    export = tgt.export(1, seed=Backing("rdwr", str(tgt.folder / "missing")))
    with pytest.raises(TransientError) as error:
        tgt.target.create("0", export)
    assert error.value.problem.slug == "target-backing"
    assert tgt.target.exports("0") == ()


def test_the_initiator_of_a_disk_reads_its_seed_and_cannot_write_to_it(tgt: TgtPeer) -> None:
    export = tgt.export(1, seed=tgt.seed(1))
    tgt.target.create("0", export)
    tgt.target.admit("0", export)
    read = tgt.on_lun(export, 2, f"read -P 1 0 {SEED_SIZE}")
    assert f"read {SEED_SIZE}/{SEED_SIZE}" in read.stdout, read
    assert "Pattern verification failed" not in read.stdout
    refused = tgt.on_lun(export, 2, "write -P 7 0 512", write=True)
    assert "LUN is write protected" in refused.stderr, refused
    # An initiator that writes nevertheless: libiscsi's own suite sends every command that changes a disk. It isn't
    # content with tgtd as a whole, which refuses two of them for what they ask instead of where.
    suite = ["iscsi-test-cu", "-d", "-V", "-t", "SCSI.ReadOnly", tgt._url(replace(export, lun=2))]
    tried = subprocess.run(suite, capture_output=True, text=True, timeout=60, check=False).stdout
    assert tried.count("returned CHECK_CONDITION DATA PROTECTION(0x07) WRITE_PROTECTED") == 9, tried
    assert "returned SUCCESS" not in tried.partition("Suite: ReadOnly")[2], tried
    assert (tgt.folder / "seed1.iso").read_bytes() == bytes([1]) * SEED_SIZE
    written = tgt.on_lun(export, 1, "write -P 7 0 4096", write=True)
    assert "wrote 4096/4096" in written.stdout, written


def test_a_seed_is_seen_by_nobody_but_the_initiator_of_its_disk(tgt: TgtPeer) -> None:
    mine, other = tgt.export(1, seed=tgt.seed(1)), tgt.export(2)
    elsewhere = tgt.export(3, seed=tgt.seed(3), address="127.0.0.2")
    for export in (mine, other, elsewhere):
        tgt.target.create("0", export)
    assert "read 512/512" not in tgt.on_lun(mine, 2, "read 0 512").stdout  # nobody was admitted yet
    for export in (mine, other, elsewhere):
        tgt.target.admit("0", export)
    assert "read 512/512" in tgt.on_lun(mine, 2, "read -P 1 0 512").stdout
    strangers = (
        replace(mine, secret="ABCDEFGHIJKLMNOQ"),
        replace(mine, user=other.user, secret=other.secret),
        elsewhere,
    )
    for stranger in strangers:
        assert "read 512/512" not in tgt.on_lun(stranger, 2, "read 0 512").stdout, stranger
    without_chap = tgt._url(mine).replace(f"{mine.user}%{mine.secret}@", "").rpartition("/")[0] + "/2"
    bare = subprocess.run(["iscsi-inq", without_chap], capture_output=True, text=True, timeout=20, check=False)
    assert bare.returncode != 0
    assert "read 512/512" not in tgt.on_lun(other, 2, "read 0 512").stdout  # its target has no second LUN


def test_a_seed_that_is_open_does_not_keep_its_target(tgt: TgtPeer) -> None:
    export = tgt.export(1, seed=tgt.seed(1))
    tgt.target.create("0", export)
    tgt.target.admit("0", export)
    tgt._start("qemu-io", "-r", "-f", "raw", "-c", "read 0 512", "-c", "sleep 600000", tgt._url(replace(export, lun=2)))
    wait_until(lambda: any(s.bytes_read for s in _status(tgt, 1).sessions))
    tgt.target.remove("0", 1, export.user)
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
        {"seed": Backing("rdwr", "/a,b")},
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
