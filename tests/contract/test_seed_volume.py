"""What every seed driver promises, on the memory twin and on volumes in a folder."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest
from pycdlib import PyCdlib

from bmid.drivers.base import Backing, Seeds
from bmid.drivers.seed.memory import MemorySeeds
from bmid.drivers.seed.nocloud import NoCloudSeeds
from bmid.errors import TransientError

FILES = {
    "meta-data": "instance-id: d1\n",
    "user-data": "#!/bin/sh\n# é\r\n",
    "vendor-data": "",
    "network-config": "x" * 65536,
}
NAMES = tuple(sorted(FILES))


@dataclass(frozen=True)
class Bed:
    """A driver, and what a system finds on a volume of it."""

    seeds: Seeds
    found: Callable[[Backing], dict[str, str]]


def on_volume(backing: Backing) -> dict[str, str]:
    """By Rock Ridge, which is what Linux reads; the driver itself looks at the other names."""
    volume = PyCdlib()
    volume.open(backing.path)
    try:
        files = {}
        for child in volume.list_children(rr_path="/"):
            if child.is_file():
                name, out = child.rock_ridge.name().decode(), BytesIO()
                volume.get_file_from_iso_fp(out, rr_path=f"/{name}")
                files[name] = out.getvalue().decode()
        return files
    finally:
        volume.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state/seeds"


@pytest.fixture(params=["memory", "nocloud"])
def bed(request: pytest.FixtureRequest, folder: Path) -> Bed:
    if request.param == "nocloud":
        return Bed(NoCloudSeeds(folder), on_volume)
    twin = MemorySeeds()
    return Bed(twin, lambda backing: twin.volumes[backing.path.removeprefix("seed/")])


def test_check_says_where_volumes_are(bed: Bed) -> None:
    assert bed.seeds.check()


def test_where_nothing_was_written_nothing_is_found_and_removing_is_no_error(bed: Bed) -> None:
    assert bed.seeds.inventory() == ()
    bed.seeds.remove("d1")


def test_a_system_finds_exactly_the_files_that_were_written(bed: Bed) -> None:
    bed.seeds.write("d1", FILES)
    bed.seeds.write("d2", {"meta-data": "instance-id: d2\n"})
    assert bed.found(bed.seeds.backing("d1")) == FILES
    assert bed.found(bed.seeds.backing("d2")) == {"meta-data": "instance-id: d2\n"}
    assert bed.seeds.inventory() == ("d1", "d2")


def test_writing_again_is_writing_once_and_other_files_take_the_place_of_the_old(bed: Bed) -> None:
    bed.seeds.write("d1", FILES)
    bed.seeds.write("d1", FILES)
    assert bed.found(bed.seeds.backing("d1")) == FILES
    bed.seeds.write("d1", {"meta-data": "x"})
    assert bed.found(bed.seeds.backing("d1")) == {"meta-data": "x"}
    assert bed.seeds.inventory() == ("d1",)


def test_removing_leaves_the_others(bed: Bed) -> None:
    bed.seeds.write("d1", FILES)
    bed.seeds.write("d2", FILES)
    bed.seeds.remove("d1")
    bed.seeds.remove("d1")
    assert bed.seeds.inventory() == ("d2",)
    assert bed.found(bed.seeds.backing("d2")) == FILES


def test_a_volume_has_the_label_that_cloud_init_looks_for(folder: Path) -> None:
    seeds = NoCloudSeeds(folder)
    seeds.write("d1", FILES)
    asked = ["blkid", "-p", "-o", "export", seeds.backing("d1").path]
    shown = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert {"LABEL=cidata", "TYPE=iso9660"} <= set(shown.splitlines())
    assert Path(seeds.backing("d1").path).stat().st_size % 512 == 0


def test_volumes_are_for_their_owner_s_eyes_only(folder: Path) -> None:
    seeds = NoCloudSeeds(folder)
    before = os.umask(0)
    try:
        seeds.write("d1", FILES)
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert Path(seeds.backing("d1").path).stat().st_mode & 0o777 == 0o600


def test_a_volume_that_stands_is_left_as_it_is(folder: Path) -> None:
    seeds = NoCloudSeeds(folder)
    seeds.write("d1", FILES)
    before = Path(seeds.backing("d1").path).stat()
    seeds.write("d1", FILES)
    assert Path(seeds.backing("d1").path).stat() == before


@pytest.mark.parametrize("kept", [0, 1, 2048, 17 * 2048, 19 * 2048 + 7, 24 * 2048, -2048])
def test_a_volume_that_is_broken_is_written_anew(folder: Path, kept: int) -> None:
    seeds = NoCloudSeeds(folder)
    seeds.write("d1", FILES)
    path = Path(seeds.backing("d1").path)
    path.write_bytes(path.read_bytes()[:kept])
    seeds.write("d1", FILES)
    assert on_volume(seeds.backing("d1")) == FILES


def test_a_crash_while_writing_leaves_the_old_volume_and_what_it_leaves_is_swept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = NoCloudSeeds(folder)
    seeds.write("d1", {"meta-data": "old"})

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, suppress(KeyboardInterrupt):
        patched.setattr(os, "replace", die)
        seeds.write("d1", FILES)
    assert on_volume(seeds.backing("d1")) == {"meta-data": "old"}
    assert len(list(folder.iterdir())) == 2
    seeds.write("d1", FILES)
    assert [path.name for path in folder.iterdir()] == ["d1.iso"]


def test_what_a_crash_left_of_a_disk_is_seen_and_removed(folder: Path) -> None:
    seeds = NoCloudSeeds(folder)
    seeds.check()
    (folder / "d1.abc.new").write_bytes(b"half")
    assert seeds.inventory() == ("d1",)
    seeds.remove("d1")
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_an_error_that_may_pass_and_tells_nothing_of_the_text(
    tmp_path: Path,
) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    seeds = NoCloudSeeds(tmp_path / "state/seeds")
    for call in (seeds.check, lambda: seeds.write("d1", {"user-data": "correct-horse"})):
        with pytest.raises(TransientError) as error:
            call()
        assert error.value.problem.slug == "seed-unwritable"
        assert "correct-horse" not in str(error.value.problem)


def test_names_are_the_same_in_both_kinds_of_folder(folder: Path) -> None:
    seeds = NoCloudSeeds(folder)
    seeds.write("d1", FILES)
    volume = PyCdlib()
    volume.open(seeds.backing("d1").path)
    try:
        found = [c.file_identifier().decode("utf-16-be") for c in volume.list_children(joliet_path="/") if c.is_file()]
    finally:
        volume.close()
    assert tuple(sorted(found)) == NAMES
