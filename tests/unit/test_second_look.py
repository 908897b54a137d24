"""Who is run a second time, how that is told, and when it fails the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.second_look import MOST

ROOT = Path(__file__).parents[2]
BODY = """
import pathlib, pytest
@pytest.mark.parametrize("number", range({count}))
def test_it(number):
    seen = pathlib.Path({folder!r}) / str(number)
    if not seen.exists():
        seen.write_text("")
        raise AssertionError("what was seen first")
"""


def ran(folder: Path, tier: str, count: int) -> tuple[int, str]:
    """Exit code and output of a run in which each of `count` tests fails the first time."""
    place = folder / "tests" / tier
    place.mkdir(parents=True)
    (place / "test_chance.py").write_text(BODY.format(count=count, folder=str(folder)))
    (folder / "pytest.ini").write_text("[pytest]\n")
    words = [sys.executable, "-m", "pytest", "-p", "tests.support.second_look", "-p", "no:cacheprovider", str(folder)]
    done = subprocess.run(
        words, check=False, capture_output=True, text=True, cwd=folder, timeout=60, env={"PYTHONPATH": str(ROOT)}
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("tier", ["contract", "integration", "chaos", "boot"])
def test_what_doesnt_come_back_is_told_and_passes(tmp_path: Path, tier: str) -> None:
    code, output = ran(tmp_path, tier, 1)
    assert (code, "what was seen first" in output, "1 rerun" in output) == (0, True, True), output


@pytest.mark.parametrize("tier", ["unit", "model"])
def test_without_real_parts_there_is_no_second_look(tmp_path: Path, tier: str) -> None:
    code, output = ran(tmp_path, tier, 1)
    assert (code, "1 rerun" in output) == (1, False), output


@pytest.mark.parametrize(("count", "expected"), [(MOST, 0), (MOST + 1, 1)])
def test_more_than_a_few_are_no_chance(tmp_path: Path, count: int, expected: int) -> None:
    code, output = ran(tmp_path, "integration", count)
    assert code == expected, output
