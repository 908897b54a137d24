"""How the lab makes images: names that follow the recipe, modules in order, markers that can be read."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from lab.image.cache import build_once, recipe_name
from lab.image.marker import Marker, read_marker
from lab.image.module import load_order


def module(folder: Path, name: str, depends: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.ko").write_bytes(b"\x7fELF\0license=GPL\0depends=" + depends.encode() + b"\0name=x\0")


def test_modules_are_loaded_after_what_they_depend_on_and_each_once(tmp_path: Path) -> None:
    module(tmp_path / "drivers/scsi", "iscsi_tcp", "libiscsi,scsi_transport_iscsi")
    module(tmp_path / "drivers/scsi", "libiscsi", "scsi_transport_iscsi")
    module(tmp_path / "drivers/scsi", "scsi_transport_iscsi", "")
    module(tmp_path / "lib", "crc-32", "")
    order = load_order(tmp_path, ("iscsi_tcp", "crc_32", "libiscsi", "ext4"))
    assert [path.stem for path in order] == ["scsi_transport_iscsi", "libiscsi", "iscsi_tcp", "crc-32"]


def test_a_kernel_without_any_wanted_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="none of ext4"):
        load_order(tmp_path, ("ext4",))


def test_the_last_whole_marker_of_a_console_is_read() -> None:
    old = "BMI-TINY host=n1 root=/dev/sda2 seen=golden found=- wrote=n1-aa\r\n"
    new = "n1 login: BMI-DEBIAN host=n1 root=/dev/sda2 seen=golden found=n1-aa wrote=n1-bb\r\n"
    assert read_marker(old + new) == Marker("DEBIAN", "n1", "/dev/sda2", "golden", "n1-aa", "n1-bb")
    assert read_marker(new[:-4]) is None
    assert read_marker("") is None


def test_an_image_has_another_name_when_its_recipe_or_marker_changes(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe"
    recipe.write_text("one")
    first = recipe_name("tiny", [recipe], "golden")
    assert first == recipe_name("tiny", [recipe], "golden")
    assert first != recipe_name("tiny", [recipe], "other")
    recipe.write_text("two")
    assert first != recipe_name("tiny", [recipe], "golden")


def test_two_who_want_the_same_image_build_it_once(tmp_path: Path) -> None:
    built: list[Path] = []

    def assemble(work: Path) -> Path:
        built.append(work)
        time.sleep(0.1)  # the other one comes meanwhile
        (work / "image").write_text("bytes")
        return work / "image"

    path = tmp_path / "cache" / "tiny-1.raw"
    builders = [threading.Thread(target=build_once, args=(path, assemble)) for _ in range(2)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()
    assert (len(built), path.read_text()) == (1, "bytes")
    assert not built[0].exists()


def test_a_build_that_fails_leaves_nothing_but_its_lock(tmp_path: Path) -> None:
    def assemble(work: Path) -> Path:
        (work / "half").write_text("bytes")
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        build_once(tmp_path / "tiny-1.raw", assemble)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-1.lock"]
