"""What imaging promises of copies, exports and a storage's errands, asked of the twin and of QEMU's tools: whole and on
the disk, or told off and nothing left."""

from __future__ import annotations

import hashlib
import stat
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from bmid.drivers.base import Errand, Job, JobState
from bmid.drivers.imaging.qemu import QemuImaging
from tests.support.full import small
from tests.support.imaging_bench import MIB, Bench, disk_bytes

FORMATS = ["raw", "qcow2"]


def written(bench: Bench, file: Path, kind: str, content: bytes) -> Job:
    job = uuid4().hex
    bench.imaging.write(job, bench.place(content), len(content), file, kind)  # type: ignore[arg-type]
    return bench.end(job)


def disk_in(file: Path, kind: str) -> bytes:
    """The disk that a file holds, as QEMU sees it."""
    if kind == "qcow2":
        subprocess.run(["qemu-img", "check", "-f", "qcow2", str(file)], check=True, capture_output=True)
    raw = file.with_name(f"{file.name}.raw")
    subprocess.run(["qemu-img", "convert", "-f", kind, "-O", "raw", str(file), str(raw)], check=True)
    return raw.read_bytes()


def say(bench: Bench, text: str, then: str = "") -> Job:
    """How an errand ends that says something on standard error."""
    program = f"import sys; sys.stderr.write({text!r}); sys.stderr.flush(); {then}"
    job = uuid4().hex
    bench.imaging.run(job, Errand((sys.executable, "-c", program), 4 * MIB))
    return bench.end(job)


def test_a_copy_has_all_bytes(bench: Bench) -> None:
    source, destination = bench.place(disk_bytes()), bench.place(size=4 * MIB)
    bench.imaging.copy("job", source, 4 * MIB, destination)
    job = bench.end("job")
    assert (job.state, job.done, job.total) == (JobState.DONE, 4 * MIB, 4 * MIB)
    assert Path(destination).read_bytes() == disk_bytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_written_file_is_whole_and_tells_its_digest(bench: Bench, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "with, odd:name"
    job = written(bench, file, kind, disk_bytes())
    assert (job.state, job.done, job.total) == (JobState.DONE, 4 * MIB, 4 * MIB), job
    assert job.result is not None
    assert (job.result.format, job.result.compression, job.result.virtual_size) == (kind, None, 4 * MIB)
    assert job.result.size == file.stat().st_size
    assert job.result.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert disk_in(file, kind) == disk_bytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_written_file_is_not_for_everybody_and_its_holes_take_no_space(
    bench: Bench, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "file"
    assert written(bench, file, kind, disk_bytes(16)).state is JobState.DONE
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert file.stat().st_blocks * 512 < 4 * MIB


def test_an_unfinished_file_is_dropped_and_nothing_is_written_through_a_link(bench: Bench, tmp_path: Path) -> None:
    file, precious = tmp_path / "file", tmp_path / "precious"
    precious.write_bytes(b"precious")
    file.symlink_to(precious)
    assert written(bench, file, "raw", disk_bytes()).state is JobState.DONE
    assert not file.is_symlink()
    assert written(bench, file, "raw", disk_bytes()[::-1]).state is JobState.DONE
    assert file.read_bytes() == disk_bytes()[::-1]
    assert precious.read_bytes() == b"precious"


def test_an_export_that_fails_or_is_cancelled_leaves_no_file(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "file"
    bench.imaging.write("failing", str(tmp_path / "none"), MIB, file, "raw")
    assert bench.end("failing").state is JobState.FAILED
    assert not file.exists()
    bench.imaging.write("cancelled", bench.place(disk_bytes()), 4 * MIB, file, "raw")
    bench.imaging.cancel("cancelled")
    assert bench.imaging.poll("cancelled") is None
    assert not file.exists()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_full_folder_is_told_and_left_empty(bench: Bench, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    with small(folder, "1m"):
        job = written(bench, folder / "file", kind, b"x" * 3 * MIB)
        assert list(folder.iterdir()) == []
    assert job.state is JobState.FAILED
    assert job.problem is not None
    assert (job.problem[0], job.problem[2]) == ("no-space", True)


def test_an_errand_is_run_and_fails_with_words_that_help(bench: Bench) -> None:
    job = say(bench, "\nImage deep copy: 100% complete...done.\n")
    assert (job.state, job.done, job.total) == (JobState.DONE, 4 * MIB, 4 * MIB)
    failed = say(bench, "rbd: deep copy failed: (28) No space left on device\n", "sys.exit(28)")
    assert failed.state is JobState.FAILED
    assert failed.problem is not None
    assert (failed.problem[0], failed.problem[2]) == ("pool-full", True)
    unknown = say(bench, "rbd: something else\n", "sys.exit(1)")
    assert unknown.problem is not None
    assert "something else" in unknown.problem[1]


@pytest.mark.parametrize("words", ["Operation not permitted", "Permission denied"])
def test_who_may_not_read_or_write_is_told_so_and_not_tried_again(words: str) -> None:
    imaging = QemuImaging()
    said = f"qemu-img: Could not open 'rbd:theirs/image': error opening image image from theirs: {words}\n"
    program = f"import sys; sys.stderr.write({said!r}); sys.exit(1)"
    imaging.run("job", Errand((sys.executable, "-c", program), MIB))
    while (job := imaging.poll("job", patience=1)) is not None and job.state is JobState.RUNNING:
        pass
    assert job is not None
    assert job.problem is not None
    assert (job.problem[0], job.problem[2]) == ("pool-forbidden", False)


def test_an_errand_tells_how_far_it_is(tmp_path: Path) -> None:
    imaging = QemuImaging()
    program = (
        "import sys, time; sys.stderr.write('\\nImage deep copy: 25% complete...'); sys.stderr.flush(); time.sleep(9)"
    )
    imaging.run("job", Errand((sys.executable, "-c", program), 4 * MIB))
    while (job := imaging.poll("job", patience=0.05)) is not None and job.done == 0:
        assert job.state is JobState.RUNNING
    assert job == Job(JobState.RUNNING, MIB, 4 * MIB)
    imaging.cancel("job")


def test_a_patient_poll_wakes_when_the_child_ends_and_not_much_later_than_it_may() -> None:
    imaging = QemuImaging()
    imaging.run("long", Errand((sys.executable, "-c", "import time; time.sleep(60)"), MIB))
    begin = time.monotonic()
    job = imaging.poll("long", patience=0.1)
    assert 0.1 <= time.monotonic() - begin < 1.9
    assert job is not None
    assert job.state is JobState.RUNNING
    begin = time.monotonic()
    imaging.poll("long", patience=100)
    assert 2 <= time.monotonic() - begin < 20
    imaging.cancel("long")
    # A busy machine may make the child last longer than a poll does, but hardly three of them.
    assert any(_short(imaging, f"short{number}") < 1.9 for number in range(3))


def _short(imaging: QemuImaging, job: str) -> float:
    """For how long a child was waited for that ends after 0.6 s."""
    begin = time.monotonic()
    imaging.run(job, Errand((sys.executable, "-c", "import time; time.sleep(0.6)"), MIB))
    while (found := imaging.poll(job, patience=100)) is not None and found.state is JobState.RUNNING:
        pass
    assert found is not None
    assert found.state is JobState.DONE
    return time.monotonic() - begin
