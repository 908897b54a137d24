"""The demonstration shows all of it; however it or a lab ends, nothing runs on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lab import procfs
from lab.process import wait_for
from tests.support.process import processes_of

ROOT = Path(__file__).parents[2]
DEMO = (sys.executable, "-m", "lab.demo")


def mapping(demonstration: int) -> list[int]:
    """What it has started to map nodes, and waits for."""
    children = [one.pid for one in procfs.every() if one.parent == demonstration and not one.ended]
    found = {}
    for pid in children:
        with suppress(OSError):
            found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return [pid for pid, words in found.items() if b"map" in words and any(b"bmi-publish" in one for one in words)]


@contextmanager
def started(folder: Path, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A demonstration in the background whose lab has come up, with nodes that are being mapped."""
    with output.open("wb") as out:
        process = subprocess.Popen((*DEMO, "--folder", str(folder)), cwd=ROOT, stdout=out, stderr=out)
        try:
            wait_for(lambda: mapping(process.pid) != [], 240, "the demonstration's lab")
            time.sleep(2)  # some way into it: a boot takes longer
            assert processes_of(folder)
            yield process
        finally:
            process.kill()
            process.wait()
            subprocess.run((sys.executable, "-m", "lab", "--folder", str(folder), "down"), cwd=ROOT, check=True)


def namespaces() -> set[str]:
    shown = subprocess.run(["ip", "netns"], check=True, capture_output=True, text=True).stdout
    return {line.split()[0] for line in shown.splitlines() if line}


def taken(folder: Path) -> str:
    """The network namespace of the lab in a folder."""
    found = re.search(r'"namespace": "([^"]+)"', (folder / "network/network.json").read_text())
    assert found is not None
    return found[1]


# That a lab boots from a folder is quicker seen in test_boot_map, and that disks go on there in tests/integration.
@pytest.mark.parametrize("storage", ["rbd", pytest.param("directory", marks=pytest.mark.long)])
def test_the_demonstration_sees_all_of_it_in_minutes(tmp_path: Path, storage: str) -> None:
    folder = tmp_path / "demo"
    began = time.monotonic()
    command = (*DEMO, "--folder", str(folder), "--storage", storage)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert time.monotonic() - began < 480  # less than 180 on a machine that does nothing else
    for seen in (r"n1, bios, .*host=n1 root=/dev/sda2", r"n2, uefi, .*host=n2 root=/dev/sda2",
                 "n1 sees the file that n1 wrote, and no other: FILES: n1 in /only-n1", "there are 2 clones, 2 targets",
                 "node snapshot n1", "n2 sees the file that n1 wrote", "unmap n2 --disk park", r"n3, .*host=n2 root=",
                 "n3 sees the file that n2 wrote", "nothing is left: 0 clones, 0 targets, 0 sessions"):  # fmt: skip
        assert re.search(seen, done.stdout), done.stdout
    assert not folder.exists()
    assert processes_of(folder) == []


def test_a_demonstration_that_is_interrupted_says_so_and_stops_its_lab(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with started(folder, tmp_path / "output") as process:
        network = taken(folder)
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
        assert processes_of(folder) == []
        assert network not in namespaces()
        assert (folder / "bmid/bmid.log").exists()  # logs stay, for whoever wants to know


def test_a_lab_whose_maker_was_killed_is_stopped_by_the_next_process(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with started(folder, tmp_path / "output") as process:
        network = taken(folder)
        process.kill()
        process.wait()
        assert processes_of(folder)
        subprocess.run((sys.executable, "-m", "lab", "--folder", str(folder), "down"), cwd=ROOT, check=True)
        assert processes_of(folder) == []
        assert network not in namespaces()
        assert not folder.exists()


def test_a_demonstration_that_fails_does_not_end_with_0(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with started(folder, tmp_path / "output") as process:
        [command] = mapping(process.pid)
        os.kill(command, signal.SIGKILL)  # the one that waits for the boots
        wait_for(lambda: process.poll() is not None, 120, "its end")
        assert process.returncode == 1
        assert processes_of(folder) == []
