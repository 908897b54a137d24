"""What every storage promises, asked of the memory twin, of a folder and of a real Ceph."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from bmid.drivers.base import Stored
from bmid.errors import PermanentError, TransientError
from tests.support.storage_bed import MIB, Bed


def slug(caught: pytest.ExceptionInfo[Any]) -> str:
    return caught.value.problem.slug


def test_check_says_what_the_storage_is(bed: Bed) -> None:
    assert bed.storage.check()


def test_usage_is_unknown_or_some_of_all(bed: Bed) -> None:
    usage = bed.storage.usage()
    assert usage is None or 0 <= usage.free <= usage.total


def test_a_new_image_is_empty_and_not_golden(bed: Bed) -> None:
    image = uuid4().hex
    bed.storage.create_image(image, 2 * MIB)
    assert not bed.storage.sealed(image)
    assert bed.storage.read_image(image, MIB, 4096) == bytes(4096)
    assert bed.found("image", image) == Stored("image", image)


def test_reading_ends_where_the_image_ends(bed: Bed) -> None:
    image = bed.golden(size=2 * MIB, content=b"g" * 512)
    assert bed.storage.read_image(image, 510, 4) == b"gg\0\0"
    assert bed.storage.read_image(image, 2 * MIB - 3, 100) == bytes(3)
    assert bed.storage.read_image(image, 3 * MIB, 100) == b""


def test_an_unfinished_image_is_made_anew(bed: Bed) -> None:
    image = uuid4().hex
    bed.write(bed.storage.create_image(image, MIB), b"left over")
    bed.storage.create_image(image, 3 * MIB)
    assert bed.storage.read_image(image, 0, 9) == bytes(9)
    assert len(bed.storage.read_image(image, 0, 4 * MIB)) == 3 * MIB


def test_a_golden_image_is_never_overwritten(bed: Bed) -> None:
    image = bed.golden()
    with pytest.raises(PermanentError) as caught:
        bed.storage.create_image(image, MIB)
    assert slug(caught) == "image-sealed"
    assert bed.storage.read_image(image, 0, 1) == b"g"


def test_sealing_again_changes_nothing(bed: Bed) -> None:
    image = bed.golden()
    bed.storage.seal_image(image, {"image": image})
    assert bed.storage.sealed(image)
    assert bed.found("image", image) == Stored("image", image, {"image": image})


@pytest.mark.parametrize("made", [True, False])
def test_only_a_golden_image_is_cloned(bed: Bed, made: bool) -> None:
    image, disk = uuid4().hex, uuid4().hex
    if made:
        bed.storage.create_image(image, MIB)
    with pytest.raises(PermanentError) as caught:
        bed.storage.clone(image, disk, {})
    assert slug(caught) == "image-missing"
    assert bed.found("disk", disk) is None


def test_a_clone_carries_its_metadata_and_not_that_of_its_image(bed: Bed) -> None:
    image, disk = bed.golden(), uuid4().hex
    value = {"project": "p1", "macs": ["52:54:00:00:00:01"], "generation": 1, "note": "größer"}
    bed.storage.clone(image, disk, value)
    assert bed.found("disk", disk) == Stored("disk", disk, value)


def test_cloning_again_keeps_the_disk_and_replaces_the_metadata(bed: Bed) -> None:
    image, disk = bed.golden(), uuid4().hex
    bed.storage.clone(image, disk, {"generation": 1})
    bed.storage.clone(image, disk, {"generation": 2})
    assert [s for s in bed.storage.inventory() if s.id == disk] == [Stored("disk", disk, {"generation": 2})]


def test_an_inventory_without_metadata_names_the_same_things(bed: Bed) -> None:
    image, disk = bed.golden(), uuid4().hex
    bed.storage.clone(image, disk, {"generation": 1})
    names = {(s.kind, s.id) for s in bed.storage.inventory(metadata=False)}
    assert names >= {("image", image), ("disk", disk)}
    assert all(not s.metadata for s in bed.storage.inventory(metadata=False))


def test_an_inventory_with_metadata_tells_sizes(bed: Bed) -> None:
    image = bed.golden(size=3 * MIB)
    disk, gone = bed.disk(image), bed.disk(image)
    bed.storage.discard(gone, {"state": "removed"})
    sizes = {(s.kind, s.id): s.size for s in bed.storage.inventory()}
    assert [sizes[one] for one in (("image", image), ("disk", disk), ("trash", gone))] == [3 * MIB] * 3


def test_describe_replaces_the_one_value(bed: Bed) -> None:
    image, disk = bed.golden(), uuid4().hex
    bed.storage.clone(image, disk, {"a": 1})
    bed.storage.describe(disk, {"b": 2})
    found = bed.found("disk", disk)
    assert found is not None
    assert found.metadata == {"b": 2}


def test_what_is_not_there_cannot_be_described(bed: Bed) -> None:
    with pytest.raises(PermanentError) as caught:
        bed.storage.describe(uuid4().hex, {})
    assert slug(caught) == "storage-missing"


def test_a_discarded_disk_is_in_the_trash_with_its_last_metadata(bed: Bed) -> None:
    image, disk = bed.golden(), uuid4().hex
    bed.storage.clone(image, disk, {"state": "mapped"})
    for _ in range(2):
        bed.storage.discard(disk, {"state": "removed"})
    assert bed.found("disk", disk) is None
    assert bed.found("trash", disk) == Stored("trash", disk, {"state": "removed"})
    bed.storage.discard(uuid4().hex, {})


def test_an_image_stays_while_disks_hang_on_it(bed: Bed) -> None:
    image, disk = bed.golden(), uuid4().hex
    bed.storage.clone(image, disk, {})
    with pytest.raises(PermanentError) as caught:
        bed.storage.remove_image(image)
    assert slug(caught) == "image-in-use"
    assert caught.value.problem.extra["disks"] == [disk]
    assert bed.storage.sealed(image)


def test_an_image_goes_when_its_last_disk_is_in_the_trash(bed: Bed) -> None:
    image, disk = bed.golden(), uuid4().hex
    bed.storage.clone(image, disk, {})
    bed.storage.discard(disk, {})
    for _ in range(2):
        bed.storage.remove_image(image)
    assert not bed.storage.sealed(image)
    assert bed.found("image", image) is None
    bed.purge()
    assert not [s for s in bed.storage.inventory() if s.id in (image, disk)]


def test_many_threads_get_disks_of_their_own(bed: Bed) -> None:
    image, disks = bed.golden(), [uuid4().hex for _ in range(24)]
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(lambda disk: bed.storage.clone(image, disk, {"disk": disk}), disks))
        found = {s.id: s.metadata for s in bed.storage.inventory() if s.kind == "disk"}
        assert {disk: found[disk] for disk in disks} == {disk: {"disk": disk} for disk in disks}
        list(pool.map(lambda disk: bed.storage.discard(disk, {}), disks))
    assert not [s for s in bed.storage.inventory() if s.kind == "disk" and s.id in disks]


def test_a_target_is_told_how_to_open_each_disk(bed: Bed) -> None:
    one, two = bed.storage.backing("1" * 32), bed.storage.backing("2" * 32)
    assert one.path != two.path
    assert "," not in one.bstype + one.path + one.bsopts


def test_the_owner_is_the_one_client_that_has_the_disk_open(bed: Bed) -> None:
    image, disk = bed.golden(), uuid4().hex
    bed.storage.clone(image, disk, {})
    if not bed.storage.capabilities.owners:
        assert bed.storage.owner(disk) is None
        return
    with pytest.raises(TransientError) as caught:
        bed.storage.owner(disk)
    assert slug(caught) == "owner-unclear"
    with bed.hold(disk) as (address, _write):
        assert bed.storage.owner(disk) == address
        with bed.hold(disk), pytest.raises(TransientError):
            bed.storage.owner(disk)


def test_a_fence_ends_the_writing_of_whoever_has_the_disk_open(bed: Bed) -> None:
    image, disk = bed.golden(), uuid4().hex
    bed.storage.clone(image, disk, {})
    if not bed.storage.capabilities.owners:
        bed.storage.fence(disk, ())
        return
    with bed.hold(disk) as (address, write):
        bed.storage.fence(disk, ())
        with pytest.raises(TransientError):
            bed.storage.owner(disk)
        assert not write()
        bed.storage.fence(disk, (address,))
        bed.storage.discard(disk, {})
    assert bed.found("disk", disk) is None


def test_a_fence_where_nobody_is_needs_no_disk(bed: Bed) -> None:
    bed.storage.fence(uuid4().hex, ())


def test_one_fence_leaves_the_neighbour_alone(bed: Bed) -> None:
    if not bed.storage.capabilities.owners:
        return
    image, disks = bed.golden(), [uuid4().hex, uuid4().hex]
    for disk in disks:
        bed.storage.clone(image, disk, {})
    with bed.hold(disks[0]), bed.hold(disks[1]) as (address, write):
        bed.storage.fence(disks[0], ())
        assert bed.storage.owner(disks[1]) == address
        assert write()
