"""Copies in a storage folder are whole or not there, and holes stay holes."""

from __future__ import annotations

import errno
from pathlib import Path
from uuid import uuid4

import pytest

from bmid.drivers.base import Stored
from bmid.drivers.storage.directory import DirectoryStorage
from bmid.drivers.storage.sparse import clone_file

MIB = 1 << 20


def test_a_copy_has_the_same_bytes_and_the_same_holes(tmp_path: Path) -> None:
    source, copy = tmp_path / "a", tmp_path / "b"
    with source.open("wb") as file:
        for place in (0, 5, 63):
            file.seek(place * MIB)
            file.write(b"data" * 1024)
        file.truncate(100 * MIB)
    clone_file(source, copy)
    assert copy.read_bytes() == source.read_bytes()
    assert copy.stat().st_blocks <= source.stat().st_blocks + 64


@pytest.mark.parametrize("size", [0, 1, 3 * MIB])
def test_an_empty_file_is_copied_too(tmp_path: Path, size: int) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(size)
    clone_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").stat().st_size == size


def test_a_copy_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"data")
    (tmp_path / "b").mkdir()  # so that the rename at the end can't succeed
    with pytest.raises(OSError, match=f"Errno {errno.EISDIR}"):
        clone_file(tmp_path / "a", tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_what_a_killed_copy_left_is_no_disk_and_goes_with_it(tmp_path: Path) -> None:
    storage, image, disk = DirectoryStorage(tmp_path), uuid4().hex, uuid4().hex
    storage.create_image(image, MIB)
    storage.seal_image(image, {})
    (tmp_path / "disks" / f"{disk}.raw.new").write_bytes(b"half")
    (tmp_path / "disks" / f"{disk}.json").write_text("{")
    assert [s for s in storage.inventory() if s.kind == "disk"] == []
    storage.clone(image, disk, {"generation": 1})
    assert [s for s in storage.inventory() if s.kind == "disk"] == [Stored("disk", disk, {"generation": 1})]
    (tmp_path / "disks" / f"{disk}.raw").unlink()
    storage.discard(disk, {})
    assert list((tmp_path / "disks").iterdir()) == []
