"""What every storage promises of pools that are not its own: what is there is left alone, what is made is marked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from bmid.drivers.storage.directory import DirectoryStorage
from bmid.errors import PermanentError
from tests.support.foreign_bed import ForeignBed, foreign_memory, foreign_rbd, removed
from tests.support.storage_bed import MIB

# A snapshot's name is what somebody liked: all of this means something to QEMU, to a shell, or to nobody.
ODD = r"v1:id=x\,é 'a' \"$HOME\";%=-"


@pytest.fixture(params=["memory", "rbd"])
def theirs(request: pytest.FixtureRequest) -> Iterator[ForeignBed]:
    made = foreign_memory() if request.param == "memory" else foreign_rbd(request.getfixturevalue("ceph"))
    yield made
    made.bed.storage.close()


def slug(caught: pytest.ExceptionInfo[Any]) -> str:
    return caught.value.problem.slug


def test_a_folder_knows_no_pools_and_has_nothing_to_remove_there(tmp_path: Path) -> None:
    storage = DirectoryStorage(tmp_path)
    for call in (
        lambda: storage.foreign_source("pool", "image", None),
        lambda: storage.create_foreign("pool", "image", MIB, "mark"),
        lambda: storage.release_foreign("pool", "image", "mark"),
    ):
        with pytest.raises(PermanentError) as caught:
            call()
        assert slug(caught) == "pools-unsupported"
    assert storage.remove_foreign("pool", "image", "mark")


def test_an_image_of_somebody_is_read_and_left_as_it_was(theirs: ForeignBed) -> None:
    image = theirs.owned(b"theirs")
    before = theirs.state(image)
    source = theirs.bed.storage.foreign_source(theirs.pool, image, None)
    assert source.size == 4 * MIB
    assert theirs.read(source) == b"theirs".ljust(4 * MIB, b"\0")
    assert theirs.state(image) == before


@pytest.mark.parametrize("name", ["v1", ODD])
def test_a_snapshot_of_an_image_in_use_is_read_whatever_its_name(theirs: ForeignBed, name: str) -> None:
    image = theirs.owned(b"newer!", {"older": b"oldest", name: b"older!"})
    with theirs.hold(image):
        source = theirs.bed.storage.foreign_source(theirs.pool, image, name)
        assert theirs.read(source)[:6] == b"older!"


def test_an_image_in_use_is_not_read(theirs: ForeignBed) -> None:
    image = theirs.owned()
    with theirs.hold(image), pytest.raises(PermanentError) as caught:
        theirs.bed.storage.foreign_source(theirs.pool, image, None)
    assert slug(caught) == "source-in-use"
    assert caught.value.problem.todo


def test_a_source_that_is_not_there_is_told(theirs: ForeignBed) -> None:
    image = theirs.owned()
    for name, snapshot in ((image, "none"), (f"{image}-not", None), (f"{image}-not", "v1")):
        with pytest.raises(PermanentError) as caught:
            theirs.bed.storage.foreign_source(theirs.pool, name, snapshot)
        assert slug(caught) == "source-unknown"


def test_an_export_is_marked_until_it_is_whole(theirs: ForeignBed) -> None:
    storage, name, golden = theirs.bed.storage, f"export-{uuid4().hex[:8]}", theirs.bed.golden(content=b"g" * 512)
    place = storage.create_foreign(theirs.pool, name, 4 * MIB, "operation-1")
    assert place.size == 4 * MIB
    assert theirs.mark(name) == "operation-1"
    theirs.bed.copy(storage.address(golden), 4 * MIB, place.address)
    for _ in range(2):
        storage.release_foreign(theirs.pool, name, "operation-1")
    assert theirs.mark(name) is None
    assert theirs.content(name) == b"gggggg"


def test_an_unfinished_export_keeps_its_name_until_it_is_removed(theirs: ForeignBed) -> None:
    storage, name = theirs.bed.storage, f"export-{uuid4().hex[:8]}"
    theirs.bed.write(storage.create_foreign(theirs.pool, name, MIB, "operation-1").address, b"left over")
    with pytest.raises(PermanentError) as caught:
        storage.create_foreign(theirs.pool, name, MIB, "operation-1")
    assert slug(caught) == "export-exists"
    removed(storage, theirs.pool, name, "operation-1")
    place = storage.create_foreign(theirs.pool, name, 2 * MIB, "operation-1")
    assert theirs.mark(name) == "operation-1"
    assert theirs.read(place) == bytes(2 * MIB)


def test_an_export_overwrites_nothing(theirs: ForeignBed) -> None:
    storage, image, other = theirs.bed.storage, theirs.owned(b"theirs"), f"export-{uuid4().hex[:8]}"
    theirs.bed.write(storage.create_foreign(theirs.pool, other, MIB, "operation-2").address, b"o" * 512)
    before = theirs.state(image), theirs.state(other)
    for name in (image, other):
        with pytest.raises(PermanentError) as caught:
            storage.create_foreign(theirs.pool, name, MIB, "operation-1")
        assert slug(caught) == "export-exists"
        storage.release_foreign(theirs.pool, name, "operation-1")
        removed(storage, theirs.pool, name, "operation-1")
    assert (theirs.state(image), theirs.state(other)) == before
    assert [theirs.content(image), theirs.content(other)] == [b"theirs", b"oooooo"]


def test_an_unfinished_export_is_removed_and_a_whole_one_is_not(theirs: ForeignBed) -> None:
    storage, name = theirs.bed.storage, f"export-{uuid4().hex[:8]}"
    storage.create_foreign(theirs.pool, name, MIB, "operation-1")
    for _ in range(2):
        removed(storage, theirs.pool, name, "operation-1")
    assert theirs.state(name) is None
    storage.create_foreign(theirs.pool, name, MIB, "operation-1")
    storage.release_foreign(theirs.pool, name, "operation-1")
    assert storage.remove_foreign(theirs.pool, name, "operation-1")
    assert theirs.state(name) is not None
    with pytest.raises(PermanentError) as caught:
        storage.create_foreign(theirs.pool, name, MIB, "operation-1")
    assert slug(caught) == "export-exists"


def test_what_is_gone_cannot_become_whole(theirs: ForeignBed) -> None:
    with pytest.raises(PermanentError) as caught:
        theirs.bed.storage.release_foreign(theirs.pool, "gone", "operation-1")
    assert slug(caught) == "storage-missing"
