"""What is not ours in Ceph, and what we make for others there: what deaths leave of it goes, and rights are known."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest
import rados
import rbd

from bmid.drivers.base import JobState
from bmid.drivers.imaging.qemu import QemuImaging
from bmid.drivers.storage import rbd_foreign
from bmid.drivers.storage.rbd import RbdStorage
from bmid.errors import PermanentError
from lab.ceph import Ceph
from tests.support.foreign_bed import removed
from tests.support.storage_bed import MIB, OPEN, pool_of, seconds, settled

OBJECT = 4 * MIB


@pytest.fixture
def foreign(ceph: Ceph) -> Iterator[rados.Ioctx]:
    with pool_of(ceph, ceph.extra_pool("theirs")) as ioctx:
        yield ioctx


def test_reading_what_is_not_ours_leaves_even_its_time_of_access(storage: RbdStorage, foreign: rados.Ioctx) -> None:
    name, imaging = f"theirs-{uuid4().hex[:8]}", QemuImaging()
    rbd.RBD().create(foreign, name, MIB, old_format=False)
    with rbd.Image(foreign, name) as handle:
        handle.write(b"theirs", 0)
        header = f"rbd_header.{handle.id()}"
    long_ago = struct.pack("<II", 1_000_000_000, 0)
    with rados.WriteOpCtx() as operation:
        foreign.set_omap(operation, ("access_timestamp",), (long_ago,))
        foreign.operate_write_op(operation, header)
    source = storage.foreign_source("theirs", name, None)
    imaging.copy("copy", source.address, source.size, storage.create_image(uuid4().hex, MIB))
    assert settled(imaging, "copy").state is JobState.DONE
    assert foreign.execute(header, "rbd", "get_access_timestamp", b"")[1] == long_ago


def leave_unmarked(pool: rados.Ioctx, _name: str, mark: str) -> None:
    """As after kill -9 before the mark was written."""
    rbd.RBD().create(pool, f"bmi-export-{mark}", MIB, old_format=False)


def leave_unnamed(pool: rados.Ioctx, name: str, mark: str) -> None:
    """As after kill -9 before it was given its name."""
    leave_unmarked(pool, name, mark)
    with rbd.Image(pool, f"bmi-export-{mark}") as handle:
        handle.metadata_set("bmi-export", f'{{"mark": "{mark}"}}')


def leave_two_names(pool: rados.Ioctx, name: str, mark: str) -> None:
    """As after kill -9 while it was given its name."""
    leave_unnamed(pool, name, mark)
    pool.write_full(f"rbd_id.{name}", pool.read(f"rbd_id.bmi-export-{mark}"))


def leave_one_of_two_names(pool: rados.Ioctx, name: str, mark: str) -> None:
    """As after kill -9 a moment later."""
    leave_unnamed(pool, name, mark)
    kept = pool.read(f"rbd_id.bmi-export-{mark}")
    rbd.RBD().rename(pool, f"bmi-export-{mark}", name)
    pool.write_full(f"rbd_id.bmi-export-{mark}", kept)


@pytest.mark.parametrize("leave", [leave_unmarked, leave_unnamed, leave_two_names, leave_one_of_two_names])
def test_an_export_whose_maker_was_killed_is_made_anew_or_removed(
    storage: RbdStorage, foreign: rados.Ioctx, leave: Callable[[rados.Ioctx, str, str], None]
) -> None:
    for again in (True, False):
        name, mark = f"export-{uuid4().hex[:8]}", uuid4().hex
        leave(foreign, name, mark)
        if again:
            removed(storage, "theirs", name, mark)
            storage.create_foreign("theirs", name, 2 * MIB, mark)
            with rbd.Image(foreign, name) as handle:
                assert handle.size() == 2 * MIB
                assert handle.metadata_get("bmi-export") == f'{{"mark": "{mark}"}}'
        removed(storage, "theirs", name, mark)
        assert not {name, f"bmi-export-{mark}"} & set(rbd.RBD().list(foreign))
        for left in (name, f"bmi-export-{mark}"):
            with pytest.raises(rados.ObjectNotFound):
                foreign.stat(f"rbd_id.{left}")


def test_an_export_whose_writer_was_killed_goes_at_once(ceph: Ceph, storage: RbdStorage, foreign: rados.Ioctx) -> None:
    name = f"export-{uuid4().hex[:8]}"
    storage.create_foreign("theirs", name, MIB, "mark")
    command = [sys.executable, "-c", OPEN, str(ceph.conf), ceph.user, "theirs", name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline()
        writer.kill()
    assert seconds(lambda: removed(storage, "theirs", name, "mark")) < 15
    assert name not in rbd.RBD().list(foreign)


def test_much_that_was_begun_goes_a_part_at_a_time_and_keeps_its_mark(
    storage: RbdStorage, foreign: rados.Ioctx, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rbd_foreign, "_PATIENCE", 0.0)
    name, slices = f"export-{uuid4().hex[:8]}", 3
    storage.create_foreign("theirs", name, slices * rbd_foreign._SLICE, "mark")
    with rbd.Image(foreign, name) as handle:
        for number in range(slices):
            handle.write(b"much", number * rbd_foreign._SLICE)
    for left in range(slices - 1, 0, -1):
        assert not storage.remove_foreign("theirs", name, "mark")
        with rbd.Image(foreign, name, read_only=True) as handle:
            assert handle.size() == left * rbd_foreign._SLICE
            assert handle.metadata_get("bmi-export") == '{"mark": "mark"}'
    assert storage.remove_foreign("theirs", name, "mark")
    assert name not in rbd.RBD().list(foreign)


def test_a_pool_that_is_not_there_or_not_allowed_is_told_with_what_to_do(ceph: Ceph, storage: RbdStorage) -> None:
    forbidden = f"forbidden-{uuid4().hex[:8]}"
    with ceph.admin() as administrator:
        administrator.make_pool(forbidden, 8)
    for pool, slug in ((forbidden, "pool-forbidden"), ("no-such-pool", "pool-unknown")):
        for call in (
            lambda pool=pool: storage.foreign_source(pool, "image", None),
            lambda pool=pool: storage.create_foreign(pool, "image", MIB, "mark"),
        ):
            with pytest.raises(PermanentError) as caught:
                call()
            assert caught.value.problem.slug == slug
            assert caught.value.problem.todo
        assert pool != forbidden or f"ceph auth caps client.{ceph.user} " in caught.value.problem.todo
        assert storage.remove_foreign(pool, "image", "mark")
    with ceph.admin() as administrator:
        administrator.allow_all_pools(ceph.user)
    assert storage.create_foreign(forbidden, "image", MIB, "mark").size == MIB


def test_a_pool_that_may_only_be_read_is_told_and_not_tried_again(ceph: Ceph, storage: RbdStorage) -> None:
    """QEMU opens what it reads as a writer would."""
    pool, name, imaging = ceph.extra_pool("theirs"), uuid4().hex, QemuImaging()
    with pool_of(ceph, pool) as ioctx:
        rbd.RBD().create(ioctx, name, MIB, old_format=False)
    with ceph.admin() as administrator:
        rights = f"profile rbd pool={ceph.pool}, profile rbd-read-only pool={pool}"
        administrator.command("auth caps", entity=f"client.{ceph.user}", caps=["mon", "profile rbd", "osd", rights])
        try:
            source = storage.foreign_source(pool, name, None)
            imaging.copy("job", source.address, source.size, storage.create_image(name, MIB))
            job = settled(imaging, "job")
            with pytest.raises(PermanentError) as caught:
                storage.create_foreign(pool, f"{name}-export", MIB, "mark")
        finally:
            administrator.allow_all_pools(ceph.user)
    assert job.problem is not None
    assert (job.problem[0], job.problem[2]) == ("pool-forbidden", False), job
    assert "profile rbd" in job.problem[1]
    assert caught.value.problem.slug == "pool-forbidden"
