"""What every storage promises of its trash: the way back, and an end that is verified."""

from __future__ import annotations

from uuid import uuid4

import pytest

from bmid.drivers.base import Stored, TrashEntry
from bmid.errors import PermanentError
from tests.support.storage_bed import MIB, Bed


def in_trash(bed: Bed, *identities: str) -> list[str]:
    return [one.id for one in bed.storage.trash() if one.id in identities]


def entry(bed: Bed, identity: str) -> TrashEntry:
    [found] = [one for one in bed.storage.trash() if one.id == identity]
    return found


def test_the_trash_says_what_is_in_it_and_what_came_first(bed: Bed) -> None:
    image = bed.golden()
    disks = [bed.disk(image) for _ in range(3)]
    for disk in disks:
        bed.storage.discard(disk, {})
    bed.storage.remove_image(image)
    found = [one for one in bed.storage.trash() if one.id in (image, *disks)]
    assert {one.id: one.kind for one in found} == {image: "image", **dict.fromkeys(disks, "disk")}
    assert not any(one.spoiled for one in found)


def test_a_discarded_disk_comes_back_with_its_bytes_and_its_last_metadata(bed: Bed) -> None:
    disk = bed.disk(bed.golden(content=b"g" * MIB))
    bed.write(bed.place(disk), b"own" * 512)
    bed.storage.discard(disk, {"state": "discarded"})
    for _ in range(2):
        bed.storage.restore("disk", disk)
    assert in_trash(bed, disk) == []
    assert bed.found("disk", disk) == Stored("disk", disk, {"state": "discarded"})
    bed.storage.freeze(disk, "now")
    image = bed.duplicated(disk, "now")
    bed.storage.seal_image(image, {})
    assert bed.storage.read_image(image, 0, 1) == b"o"
    assert bed.storage.read_image(image, MIB - 1, 2) == b"g\0"


def test_a_removed_image_comes_back_golden(bed: Bed) -> None:
    image = bed.golden(content=b"g" * MIB)
    bed.storage.remove_image(image)
    for _ in range(2):
        bed.storage.restore("image", image)
    assert in_trash(bed, image) == []
    assert bed.storage.sealed(image)
    assert bed.found("image", image) == Stored("image", image, {"image": image})
    assert bed.bytes_of(image) == b"g" * MIB + bytes(3 * MIB)
    assert bed.found("disk", bed.disk(image))


def test_an_image_comes_back_after_the_disks_in_the_trash_were_made_from_it_and_then_they_do(bed: Bed) -> None:
    image = bed.golden(content=b"g" * MIB)
    disk, other = bed.disk(image), bed.disk(image)
    for one in (disk, other):
        bed.storage.discard(one, {})
    bed.storage.remove_image(image)
    bed.storage.restore("image", image)
    bed.storage.restore("disk", disk)
    with pytest.raises(PermanentError) as caught:
        bed.storage.remove_image(image)
    assert caught.value.problem.slug == "image-in-use"
    assert caught.value.problem.extra["disks"] == [disk]
    bed.storage.freeze(disk, "now")
    copy = bed.duplicated(disk, "now")
    bed.storage.seal_image(copy, {})
    assert bed.storage.read_image(copy, 0, 1) == b"g"
    fresh = bed.disk(image)
    assert bed.found("disk", fresh)
    assert in_trash(bed, disk, other) == [other]


def test_what_was_restored_can_be_removed_and_restored_again(bed: Bed) -> None:
    image = bed.golden()
    disk = bed.disk(image)
    for turn in range(2):
        bed.storage.discard(disk, {"turn": turn})
        bed.storage.remove_image(image)
        bed.storage.restore("image", image)
        bed.storage.restore("disk", disk)
        assert bed.found("disk", disk) == Stored("disk", disk, {"turn": turn})


@pytest.mark.parametrize("kind", ["image", "disk"])
def test_what_is_not_in_the_trash_cannot_be_restored(bed: Bed, kind: str) -> None:
    image = bed.golden()
    gone = image if kind == "image" else bed.disk(image)
    bed.storage.remove_image(gone) if kind == "image" else bed.storage.discard(gone, {})
    assert bed.storage.purge(entry(bed, gone))
    for identity in (gone, uuid4().hex):
        with pytest.raises(PermanentError) as caught:
            bed.storage.restore(kind, identity)
        assert caught.value.problem.slug == "trash-missing"


def test_an_image_that_never_was_golden_does_not_come_back(bed: Bed) -> None:
    image = uuid4().hex
    bed.storage.create_image(image, MIB)
    bed.storage.remove_image(image)
    with pytest.raises(PermanentError) as caught:
        bed.storage.restore("image", image)
    assert caught.value.problem.slug == "trash-missing"


def test_purging_removes_this_entry_and_no_other(bed: Bed) -> None:
    image = bed.golden()
    disks = [bed.disk(image) for _ in range(3)]
    for disk in disks:
        bed.storage.discard(disk, {})
    middle = entry(bed, disks[1])
    for _ in range(2):
        assert bed.storage.purge(middle)
    assert sorted(in_trash(bed, *disks)) == sorted([disks[0], disks[2]])
    bed.storage.restore("disk", disks[0])
    assert bed.found("disk", disks[0])


def test_a_listed_entry_that_was_restored_since_is_not_purged_where_it_is_now(bed: Bed) -> None:
    disk = bed.disk(bed.golden())
    bed.storage.discard(disk, {})
    listed = entry(bed, disk)
    bed.storage.restore("disk", disk)
    bed.storage.purge(listed)
    assert bed.found("disk", disk)


def test_what_something_in_the_trash_hangs_on_is_not_spoiled_by_a_purge_that_comes_too_early(bed: Bed) -> None:
    image = bed.golden(content=b"g" * MIB)
    disk = bed.disk(image)
    bed.storage.discard(disk, {})
    bed.storage.remove_image(image)
    if bed.storage.purge(entry(bed, image)):
        assert not bed.lineage, "only where copies share nothing"
        return
    bed.storage.restore("image", image)
    assert bed.storage.sealed(image)
    bed.storage.restore("disk", disk)
