"""Children of imaging end when they should: with their limits, when cancelled, and with bmid, however it ends."""

from __future__ import annotations

import gzip
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bmid.drivers.base import ImageFile, Job, JobState
from bmid.drivers.imaging.qemu import QemuImaging

GIB = 1 << 30
LONG = ImageFile("raw", None, 200 * GIB, 200 * GIB, "")
STARTS_AND_STAYS = """
import sys, threading, time
from pathlib import Path
from bmid.drivers.base import ImageFile
from bmid.drivers.imaging.qemu import QemuImaging
imaging = QemuImaging(max_virtual_size=1 << 50)
start = lambda: imaging.digest("job", Path(sys.argv[1]), ImageFile("raw", None, 200 << 30, 200 << 30, ""), None)
thread = threading.Thread(target=start); thread.start(); thread.join()
time.sleep(0.3)
print(imaging.poll("job").state, flush=True)
time.sleep(60)
"""


@pytest.fixture
def long_work(tmp_path: Path) -> Path:
    """A file that takes minutes to read, and no space."""
    path = tmp_path / "long"
    with path.open("wb") as file:
        file.truncate(200 * GIB)
    return path


def working_on(path: Path) -> bool:
    """Whether any process but ours was told of the path."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes()
        except OSError:
            continue
        if str(path).encode() in words and b"bmid.drivers.imaging" in words:
            return True
    return False


def within(seconds: float, predicate: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_a_child_outlives_the_thread_that_asked_for_it_but_not_the_process(long_work: Path) -> None:
    command = [sys.executable, "-c", STARTS_AND_STAYS, str(long_work)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().strip() == "running"
        assert working_on(long_work)
        parent.kill()
    assert within(30, lambda: not working_on(long_work))


def test_a_cancelled_job_leaves_no_process_and_no_file(tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    subprocess.run(f"head -c 3G /dev/zero | zstd -q -1 >{tmp_path / 'packed'}", shell=True, check=True)  # noqa: S602
    imaging = QemuImaging()
    imaging.inspect("job", tmp_path / "packed", workspace, None, None)
    assert within(60, lambda: any(workspace.iterdir()))
    imaging.cancel("job")
    assert imaging.poll("job") is None
    assert not working_on(tmp_path / "packed")
    assert not any(workspace.iterdir())


def test_a_job_is_stopped_when_its_time_is_over(long_work: Path) -> None:
    imaging = QemuImaging(max_virtual_size=1 << 50, max_seconds=1)
    imaging.digest("job", long_work, LONG, None)
    ended: list[Job | None] = []

    def over() -> bool:
        ended[:] = [imaging.poll("job")]
        return ended[0] is not None and ended[0].state is not JobState.RUNNING

    assert within(30, over)
    assert ended[0] is not None
    assert ended[0].problem is not None
    assert ended[0].problem[0] == "imaging-timeout"
    assert not working_on(long_work)


def test_poll_tells_how_far_a_job_is_and_never_waits(long_work: Path) -> None:
    imaging = QemuImaging(max_virtual_size=1 << 50)
    imaging.digest("job", long_work, LONG, None)
    seen: list[Job | None] = []

    def moving() -> bool:
        begin = time.monotonic()
        seen.append(imaging.poll("job"))
        assert time.monotonic() - begin < 5, "it takes minutes"
        return seen[-1] is not None and seen[-1].done > 0

    assert within(30, moving)
    assert seen[-1] is not None
    assert (seen[-1].state, seen[-1].total) == (JobState.RUNNING, 200 * GIB)
    imaging.cancel("job")


def test_a_child_that_wants_too_much_memory_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    imaging = QemuImaging(max_memory=1 << 20)
    imaging.inspect("job", tmp_path / "disk", tmp_path, None, None)
    assert within(30, lambda: (job := imaging.poll("job")) is not None and job.state is JobState.FAILED)


def test_nothing_is_waited_for_in_a_packed_stream_without_end(tmp_path: Path) -> None:
    (tmp_path / "packed").write_bytes(gzip.compress(bytes(1 << 20))[:-8])
    imaging = QemuImaging()
    imaging.inspect("job", tmp_path / "packed", tmp_path, None, None)
    assert within(30, lambda: (job := imaging.poll("job")) is not None and job.state is JobState.FAILED)
