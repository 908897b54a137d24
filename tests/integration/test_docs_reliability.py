"""docs/reliability.md says what is tried: its table is what the handlers' plans really do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.crash_table import BEGIN, table, written

DOCUMENT = Path(__file__).parents[2] / "docs/reliability.md"


@pytest.mark.usefixtures("quiet")
def test_the_table_of_handlers_steps_and_faults_is_that_of_the_plans(tmp_path: Path, blank: Path) -> None:
    """Whoever changes a plan runs `python -m tests.support.crash_table docs/reliability.md`."""
    text = DOCUMENT.read_text()
    assert BEGIN in text
    told = "run: python -m tests.support.crash_table docs/reliability.md"
    assert text == written(text, table(tmp_path, blank)), told
