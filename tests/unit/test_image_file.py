"""Headers of image files are judged in words of ours, whatever their bytes are."""

from __future__ import annotations

import io
import struct
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmid.drivers.imaging.format import image_format, packing
from bmid.drivers.imaging.qcow2 import read_qcow2, refuse_cut
from bmid.drivers.imaging.unpack import Incoming, unpack
from bmid.drivers.imaging.verdict import Limits, Unfit, human

MIB = 1 << 20
LIMITS = Limits(virtual_size=64 * MIB, unpacked=4 * MIB, memory=1 << 32, seconds=10)


def judged(action: Callable[[], object]) -> None:
    """It passes, or it is told off; anything else that is raised is a failure."""
    with suppress(Unfit):
        action()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("qcow2") / "disk"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "4M"], check=True)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write 1M 128k", str(path)], check=True, capture_output=True)
    return path.read_bytes()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_mutilated_qcow2_is_judged(whole: bytes, data: st.DataObject) -> None:
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.one_of(st.integers(4, 112), st.sampled_from([196608, 262144, 262152])))
        piece = data.draw(st.binary(min_size=1, max_size=8))
        content[place : place + len(piece)] = piece
    file = io.BytesIO(bytes(content))
    judged(lambda: refuse_cut(read_qcow2(file, LIMITS), file))


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=1024), declared=st.sampled_from([None, "raw", "qcow2", "vmdk"]))
def test_any_first_bytes_are_judged(content: bytes, declared: str | None) -> None:
    judged(lambda: packing(content))
    judged(lambda: image_format(content, declared))


@pytest.mark.parametrize("magic", [b"\x1f\x8b", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd"])
@settings(max_examples=25, deadline=None)
@given(rest=st.binary(max_size=300))
def test_any_packed_bytes_are_judged(magic: bytes, rest: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = tmp_path_factory.getbasetemp() / "unpacked"
    target.unlink(missing_ok=True)
    incoming = Incoming(io.BytesIO(magic + rest), lambda _: None)
    kind = packing(magic + rest)
    assert kind is not None
    judged(lambda: unpack(incoming, kind, target, LIMITS))


def test_all_clusters_of_a_qcow2_are_found_where_they_lie(whole: bytes) -> None:
    file = io.BytesIO(whole)
    extents = list(read_qcow2(file, LIMITS).extents(file))
    assert [(e.guest, e.length, e.compressed) for e in extents] == [
        (MIB, 65536, False),
        (MIB + 65536, 65536, False),
    ]


@pytest.mark.parametrize("version", [0, 1, 4])
def test_other_versions_of_qcow_are_refused(whole: bytes, version: int) -> None:
    file = io.BytesIO(whole[:4] + struct.pack(">I", version) + whole[8:])
    with pytest.raises(Unfit) as caught:
        read_qcow2(file, LIMITS)
    assert caught.value.slug == "format-unsupported"


def test_an_unknown_feature_of_qcow2_is_refused(whole: bytes) -> None:
    file = io.BytesIO(whole[:72] + struct.pack(">Q", 1 << 40) + whole[80:])
    with pytest.raises(Unfit) as caught:
        read_qcow2(file, LIMITS)
    assert caught.value.slug == "format-unsupported"


def test_sizes_are_written_for_people() -> None:
    assert [human(size) for size in (0, 1000, 32 * MIB, 10 << 40)] == ["0 bytes", "1000 bytes", "32 MiB", "10 TiB"]


def test_a_hole_stays_a_hole_when_unpacked(tmp_path: Path) -> None:
    packed = subprocess.run(["gzip", "-c"], input=bytes(3 * MIB) + b"end", check=True, capture_output=True).stdout
    unpack(Incoming(io.BytesIO(packed), lambda _: None), "gz", tmp_path / "disk", LIMITS)
    state = (tmp_path / "disk").stat()
    assert state.st_size == 3 * MIB + 3
    assert state.st_blocks * 512 <= 128 * 1024
