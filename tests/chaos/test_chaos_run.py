"""Two minutes of chaos, as `script/chaos` runs it for as long as one likes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SEED = "20261121"


@pytest.mark.timeout(900)
def test_two_minutes_of_faults_lose_nothing_double_nothing_and_leave_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-m", "chaos", "--seed", SEED, "--nodes", "24", "--folder", str(tmp_path / "site")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as chaos:
        try:
            told, _ = chaos.communicate(timeout=800)
        finally:
            chaos.terminate()  # it stops what it has started, also then
    with capsys.disabled():
        sys.stdout.write(f"\nseed {told.rpartition('seed ')[2]}\n")
    assert chaos.returncode == 0, told
