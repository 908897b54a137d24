"""How the lab ends processes: those it started, all of them, and no others."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import procfs
from lab.place import drop_short_folder, short_folder
from lab.process import LabError, Process, free_port, wait_for
from tests.support.process import processes_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", ["rabbitmq", "ceph", "postgresql", "tgtd"])
def test_a_killed_labs_service_is_stopped_from_another_process_without_a_trace(kind: str, tmp_path: Path) -> None:
    makers = {
        "rabbitmq": "from lab.rabbitmq import RabbitMQ as S",
        "ceph": "from lab.ceph import Ceph as S",
        "postgresql": "from lab.postgresql import PostgreSQL as S",
        "tgtd": "from lab.tgtd import Tgtd",
    }
    folder = tmp_path / kind
    port = f"S = lambda folder: Tgtd(folder, portal_port={free_port()})" if kind == "tgtd" else ""
    make = f"{makers[kind]}\nfrom pathlib import Path\n{port}\ns = S(Path({str(folder)!r}))\n"
    lab = subprocess.Popen(
        [sys.executable, "-c", f"{make}s.start()\nprint('up', flush=True)\nimport time\ntime.sleep(600)"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert lab.stdout is not None
        assert lab.stdout.readline() == "up\n"
        started = [int(path.read_text().split()[0]) for path in folder.glob("*.pid") if path.stem != "beam"]
        lab.send_signal(signal.SIGKILL)
        lab.wait()
        assert processes_of(folder) != []
    finally:
        lab.kill()
        lab.wait()
        subprocess.run([sys.executable, "-c", f"{make}s.stop()"], cwd=ROOT, check=True)
    wait_for(lambda: processes_of(folder) == [], 30, "the end of all processes")
    wait_for(lambda: all((found := procfs.stat(pid)) is None or found.ended for pid in started), 30, "their end")


def test_a_pid_that_another_process_has_by_now_is_never_signalled(tmp_path: Path) -> None:
    process = Process("sleeper", tmp_path, ["sleep", "60"])
    process.start()
    pid = process.pid
    assert pid is not None
    text = process.pid_file.read_text()
    before, rest = text.rsplit(") ", 1)
    fields = rest.split()
    fields[19] = str(int(fields[19]) - 1)  # as if recorded for a process that started earlier
    process.pid_file.write_text(f"{before}) {' '.join(fields)}\n")
    try:
        assert not process.alive()
        process.stop(grace=1)
        time.sleep(0.1)
        found = procfs.stat(pid)
        assert found is not None
        assert not found.ended
    finally:
        process.pid_file.write_text(text)
        process.stop()


def test_stopping_also_ends_what_ignores_sigterm_and_what_it_left_in_its_session(tmp_path: Path) -> None:
    stubborn = Process("stubborn", tmp_path, ["sh", "-c", "trap '' TERM; sleep 60 & sleep 60; sleep 60"])
    stubborn.start()
    wait_for(lambda: len(processes_of(tmp_path)) >= 3, 30, "its children")
    stubborn.stop(grace=0.2)
    assert processes_of(tmp_path) == []


def test_a_process_that_ends_early_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    process = Process("brief", tmp_path, ["sh", "-c", "echo no such disk; exit 3"])
    process.start()
    with pytest.raises(LabError, match=r"(?s)ended while waiting for an answer.*no such disk"):
        process.wait_for(lambda: False, 60, "an answer")


def test_a_short_folder_that_somebody_else_made_is_refused(tmp_path: Path) -> None:
    short = short_folder(tmp_path)
    short.rmdir()
    short.symlink_to("/etc")
    try:
        with pytest.raises(LabError, match="in the way"):
            short_folder(tmp_path)
    finally:
        short.unlink()
        drop_short_folder(tmp_path)
