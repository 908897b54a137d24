"""docs/operations.md names what an operator will really see: words of the log, phases of operations."""

from __future__ import annotations

import re
from pathlib import Path

from bmid.model.operation import Phase

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/operations.md").read_text()


def test_the_words_of_the_log_are_those_that_the_code_writes() -> None:
    """Whoever searches the log for a word of the table can find it."""
    code = "".join(file.read_text() for file in (ROOT / "bmid").rglob("*.py"))
    words = {word for row in _column("## The log") for word in re.findall(r"`([a-z_.]+)`", row)}
    assert words
    assert {word for word in words if f'"{word}"' not in code} == set()


def test_errors_and_warnings_of_operations_are_all_explained() -> None:
    """Nothing that says that an operation is in trouble is left out."""
    code = "".join(file.read_text() for file in (ROOT / "bmid/engine").rglob("*.py"))
    troubles = set(re.findall(r'(?:warning|error|level)\(\s*"([a-z_.]+)"', code))
    assert {word for word in troubles if f"`{word}`" not in TEXT} == set()


def test_every_phase_of_an_operation_is_explained() -> None:
    """`bmid operations list` shows no phase that the table doesn't have."""
    named = {word for row in _column("## Operations") for word in re.findall(r"`([a-z]+)`", row)}
    assert named == set(Phase)


def _column(heading: str) -> list[str]:
    """The first column of the tables in a section."""
    section = TEXT.partition(f"{heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
