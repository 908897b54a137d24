"""What every storage promises of snapshots and copies, asked of the memory twin, of a folder and of a real Ceph."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from bmid.drivers.base import Stored
from bmid.errors import PermanentError
from tests.support.storage_bed import MIB, Bed


@pytest.fixture
def bed(copying_bed: Bed) -> Bed:
    return copying_bed


def slug(caught: pytest.ExceptionInfo[Any]) -> str:
    return caught.value.problem.slug


def shares(bed: Bed) -> bool:
    """Whether this storage clones images; one that doesn't says so."""
    if not bed.storage.capabilities.cow:
        with pytest.raises(PermanentError) as caught:
            bed.storage.clone_image(bed.golden(), uuid4().hex)
        assert slug(caught) == "clone-unsupported"
    return bed.storage.capabilities.cow


def test_an_image_cloned_of_another_has_its_bytes_and_is_not_golden_yet(bed: Bed) -> None:
    if not shares(bed):
        return
    image, copy = bed.golden(content=b"g" * 512), uuid4().hex
    bed.storage.clone_image(image, copy)
    assert not bed.storage.sealed(copy)
    assert bed.found("image", copy) == Stored("image", copy)
    bed.storage.seal_image(copy, {"image": copy})
    assert bed.storage.read_image(copy, 511, 2) == b"g\0"
    disk = bed.disk(copy)
    assert [bed.found("image", image), bed.found("image", copy), bed.found("disk", disk)] == [
        Stored("image", image, {"image": image}),
        Stored("image", copy, {"image": copy}),
        Stored("disk", disk, {"disk": disk}),
    ]


def test_an_unfinished_clone_of_an_image_is_made_anew_and_a_golden_one_is_not(bed: Bed) -> None:
    if not shares(bed):
        return
    one, two, copy = bed.golden(content=b"1" * 512), bed.golden(content=b"2" * 512), uuid4().hex
    bed.storage.clone_image(one, copy)
    bed.storage.clone_image(two, copy)
    bed.storage.seal_image(copy, {})
    assert bed.storage.read_image(copy, 0, 1) == b"2"
    with pytest.raises(PermanentError) as caught:
        bed.storage.clone_image(one, copy)
    assert slug(caught) == "image-sealed"
    with pytest.raises(PermanentError) as caught:
        bed.storage.clone_image(uuid4().hex, uuid4().hex)
    assert slug(caught) == "image-missing"


def test_an_image_stays_while_images_share_its_bytes(bed: Bed) -> None:
    if not shares(bed) or not bed.lineage:
        return
    image, copy, disk = bed.golden(), uuid4().hex, uuid4().hex
    bed.storage.clone_image(image, copy)
    bed.storage.clone(image, disk, {})
    with pytest.raises(PermanentError) as caught:
        bed.storage.remove_image(image)
    assert slug(caught) == "image-in-use"
    assert caught.value.problem.extra == {"disks": [disk], "images": [copy]}
    assert bed.storage.sealed(image)


def test_a_family_of_images_in_the_trash_is_purged_in_whatever_order_it_came(bed: Bed) -> None:
    """Grandparent, parent, an image made of a disk, and the disks: none keeps another from going."""
    image = bed.golden()
    disk = bed.disk(image)
    child = bed.duplicated(disk, bed.snapshot(disk, b"1" * 512))
    bed.storage.seal_image(child, {})
    grandchild, unfinished = uuid4().hex, uuid4().hex
    if bed.storage.capabilities.cow:
        bed.storage.clone_image(child, grandchild)
        bed.storage.seal_image(grandchild, {})
    bed.duplicated(disk, bed.snapshot(disk, b"2" * 512), unfinished)
    last = bed.disk(child)
    for gone in (disk, last):
        bed.storage.discard(gone, {})
    for gone in (grandchild, unfinished, child, image):
        bed.storage.remove_image(gone)
    everything = {image, disk, child, grandchild, unfinished, last}
    assert {s.kind for s in bed.storage.inventory() if s.id in everything} == {"trash"}
    for _ in range(4):  # a parent may have to wait for its children's turn
        bed.purge()
    assert not [s for s in bed.storage.inventory() if s.id in everything]


def test_a_snapshot_is_the_disk_as_it_was_when_it_was_asked_for_first(bed: Bed) -> None:
    if not bed.storage.capabilities.live_snapshot:
        return
    disk = bed.disk(bed.golden())
    snapshot = bed.snapshot(disk, b"1" * 512)
    bed.write(bed.place(disk), b"2" * 512)
    bed.storage.freeze(disk, snapshot)
    assert bed.storage.read_image(bed.duplicated(disk, snapshot), 0, 1) == b"1"


def test_an_image_made_of_a_disk_outlives_it(bed: Bed) -> None:
    disk = bed.disk(bed.golden(content=b"g" * MIB))
    image = bed.duplicated(disk, bed.snapshot(disk, b"d" * 512))
    assert not bed.storage.sealed(image)
    bed.storage.discard(disk, {})
    bed.purge()
    bed.storage.seal_image(image, {"image": image})
    assert bed.storage.sealed(image)
    assert bed.storage.read_image(image, 511, 2) == b"dg"
    assert len(bed.storage.read_image(image, 0, 5 * MIB)) == 4 * MIB
    heir = bed.disk(image)
    assert bed.found("image", image) == Stored("image", image, {"image": image})
    assert bed.found("disk", heir) == Stored("disk", heir, {"disk": heir})


def test_a_disk_of_a_snapshot_can_be_snapshot_in_its_turn(bed: Bed) -> None:
    disk = bed.disk(bed.golden(content=b"g" * MIB))
    first = bed.duplicated(disk, bed.snapshot(disk, b"1" * 1024))
    bed.storage.seal_image(first, {})
    heir = bed.disk(first)
    second = bed.duplicated(heir, bed.snapshot(heir, b"2" * 512))
    bed.storage.seal_image(second, {})
    assert bed.storage.read_image(second, 511, 2) == b"21"
    assert bed.storage.read_image(second, 1023, 2) == b"1g"
    assert bed.storage.read_image(first, 0, 1) == b"1"


def test_two_snapshots_of_a_disk_make_two_images(bed: Bed) -> None:
    disk = bed.disk(bed.golden())
    images = []
    for content in (b"1" * 512, b"2" * 512):
        images.append(bed.duplicated(disk, bed.snapshot(disk, content)))
    for image in images:
        bed.storage.seal_image(image, {})
    assert [bed.bytes_of(image)[:1] for image in images] == [b"1", b"2"]


def test_an_unfinished_image_of_a_snapshot_is_made_anew_and_a_golden_one_is_not(bed: Bed) -> None:
    disk = bed.disk(bed.golden())
    old, new = bed.snapshot(disk, b"1" * 512), bed.snapshot(disk, b"2" * 512)
    image = bed.duplicated(disk, old)
    bed.storage.duplicate(disk, old, image)  # whose child is killed before it has begun
    bed.duplicated(disk, new, image)
    bed.storage.seal_image(image, {})
    assert bed.storage.read_image(image, 0, 1) == b"2"
    with pytest.raises(PermanentError) as caught:
        bed.storage.duplicate(disk, new, image)
    assert slug(caught) == "image-sealed"
    assert bed.storage.sealed(image)


def test_nothing_is_made_of_a_disk_or_a_snapshot_that_is_not_there(bed: Bed) -> None:
    disk, image = bed.disk(bed.golden()), uuid4().hex
    for missing in (disk, uuid4().hex):
        with pytest.raises(PermanentError) as caught:
            bed.storage.duplicate(missing, uuid4().hex, image)
        assert slug(caught) == "storage-missing"
    with pytest.raises(PermanentError) as caught:
        bed.storage.freeze(uuid4().hex, uuid4().hex)
    assert slug(caught) == "storage-missing"
    assert bed.found("image", image) is None


def test_a_thawed_snapshot_is_gone_and_thawing_it_again_is_fine(bed: Bed) -> None:
    disk = bed.disk(bed.golden())
    kept, snapshot = bed.snapshot(disk), bed.snapshot(disk)
    for _ in range(2):
        bed.storage.thaw(disk, snapshot)
    bed.storage.thaw(uuid4().hex, snapshot)
    with pytest.raises(PermanentError):
        bed.storage.duplicate(disk, snapshot, uuid4().hex)
    bed.storage.seal_image(bed.duplicated(disk, kept), {})


def test_a_disk_goes_with_the_snapshots_it_has(bed: Bed) -> None:
    disk = bed.disk(bed.golden())
    snapshots = [bed.snapshot(disk, content) for content in (b"1" * 512, b"2" * 512)]
    for _ in range(2):
        bed.storage.discard(disk, {"state": "removed"})
    for snapshot in snapshots:
        with pytest.raises(PermanentError) as caught:
            bed.storage.duplicate(disk, snapshot, uuid4().hex)
        assert slug(caught) == "storage-missing"
    assert bed.found("trash", disk) == Stored("trash", disk, {"state": "removed"})
    bed.purge()
    assert not [s for s in bed.storage.inventory() if s.id == disk]


def test_a_copy_of_all_bytes_does_not_hold_on_to_its_image(bed: Bed) -> None:
    image, copy = bed.golden(content=b"g" * MIB), uuid4().hex
    bed.copy(bed.storage.address(image), 4 * MIB, bed.storage.create_image(copy, 4 * MIB))
    bed.storage.seal_image(copy, {})
    bed.storage.remove_image(image)
    bed.purge()
    assert bed.bytes_of(copy) == b"g" * MIB + bytes(3 * MIB)


def test_a_disk_in_use_is_snapshot_without_disturbing_its_user(bed: Bed) -> None:
    if not bed.storage.capabilities.owners:
        return
    disk = bed.disk(bed.golden())
    with bed.hold(disk) as (address, write):
        snapshot = bed.snapshot(disk)
        image = bed.duplicated(disk, snapshot)
        assert bed.storage.owner(disk) == address
        bed.storage.thaw(disk, snapshot)
        assert bed.storage.owner(disk) == address
        assert write()
    bed.storage.seal_image(image, {})
    assert bed.storage.read_image(image, 0, 4) != b"late"
