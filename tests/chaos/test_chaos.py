"""Two minutes of chaos, as `script/chaos` runs it for as long as one likes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from chaos.run import Run
from chaos.site import Form

SEED = 20261121


@pytest.mark.timeout(900)
def test_two_minutes_of_faults_lose_nothing_double_nothing_and_leave_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    form = Form(heads=1, ceph=True, postgresql=True, nodes=24)
    report = Run(tmp_path / "site", form, SEED, 120, told.append).go()
    with capsys.disabled():
        sys.stdout.write(f"\nseed {SEED}\n{report.text()}\n")
    assert report.right, "\n".join(told)
