"""How `bmid` prints rows: for people as a table with its columns named, for programs as they are."""

from __future__ import annotations

import json

import pytest

from bmid.cli.terminal import print_rows, telling

ROWS = [{"key": "node:n1", "age": None}, {"key": "role:relay", "age": 7}]


def test_a_table_names_its_columns_and_has_a_dash_where_nothing_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, "table", ("KEY", "AGE"), lambda row: (row["key"], f"{row['age']} s" if row["age"] else ""))
    assert capsys.readouterr().out == "KEY         AGE\nnode:n1     -\nrole:relay  7 s\n"


def test_nothing_is_a_table_too_and_an_empty_list(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([], "table", ("KEY", "AGE"), lambda row: ())
    print_rows([], "json", ("KEY", "AGE"), lambda row: ())
    assert capsys.readouterr().out == "KEY  AGE\n[]\n"


def test_programs_get_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, "json", ("KEY",), lambda row: (row["key"],))
    assert json.loads(capsys.readouterr().out) == ROWS


def test_who_waits_is_told_each_change_once(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, so that what a program reads has none of it."""
    with telling() as tell:
        for line in ("two are left", "two are left", "one is left"):
            tell(line)
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "two are left\none is left\n")
