"""Fixtures that several suites share: storages and imaging of every kind, a pool of Ceph from outside, a tgtd."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
import rados
import rbd

from bmid.drivers.storage.rbd import RbdStorage
from lab.ceph import Ceph
from lab.tgtd import Tgtd
from tests.support.imaging_bench import Bench, bench_of
from tests.support.storage_bed import MIB, Bed, directory_bed, memory_bed, pool_of, rbd_bed
from tests.support.target_peer import TgtPeer


@pytest.fixture(params=["memory", "directory", "rbd"])
def bed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bed]:
    """Each kind of storage."""
    yield from opened(request, tmp_path)


@pytest.fixture(params=["memory", "memory-at-once", "directory", "directory-cow", "rbd"])
def copying_bed(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bed]:
    """Each kind of storage, in each of its ways of copying."""
    yield from opened(request, tmp_path)


def opened(request: pytest.FixtureRequest, folder: Path) -> Iterator[Bed]:
    if request.param.startswith("memory"):
        made = memory_bed(errands=request.param == "memory")
    elif request.param.startswith("directory"):
        made = directory_bed(folder, cow=request.param == "directory-cow")
    else:
        made = rbd_bed(request.getfixturevalue("ceph"))
    yield made
    made.storage.close()


@pytest.fixture
def storage(ceph: Ceph) -> Iterator[RbdStorage]:
    """The rbd driver."""
    made = RbdStorage(ceph.conf, ceph.user, ceph.pool, ceph.tgt_conf, timeout=20)
    yield made
    made.close()


@pytest.fixture
def hasty(ceph: Ceph) -> Iterator[RbdStorage]:
    """The same, which gives up soon."""
    made = RbdStorage(ceph.conf, ceph.user, ceph.pool, ceph.tgt_conf, timeout=3)
    yield made
    made.close()


@pytest.fixture
def pool(ceph: Ceph) -> Iterator[rados.Ioctx]:
    """Its pool, over a connection that has nothing to do with the driver's."""
    with pool_of(ceph) as ioctx:
        yield ioctx


@pytest.fixture
def image(storage: RbdStorage, pool: rados.Ioctx) -> str:
    """A golden image in it."""
    name = uuid4().hex
    storage.create_image(name, 8 * MIB)
    with rbd.Image(pool, f"image-{name}") as handle:
        handle.write(b"golden", 0)
    storage.seal_image(name, {"image": name})
    return name


@pytest.fixture(params=["memory", "qemu"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """Each kind of imaging."""
    return bench_of(request.param, tmp_path)


@pytest.fixture
def tgt(tgtd: Tgtd, tmp_path: Path) -> Iterator[TgtPeer]:
    """A tgtd with real initiators."""
    with ExitStack() as stack:
        yield TgtPeer(tgtd, tmp_path, stack)
