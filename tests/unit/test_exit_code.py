"""What both commands end with: one list of codes, which says the same of each of them."""

from __future__ import annotations

import errno
import re
import stat
import subprocess
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bmi_publish.cli import EPILOG
from bmi_publish.error import BadSettings, NotAllowed, PublishError, Unreachable
from bmi_publish.result import EXIT_CODES, State
from bmid.cli.terminal import Commands
from bmid.errors import ClaimLost, Misconfigured, PermanentError, Refused, Rejected, TransientError
from bmid.model.exit import Exit

OPERATIONS = Path(__file__).parents[2] / "docs/operations.md"
TODO = {"todo": "Do it."}


def test_the_table_has_each_code_and_no_other() -> None:
    """And bmi-publish's help has all of its own."""
    section = OPERATIONS.read_text().partition("\n## Exit codes\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in re.findall(r"^\| \d.*$", section, re.MULTILINE)]
    assert [int(row[0]) for row in rows] == list(Exit)
    theirs = [int(code) for code, told, _ in rows if told.strip()]
    assert [int(code) for code in re.findall(r"(?<=[:,] )\d+(?= \w)", EPILOG.replace("\n", " "))] == theirs


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("disk-in-place", "it has one", **TODO), Exit.REFUSED),
        (Rejected("data-invalid", "no such field", **TODO), Exit.REFUSED),
        (TransientError("database-away", "no answer", **TODO), Exit.UNAVAILABLE),
        (PermanentError("storage-denied", "it says no", **TODO), Exit.UNAVAILABLE),
        (ClaimLost(), Exit.UNAVAILABLE),
        (Misconfigured("no such key", **TODO), Exit.MISCONFIGURED),
        (click.UsageError("what?"), Exit.USAGE),
        (click.Abort(), Exit.FAILED),
        (BrokenPipeError(errno.EPIPE, "whoever read it has gone"), Exit.FAILED),
        (KeyboardInterrupt(), Exit.INTERRUPTED),
        (ValueError("a mistake of ours"), Exit.BROKEN),
    ],
)  # fmt: skip
def test_bmid_ends_as_its_error_says(error: BaseException, code: Exit) -> None:
    group = Commands("bmid", places={})

    @group.command()
    def fail() -> None:
        raise error

    assert CliRunner().invoke(group, ["fail"]).exit_code == code


def test_bmi_publish_ends_with_the_same() -> None:
    """Refused is refused, away is away, unusable settings are that."""
    assert EXIT_CODES[State.REFUSED] == EXIT_CODES[State.REJECTED] == Exit.REFUSED
    assert EXIT_CODES[State.UNSENT] == Unreachable.exit_code == Exit.UNAVAILABLE
    codes = (PublishError.exit_code, NotAllowed.exit_code, BadSettings.exit_code)
    assert codes == (Exit.FAILED, Exit.FORBIDDEN, Exit.MISCONFIGURED)


@pytest.mark.parametrize(
    ("says", "ends", "before", "after"),
    [("yes", 0, 1, 0), ("no", 1, 0, 1), ("", 69, 0, 0), ("", 69, 1, 1), ("", 1, 0, 0), ("", 69, None, 1)],
)
def test_keepalived_takes_an_address_away_only_where_bmid_says_so(
    tmp_path: Path, says: str, ends: int, before: int | None, after: int
) -> None:
    """The script of docs/operations.md. A bmid that can't even be loaded ends with 1, as every program in Python."""
    found = re.search(r"^#!/bin/sh\n.*?^```$", OPERATIONS.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    script, bmid, kept = tmp_path / "carries", tmp_path / "bmid", tmp_path / "carries-10.0.0.1"
    script.write_text(found.group().removesuffix("```").replace("/run/bmid", str(tmp_path)))
    bmid.write_text(f"#!/bin/sh\necho {says}\nexit {ends}\n")
    bmid.chmod(bmid.stat().st_mode | stat.S_IXUSR)
    if before is not None:
        kept.write_text(f"{before}\n")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["sh", str(script), "10.0.0.1"], env=environment, check=False, capture_output=True)
    assert done.returncode == after, done.stderr
