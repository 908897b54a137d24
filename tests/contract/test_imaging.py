"""What imaging promises, asked of the twin and of the children that run QEMU's tools: what is good passes, what is
dangerous, broken or too large is told off in words that help, and nothing stays behind."""

from __future__ import annotations

import gzip
import hashlib
import lzma
import os
import struct
import subprocess
from pathlib import Path

import pytest

from bmid.drivers.base import ImageFile
from tests.support.imaging_bench import MIB, PACKERS, Bench, disk_bytes


def test_check_says_what_does_the_work(bench: Bench) -> None:
    assert bench.imaging.check()


def test_a_job_that_nobody_started_is_not_known(bench: Bench) -> None:
    assert bench.imaging.poll("none") is None
    bench.imaging.cancel("none")


@pytest.mark.parametrize("declared", [None, "raw"])
def test_a_raw_disk_is_found_as_it_is(bench: Bench, declared: str | None) -> None:
    content = disk_bytes()
    bench.put(content)
    found = bench.found(declared=declared)
    assert found == ImageFile("raw", None, len(content), len(content), "")
    assert bench.imaging.unpacked(bench.source, bench.workspace, found) == bench.source
    assert bench.converted(found) == content


@pytest.mark.parametrize("declared", [None, "qcow2"])
def test_a_qcow2_is_converted_to_the_disk_in_it(bench: Bench, declared: str | None) -> None:
    packed = bench.qcow2()
    found = bench.found(declared=declared)
    assert found == ImageFile("qcow2", None, len(packed), 4 * MIB, "")
    assert bench.converted(found) == disk_bytes()


@pytest.mark.parametrize("packing", list(PACKERS))
@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_packed_images_are_unpacked_below_the_workspace(bench: Bench, packing: str, kind: str) -> None:
    """A folder that is made for it."""
    bench.workspace.rmdir()
    inner = disk_bytes() if kind == "raw" else bench.qcow2()
    packed = PACKERS[packing](inner)
    bench.put(packed)
    digest = hashlib.sha256(packed).hexdigest()
    found = bench.found(sha256=digest.upper(), declared=kind)
    assert found == ImageFile(kind, packing, len(packed), 4 * MIB, digest)
    assert bench.imaging.unpacked(bench.source, bench.workspace, found).read_bytes() == inner
    assert bench.converted(found) == disk_bytes()


@pytest.mark.parametrize("packing", ["gz", "xz", "zst"])
def test_packed_in_several_parts_is_one_image(bench: Bench, packing: str) -> None:
    content, pack = disk_bytes(), PACKERS[packing]
    bench.put(pack(content[:MIB]) + pack(content[MIB:]))
    assert bench.converted(bench.found()) == content


def test_a_raw_disk_of_odd_length_is_rounded_up_to_sectors(bench: Bench) -> None:
    bench.put(b"x" * 1000)
    assert bench.found().virtual_size == 1024


def test_starting_a_job_again_changes_nothing(bench: Bench) -> None:
    bench.put(disk_bytes())
    for _ in range(2):
        bench.imaging.inspect("j", bench.source, bench.workspace, None, None)
    first = bench.end("j")
    bench.imaging.inspect("j", bench.source, bench.workspace, None, None)
    assert bench.imaging.poll("j") == first
    assert bench.imaging.jobs() == ("j",)
    bench.imaging.cancel("j")
    assert bench.imaging.jobs() == ()
    assert bench.imaging.poll("j") is None


def test_an_empty_file_is_refused(bench: Bench) -> None:
    bench.put(b"")
    assert bench.refusal()[0] == "image-empty"
    bench.put(gzip.compress(b""))
    assert bench.refusal()[0] == "image-empty"


def test_a_file_that_is_not_there_is_told(bench: Bench) -> None:
    assert bench.refusal()[0] == "image-unreadable"


@pytest.mark.parametrize("packing", list(PACKERS))
def test_broken_packing_is_refused(bench: Bench, packing: str) -> None:
    packed = PACKERS[packing](os.urandom(MIB))
    bench.put(packed[: len(packed) // 2])
    assert bench.refusal()[0] == "image-damaged"
    bench.put(packed[: len(packed) // 2] + bytes(100) + packed[len(packed) // 2 + 100 :])
    assert bench.refusal()[0] == "image-damaged"


@pytest.mark.parametrize("packing", list(PACKERS))
def test_a_bomb_is_stopped_at_the_limit(bench: Bench, packing: str) -> None:
    bench.put(PACKERS[packing](bytes(40 * MIB)))
    slug, detail = bench.refusal()
    assert slug == "too-large"
    assert "32 MiB" in detail


@pytest.mark.parametrize("declared", [None, "qcow2"])
def test_a_huge_disk_in_a_small_file_is_refused(bench: Bench, declared: str | None) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(bench.source), "10T"], check=True)
    slug, detail = bench.refusal(declared=declared)
    assert slug == "too-large"
    assert "10 TiB" in detail


def test_a_huge_sparse_raw_disk_is_refused(bench: Bench) -> None:
    with bench.source.open("wb") as file:
        file.truncate(65 * MIB)
    assert bench.refusal()[0] == "too-large"


def test_what_is_said_and_what_is_found_must_agree(bench: Bench) -> None:
    bench.qcow2()
    assert bench.refusal(declared="raw")[0] == "format-mismatch"
    bench.put(disk_bytes())
    assert bench.refusal(declared="qcow2")[0] == "format-mismatch"
    assert bench.refusal(declared="vmdk")[0] == "format-unsupported"


def test_a_qcow2_may_not_name_a_backing_file(bench: Bench, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(disk_bytes())
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(secret), str(bench.source)]
    subprocess.run(command, check=True)
    assert bench.refusal()[0] == "image-unsafe"
    bench.put(gzip.compress(bench.source.read_bytes()))
    assert bench.refusal(declared="qcow2")[0] == "image-unsafe"


def test_a_qcow2_may_not_name_a_data_file(bench: Bench, tmp_path: Path) -> None:
    option = f"data_file={tmp_path / 'data'}"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", option, str(bench.source), "4M"], check=True)
    assert bench.refusal()[0] == "image-unsafe"
    content = bytearray(bench.source.read_bytes())
    content[72:80] = bytes(8)  # the feature bit hidden, the file's name still there
    bench.put(bytes(content))
    assert bench.refusal()[0] == "image-unsafe"


def test_an_encrypted_qcow2_is_refused(bench: Bench) -> None:
    content = bytearray(bench.qcow2())
    content[32:36] = struct.pack(">I", 2)
    bench.put(bytes(content))
    assert bench.refusal()[0] == "image-unsafe"


@pytest.mark.parametrize("cut", [100, 1000, 65536, 3 * 65536])
def test_a_truncated_qcow2_is_refused(bench: Bench, cut: int) -> None:
    content = bench.qcow2(content=os.urandom(4 * MIB))
    bench.put(content[:-cut])
    assert bench.refusal()[0] == "image-damaged"


@pytest.mark.parametrize("kept", [4, 50, 104, 512, 70000])
def test_a_qcow2_cut_off_in_its_tables_is_refused(bench: Bench, kept: int) -> None:
    content = bench.qcow2()
    bench.put(content[:kept])
    assert bench.refusal()[0] == "image-damaged"


def test_a_qcow2_with_compressed_clusters_is_fine(bench: Bench) -> None:
    bench.qcow2("-c")
    assert bench.found().virtual_size == 4 * MIB


def test_a_qcow2_with_sub_clusters_is_fine(bench: Bench) -> None:
    bench.qcow2("-o", "extended_l2=on,cluster_size=128k")
    assert bench.found().virtual_size == 4 * MIB


def test_a_preallocated_qcow2_is_fine(bench: Bench) -> None:
    bench.qcow2("-o", "preallocation=metadata")
    assert bench.found().virtual_size == 4 * MIB


@pytest.mark.parametrize("kind", ["vmdk", "vdi", "vhdx", "qed", "parallels", "vpc", "qcow"])
def test_other_formats_are_named_and_refused(bench: Bench, kind: str) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", kind, str(bench.source), "4M"], check=True)
    slug, detail = bench.refusal()
    assert slug == "format-unsupported"
    assert "qcow2" in detail


@pytest.mark.parametrize("head", [b"LUKS\xba\xbe", b"PK\x03\x04", b"BZh9", b"# Disk DescriptorFile\n"])
def test_other_containers_are_refused(bench: Bench, head: bytes) -> None:
    bench.put(head.ljust(4096, b"\0"))
    assert bench.refusal()[0] == "format-unsupported"


def test_a_file_packed_twice_is_refused(bench: Bench) -> None:
    bench.put(gzip.compress(lzma.compress(disk_bytes())))
    assert bench.refusal()[0] == "format-unsupported"


@pytest.mark.parametrize("name", ["pipe", "folder"])
def test_only_regular_files_are_read(bench: Bench, name: str) -> None:
    if name == "pipe":
        os.mkfifo(bench.source)
    else:
        bench.source.mkdir()
    assert bench.refusal()[0] == "image-unreadable"
