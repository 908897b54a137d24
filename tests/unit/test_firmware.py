"""Firmware modes are found by looking, and no disk can make the looking fail."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmid.model.firmware import firmware_modes

MIB = 1 << 20
CODE = b"\xeb\x63\x90grub"


def reader(path: Path) -> Callable[[int, int], bytes]:
    content = path.read_bytes()
    return lambda offset, length: content[offset : offset + length]


def run(*command: str | Path, text: str | None = None) -> None:
    subprocess.run(command, input=text, text=True, check=True, capture_output=True)


def esp(path: Path, bits: int, mib: int, loader: str = "BOOTX64.EFI") -> bytes:
    """A FAT with a loader in it, made by mkfs.fat and mtools."""
    path.write_bytes(bytes(mib * MIB))
    run("mkfs.fat", "-F", str(bits), "-s", "1", path)
    run("mmd", "-i", path, "::/other", "::/EFI", "::/EFI/debian", "::/EFI/BOOT")
    for number in range(20):  # so that the folder is longer than a cluster
        run("mmd", "-i", path, f"::/EFI/BOOT/A long name, number {number}")
    loader_file = path.with_suffix(".efi")
    loader_file.write_bytes(b"MZ")
    run("mcopy", "-i", path, loader_file, f"::/EFI/BOOT/{loader}")
    return path.read_bytes()


def disk(path: Path, table: str, parts: dict[int, bytes] | None = None, code: bytes = b"") -> Path:
    """A disk with the partition table that sfdisk makes of `table`; `parts` are contents at offsets in MiB."""
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    run("sfdisk", "-q", path, text=table)
    with path.open("r+b") as file:
        file.write(code)
        for offset, content in (parts or {}).items():
            file.seek(offset * MIB)
            file.write(content)
    return path


@pytest.mark.parametrize(("bits", "mib"), [(12, 1), (16, 8), (32, 40)])
@pytest.mark.parametrize("label", ["dos", "gpt"])
def test_a_loader_in_the_esp_means_uefi(tmp_path: Path, bits: int, mib: int, label: str) -> None:
    table = f"label: {label}\nstart=2048, type=uefi\n"
    content = esp(tmp_path / "esp", bits, mib)
    assert firmware_modes(reader(disk(tmp_path / "disk", table, {1: content}))) == ("uefi",)


def test_an_esp_without_the_removable_loader_starts_nothing(tmp_path: Path) -> None:
    content = esp(tmp_path / "esp", 16, 8, loader="BOOTAA64.EFI")
    table = "label: gpt\nstart=2048, type=uefi\n"
    assert firmware_modes(reader(disk(tmp_path / "disk", table, {1: content}))) == ()


def test_boot_code_and_a_partition_mean_bios(tmp_path: Path) -> None:
    table = "label: dos\nstart=2048, type=83, bootable\n"
    assert firmware_modes(reader(disk(tmp_path / "disk", table, code=CODE))) == ("bios",)


def test_without_boot_code_a_bios_finds_nothing(tmp_path: Path) -> None:
    table = "label: dos\nstart=2048, type=83, bootable\n"
    assert firmware_modes(reader(disk(tmp_path / "disk", table))) == ()


def test_on_gpt_boot_code_needs_a_place_to_go_on(tmp_path: Path) -> None:
    bios_boot = "label: gpt\nstart=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649\n"
    linux = "label: gpt\nstart=2048, type=linux\n"
    assert firmware_modes(reader(disk(tmp_path / "a", bios_boot, code=CODE))) == ("bios",)
    assert firmware_modes(reader(disk(tmp_path / "b", linux, code=CODE))) == ()


def test_one_disk_can_start_both_ways(tmp_path: Path) -> None:
    table = "label: gpt\nstart=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649\nstart=4096, type=uefi\n"
    content = esp(tmp_path / "esp", 16, 8)
    assert firmware_modes(reader(disk(tmp_path / "disk", table, {2: content}, CODE))) == ("bios", "uefi")


@pytest.mark.parametrize("content", [b"", b"\0" * 511, bytes(MIB), CODE.ljust(510, b"\0") + b"\x55\xaa"])
def test_a_disk_without_partitions_starts_nothing(content: bytes) -> None:
    assert firmware_modes(lambda offset, length: content[offset : offset + length]) == ()


def test_a_failing_read_is_passed_on() -> None:
    def fails(_offset: int, _length: int) -> bytes:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        firmware_modes(fails)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("whole")
    parts = {1: esp(folder / "esp", 16, 8)}
    return disk(folder / "disk", "label: gpt\nstart=2048, type=uefi\n", parts, CODE).read_bytes()[: 3 * MIB // 2]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_bytes_make_it_fail_or_read_without_end(whole: bytes, data: st.DataObject) -> None:
    broken = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 12))):
        start = data.draw(st.sampled_from([0, 446, 510, 512, 584, 1024, 1056, MIB, MIB + 11, MIB + 512, MIB + 8192]))
        piece = data.draw(st.binary(min_size=1, max_size=64))
        place = start + data.draw(st.integers(0, 64))
        broken[place : place + len(piece)] = piece
    content = bytes(broken[: data.draw(st.sampled_from([len(broken), 100, 513, 4096, MIB + 700]))])
    asked = []

    def read(offset: int, length: int) -> bytes:
        asked.append(length)
        return content[offset : offset + length]

    assert set(firmware_modes(read)) <= {"bios", "uefi"}
    assert sum(asked) <= 9 * MIB


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=2048))
def test_random_bytes_are_just_an_unknown_disk(content: bytes) -> None:
    sector = content[:510].ljust(510, b"\0") + b"\x55\xaa" + content[510:]
    assert set(firmware_modes(lambda offset, length: sector[offset : offset + length])) <= {"bios", "uefi"}
