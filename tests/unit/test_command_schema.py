"""What `bmid` says to an operator whose database has no schema yet."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from bmid.cli.main import main


@pytest.mark.parametrize("words", [["heads"], ["head", "drain", "a"], ["operations", "list"]])
def test_a_database_without_schema_is_told_with_what_to_do(tmp_path: Path, words: list[str]) -> None:
    settings = tmp_path / "bmid.toml"
    settings.write_text(f'[database]\nurl = "sqlite:///{tmp_path}/bmid.db"\n')
    result = CliRunner().invoke(main, ["--config", str(settings), *words])
    assert (result.exit_code, result.exception.__class__) == (78, SystemExit)
    assert "bmid migrate" in result.output
