"""Image files that are broken, dangerous or too large: refused in words that help, with nothing left of them."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from bmi_publish import State
from bmid.errors import Problem
from bmid.handlers.export_image import ExportImage, ExportPlace
from bmid.handlers.import_image import ImageSource, ImportImage
from bmid.handlers.list_images import ListImages
from bmid.handlers.map_node import MapNode
from bmid.handlers.place import RbdImage
from bmid.handlers.unmap_node import UnmapNode
from lab.ceph import Ceph
from tests.support.bmid import Builder, House
from tests.support.full import full
from tests.support.image import MIB, PACKERS, bios_disk, empty_qcow2, qcow2
from tests.support.strange import STRANGE


def refused(house: House, content: bytes, **fields: str) -> Problem:
    """The problem of an import of these bytes, of which nothing is left."""
    project = house.project()
    command = ImportImage(project=project, image="i", source=house.file(content), **fields)
    with house.nothing_left():
        problem = house.refusal(command, State.FAILED)
    assert problem.todo
    return problem


def hidden_data_file(folder: Path) -> bytes:
    content = bytearray(empty_qcow2(folder, "4M", "-o", f"data_file={folder / 'data'}"))
    content[72:80] = bytes(8)  # the feature bit hidden, the file's name still there
    return bytes(content)


def encrypted(folder: Path) -> bytes:
    content = bytearray(qcow2(folder, bios_disk()))
    content[32:36] = struct.pack(">I", 2)
    return bytes(content)


def backed(folder: Path) -> bytes:
    (folder / "secret").write_bytes(b"secret of the head".ljust(MIB, b"."))
    return empty_qcow2(folder, "1M", "-F", "raw", "-b", str(folder / "secret"))


BAD: dict[str, tuple[str, Callable[[Path], bytes]]] = {
    "an empty file": ("image-empty", lambda folder: b""),
    "an empty file, packed": ("image-empty", lambda folder: PACKERS["gz"](b"")),
    "a truncated qcow2": ("image-damaged", lambda folder: qcow2(folder, os.urandom(4 * MIB))[:-70000]),
    "a qcow2 cut off in its tables": ("image-damaged", lambda folder: qcow2(folder, bios_disk())[:70000]),
    "a qcow2 with a backing file": ("image-unsafe", backed),
    "a packed qcow2 with a backing file": ("image-unsafe", lambda folder: PACKERS["zst"](backed(folder))),
    "a qcow2 with an external data file": (
        "image-unsafe",
        lambda folder: empty_qcow2(folder, "4M", "-o", f"data_file={folder / 'data'}"),
    ),
    "a qcow2 with a hidden data file": ("image-unsafe", hidden_data_file),
    "an encrypted qcow2": ("image-unsafe", encrypted),
    "10 TB in a small qcow2": ("too-large", lambda folder: empty_qcow2(folder, "10T")),
    "a truncated gz": ("image-damaged", lambda folder: PACKERS["gz"](os.urandom(MIB))[: MIB // 2]),
    "packed twice": ("format-unsupported", lambda folder: PACKERS["gz"](PACKERS["xz"](bios_disk()))),
    "a zip file": ("format-unsupported", lambda folder: b"PK\x03\x04".ljust(4096, b"\0")),
}


@pytest.mark.parametrize("case", list(BAD))
def test_a_bad_file_is_refused_and_leaves_nothing(house: House, case: str, tmp_path: Path) -> None:
    slug, make = BAD[case]
    assert refused(house, make(tmp_path)).slug == slug


def test_a_qcow2_that_is_said_to_be_raw_is_refused(house: House, tmp_path: Path) -> None:
    problem = refused(house, qcow2(tmp_path, bios_disk()), format="raw")
    assert problem.slug == "format-mismatch"
    assert "qcow2" in problem.detail


def test_what_a_node_writes_on_its_disk_never_changes_how_the_disk_is_opened(
    folder_house: House, tmp_path: Path
) -> None:
    """The format is found once and then forced, so a disk that looks like a qcow2 of a file of the head is raw."""
    house = folder_house
    project = house.project()
    mapped = house.mapped(project, house.image(project))
    bad = backed(tmp_path)[:512]
    with house.initiator(mapped) as node:
        node.write_bytes(0, bad)
    house.tgtd.kill()
    house.tgtd.start()
    with house.initiator(mapped) as node:
        house.until(node.enters)
        assert node.read(0, 512) == bad
    house.did(UnmapNode(project=project, node=mapped["node"]))


def test_a_wrong_digest_is_refused_and_both_are_named(house: House) -> None:
    problem = refused(house, bios_disk(), sha256="0" * 64)
    assert problem.slug == "digest-mismatch"
    assert "0" * 64 in problem.detail


def test_a_file_that_is_not_there_is_refused(house: House) -> None:
    project = house.project()
    with house.nothing_left():
        problem = house.refusal(
            ImportImage(project=project, image="i", source=ImageSource(file="nothing")), State.FAILED
        )
    assert problem.slug == "file-unknown"
    assert problem.todo


def test_a_link_out_of_the_import_folder_is_not_followed(house: House, tmp_path: Path) -> None:
    project = house.project()
    secret = tmp_path / "secret"
    secret.write_bytes(bios_disk())
    (house.bmid.imports / "link").symlink_to(secret)
    with house.nothing_left():
        problem = house.refusal(ImportImage(project=project, image="i", source=ImageSource(file="link")), State.FAILED)
    assert problem.slug == "file-unknown"
    (house.bmid.imports / "link").unlink()


@pytest.fixture(scope="module")
def narrow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """A bmid that takes 32 MiB and no more."""
    request.getfixturevalue("rabbitmq")
    builder = Builder(tmp_path_factory.mktemp("narrow"), request)
    try:
        limits: dict[str, object] = {"max_size": 64 * MIB, "max_upload": 32 * MIB}
        yield builder.house(ceph=False, postgresql=False, settings={"images": limits})
    finally:
        builder.close()


@pytest.mark.parametrize("packing", [name for name in PACKERS if name != "plain"])
def test_a_decompression_bomb_is_stopped_at_the_limit(narrow: House, packing: str) -> None:
    problem = refused(narrow, PACKERS[packing](bytes(100 * MIB)))
    assert problem.slug == "too-large"
    assert "32 MiB" in problem.detail


def test_a_huge_sparse_raw_file_is_refused(narrow: House) -> None:
    project = narrow.project()
    source = narrow.file(b"")
    with (narrow.bmid.imports / str(source.file)).open("wb") as file:
        file.truncate(65 * MIB)
    with narrow.nothing_left():
        problem = narrow.refusal(ImportImage(project=project, image="i", source=source), State.FAILED)
    assert problem.slug == "too-large"


def test_a_full_pool_ends_an_import_and_an_export_with_what_to_do_and_nothing_left(
    builder: Builder, ceph: Ceph
) -> None:
    """What is there can be mapped, and the next try works."""
    settings: dict[str, dict[str, object]] = {"engine": {"give_up_after": 3}, "storage.rbd": {"timeout": 3}}
    house = builder.house(ceph=True, postgresql=False, settings=settings)
    project = house.project()
    image, node = house.image(project, bios_disk() + os.urandom(4 * MIB)), house.node()
    place = ExportPlace(rbd=RbdImage(pool=STRANGE, image=f"{house.folder.name}-out"))
    commands = (
        ImportImage(project=project, image="full", source=house.file(os.urandom(4 * MIB))),
        ExportImage(project=project, image=image, to=place),
    )
    client = house.client()
    with house.nothing_left(), full(ceph):
        for result in client.wait_all([client.ticket(one) for one in commands], 120):
            assert result.state is State.FAILED, result
            assert result.problem is not None
            assert result.problem.slug in ("pool-full", "storage-timeout")
            assert result.problem.todo
    assert house.did(MapNode(project=project, node=node, image=image))["changed"]
    assert all(result.ok for result in client.wait_all([client.ticket(one) for one in commands], 120))


def test_two_imports_of_one_name_are_one_image_and_one_refusal(house: House) -> None:
    project = house.project()
    client = house.client()
    commands = [ImportImage(project=project, image="i", source=house.file(bios_disk())) for _ in range(2)]
    results = client.wait_all([client.ticket(command) for command in commands], 60)
    assert sorted(result.state.value for result in results) == ["done", "refused"]
    assert len(house.query(ListImages(project=project))["images"]) == 1
    assert house.ask(MapNode(project=project, node=house.node(), image="i")).ok
