"""Every exception of Ceph and every error of a file system has one meaning for the engine."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import rados
import rbd

from bmid.drivers.storage.ceph_error import translate
from bmid.drivers.storage.directory import DirectoryStorage
from bmid.drivers.storage.rbd import RbdStorage
from bmid.errors import PermanentError, TransientError


@pytest.mark.parametrize(
    ("error", "kind", "slug"),
    [
        (rbd.Timeout("late", errno=errno.ETIMEDOUT), TransientError, "storage-timeout"),
        (rados.TimedOut("late", errno=errno.ETIMEDOUT), TransientError, "storage-timeout"),
        (rbd.ConnectionShutdown("fenced", errno=errno.ESHUTDOWN), TransientError, "storage-fenced"),
        (rados.ConnectionShutdown("fenced", errno=errno.ESHUTDOWN), TransientError, "storage-fenced"),
        (rbd.DiskQuotaExceeded("full", errno=errno.EDQUOT), TransientError, "pool-full"),
        (rados.OSError("full", errno=errno.EDQUOT), TransientError, "pool-full"),
        (rbd.NoSpace("full", errno=errno.ENOSPC), TransientError, "pool-full"),
        (rbd.ImageBusy("busy", errno=errno.EBUSY), TransientError, "storage-busy"),
        (rbd.ImageHasSnapshots("children", errno=errno.ENOTEMPTY), PermanentError, "image-in-use"),
        (rbd.PermissionError("no", errno=errno.EPERM), TransientError, "storage-denied"),
        (rados.ObjectNotFound("none", errno=errno.ENOENT), TransientError, "storage-down"),
        (rbd.ImageNotFound("none", errno=errno.ENOENT), PermanentError, "storage-missing"),
        (rbd.OSError("odd", errno=errno.EIO), TransientError, "storage-error"),
        (rados.Error("odd"), TransientError, "storage-error"),
    ],
)
def test_each_exception_of_ceph_has_one_meaning(error: Exception, kind: type[Exception], slug: str) -> None:
    meaning = translate(error)
    assert type(meaning) is kind
    assert meaning.problem.slug == slug


def test_a_storage_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path / "not mounted")
    with pytest.raises(TransientError) as caught:
        storage.check()
    assert caught.value.problem.slug == "storage-down"
    assert not (tmp_path / "not mounted").exists()


def test_a_constructor_connects_to_nothing(tmp_path: Path) -> None:
    storage = RbdStorage(tmp_path / "none", "bmi", "bmi", Path("/etc/bmi/tgt.conf"))
    backing = storage.backing("1" * 32)
    assert (backing.bstype, backing.path) == ("rbd", f"bmi/disk-{'1' * 32}")
    assert backing.bsopts == "conf=/etc/bmi/tgt.conf;id=bmi"
    storage.close()
