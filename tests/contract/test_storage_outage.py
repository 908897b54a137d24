"""Ceph fenced, frozen, full, absent or without what it should have: what the rbd driver says, and how soon."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
import rados
import rbd

from bmid.drivers.base import ImageFile, JobState
from bmid.drivers.imaging.qemu import QemuImaging
from bmid.drivers.storage.ceph_connection import plain
from bmid.drivers.storage.rbd import RbdStorage
from bmid.errors import TransientError
from lab.ceph import Ceph
from lab.process import free_port
from tests.support.foreign_bed import removed
from tests.support.full import full
from tests.support.storage_bed import MIB, seconds, settled
from tests.support.trash import emptied


def command(ceph: Ceph, prefix: str, **words: object) -> None:
    with ceph.admin() as administrator:
        administrator.command(prefix, **words)


def test_a_head_that_was_fenced_says_so_and_comes_back(ceph: Ceph, storage: RbdStorage, image: str) -> None:
    address = storage.client()
    command(ceph, "osd blocklist", blocklistop="add", addr=address, expire=3600.0)

    def use(_: int) -> str:
        try:
            storage.clone(image, uuid4().hex, {})
        except TransientError as error:
            return error.problem.slug
        return "done"

    with ThreadPoolExecutor(8) as threads:
        seen = set(threads.map(use, range(16)))
    assert "storage-fenced" in seen, seen
    assert seen <= {"storage-fenced", "done"}
    assert use(0) == "done"
    assert storage.client() != address


def test_a_call_of_a_head_that_was_cut_off_meanwhile_has_no_effect(
    ceph: Ceph, storage: RbdStorage, image: str, pool: rados.Ioctx
) -> None:
    """However late it comes: its request lies in a frozen OSD while another head cuts it off."""
    other = RbdStorage(ceph.conf, ceph.user, ceph.pool, ceph.tgt_conf, timeout=10)
    disk = uuid4().hex
    me = storage.client()
    assert me
    with ThreadPoolExecutor(1) as thread:
        ceph.freeze("osd.0")
        try:
            call = thread.submit(storage.clone, image, disk, {"by": "me"})
            command(ceph, "osd blocklist", blocklistop="add", addr=me, expire=3600.0)
        finally:
            ceph.thaw("osd.0")
        other.cut_off([me])
        assert isinstance(call.exception(timeout=30), TransientError)
    other.close()
    assert f"disk-{disk}" not in rbd.RBD().list(pool)
    storage.clone(image, disk, {"by": "me"})
    assert storage.client() not in (None, me)


@pytest.mark.parametrize(
    "told",
    ["10.0.0.1:0/17", "[v2:10.0.0.1:0/17,v1:10.0.0.1:0/17]", "v2:10.0.0.1:0/17"],
)
def test_a_client_is_one_address_however_it_is_told(told: str) -> None:
    assert plain(told) == "10.0.0.1:0/17"
    assert plain(told.replace("10.0.0.1", "[fd00::1]")) == "[fd00::1]:0/17"


def test_a_frozen_osd_costs_a_timeout_and_no_more(ceph: Ceph, hasty: RbdStorage, image: str) -> None:
    ceph.freeze("osd.0")
    try:
        with pytest.raises(TransientError) as caught:
            hasty.sealed(image)
    finally:
        ceph.thaw("osd.0")
        ceph.wait_usable()
    assert caught.value.problem.slug == "storage-timeout"
    assert hasty.sealed(image)


def test_a_full_cluster_is_told_at_once_and_can_be_emptied(
    ceph: Ceph, hasty: RbdStorage, image: str, tmp_path: Path
) -> None:
    disk = uuid4().hex
    hasty.clone(image, disk, {})
    file = tmp_path / "disk"
    file.write_bytes(os.urandom(MIB))
    destination = hasty.create_image(uuid4().hex, MIB)
    imaging = QemuImaging()
    with full(ceph):
        with pytest.raises(TransientError) as caught:
            hasty.clone(image, uuid4().hex, {})
        assert caught.value.problem.slug == "pool-full"
        hasty.discard(disk, {"state": "removed"})
        assert emptied(hasty) > 0
        imaging.convert("job", file, ImageFile("raw", None, MIB, MIB, ""), destination)
        job = settled(imaging, "job")
        assert job.problem is not None
        assert job.problem[0] in ("storage-timeout", "pool-full")
        assert job.problem[2], "a retry may help"


def test_copies_into_a_full_cluster_end_in_time_and_leave_nothing(
    ceph: Ceph, hasty: RbdStorage, image: str, tmp_path: Path
) -> None:
    theirs, disk, imaging = ceph.extra_pool("theirs"), uuid4().hex, QemuImaging()
    hasty.clone(image, disk, {})
    hasty.freeze(disk, "before")
    copy = uuid4().hex
    errand = hasty.duplicate(disk, "before", copy)
    place = hasty.create_foreign(theirs, f"export-{copy}", 8 * MIB, "mark")
    with full(ceph):
        imaging.run("snapshot", errand)
        imaging.copy("export", hasty.address(image), 8 * MIB, place.address)
        for name in ("snapshot", "export"):
            job = settled(imaging, name)
            assert job.problem is not None
            assert job.problem[0] in ("storage-timeout", "pool-full"), job
            assert job.problem[2], "a retry may help"
        hasty.remove_image(copy)
        removed(hasty, theirs, f"export-{copy}", "mark")
        hasty.thaw(disk, "before")
        assert not hasty.sealed(copy)
        for call in (
            lambda: hasty.clone_image(image, copy),
            lambda: hasty.create_foreign(theirs, f"export-{copy}", 8 * MIB, "mark"),
        ):
            with pytest.raises(TransientError) as caught:
                call()
            assert caught.value.problem.slug == "pool-full"
    hasty.freeze(disk, "again")
    imaging.run("again", hasty.duplicate(disk, "again", copy))
    assert settled(imaging, "again").state is JobState.DONE
    removed(hasty, theirs, f"export-{copy}", "mark")
    hasty.create_foreign(theirs, f"export-{copy}", 8 * MIB, "mark")
    removed(hasty, theirs, f"export-{copy}", "mark")


def test_a_copy_from_a_frozen_osd_ends_in_time(ceph: Ceph, hasty: RbdStorage, image: str) -> None:
    disk, imaging = uuid4().hex, QemuImaging()
    hasty.clone(image, disk, {})
    hasty.freeze(disk, "before")
    errand = hasty.duplicate(disk, "before", uuid4().hex)
    ceph.freeze("osd.0")
    try:
        imaging.run("snapshot", errand)
        job = settled(imaging, "snapshot", 30)
    finally:
        ceph.thaw("osd.0")
    assert job.problem is not None
    assert job.problem[0] == "storage-timeout"


def test_an_absent_cluster_keeps_nobody_waiting_for_long(tmp_path: Path) -> None:
    conf = tmp_path / "ceph.conf"
    conf.write_text(f"[global]\nfsid = {uuid4()}\nmon_host = 127.0.0.1:{free_port()}\nauth_client_required = none\n")
    storage = RbdStorage(conf, "bmi", "bmi", conf, timeout=1)

    def use(_: int) -> str:
        with pytest.raises(TransientError) as caught:
            storage.check()
        return str(caught.value.problem.slug)

    with ThreadPoolExecutor(8) as threads:
        taken = seconds(lambda: list(threads.map(use, range(8))))
    assert taken < 15


def test_a_missing_pool_or_user_is_told(ceph: Ceph, tmp_path: Path) -> None:
    for storage in (
        RbdStorage(ceph.conf, ceph.user, "no-such-pool", ceph.tgt_conf, timeout=2),
        RbdStorage(ceph.conf, "nobody", ceph.pool, ceph.tgt_conf, timeout=2),
        RbdStorage(tmp_path / "none.conf", ceph.user, ceph.pool, ceph.tgt_conf, timeout=2),
    ):
        with pytest.raises(TransientError) as caught:
            storage.check()
        assert caught.value.problem.slug in ("storage-down", "storage-denied")
        assert caught.value.problem.todo
