"""docs/operations.md names what an operator will really see: words of the log, phases of operations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bmid.model.operation import Phase

OUTAGES = (
    "The broker is stopped",
    "The broker is restarted",
    "The broker is out of memory or disk",
    "A connection to the broker is cut",
    "A queue was deleted",
    "The consumer is connected and gets nothing",
    "Packets to the broker are lost",
    "The database is stopped",
    "The database is restarted",
    "Connections to the database are cut",
    "The database's disk is full",
    "Ceph is frozen",
    "Ceph is full",
    "Ceph is restarted",
    "Ceph's key was revoked",
    "tgtd was killed",
    "The head's disk is full",
    "The head was frozen",
    "A BMC hangs",
    "A BMC lies about power",
    "A BMC answers 202 for ever",
    "The clock jumps",
)
ROOT = Path(__file__).parents[2]
OTHERS = {"bmi", "broker", "client", "database", "engine", "power", "storage"}  # queues, users, settings
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


@pytest.mark.parametrize("outage", OUTAGES)
def test_each_outage_has_its_runbook(outage: str) -> None:
    """What is seen, what bmid does by itself, what is to be done, and how one knows that it is over."""
    section = TEXT.partition(f"\n### {outage}\n")[2].partition("\n#")[0]
    assert re.findall(r"^- \*\*(.+?)\*\*: \S", section, re.MULTILINE) == ["Seen", "By itself", "To do", "Over"]


def test_the_words_of_the_log_in_the_runbooks_are_in_the_table() -> None:
    """Whoever reads one there finds it explained."""
    explained = {word for row in _column("## The log") for word in re.findall(r"`([a-z_.]+)`", row)}
    runbooks = TEXT.partition("\n## Outages\n")[2].partition("\n## ")[0]
    told = {word for word in re.findall(r"`([a-z]+\.[a-z_]+)`", runbooks) if word.partition(".")[0] not in OTHERS}
    assert told - explained == set()


def _column(heading: str) -> list[str]:
    """The first column of the tables in a section."""
    section = TEXT.partition(f"{heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
