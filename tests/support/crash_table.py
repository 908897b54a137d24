"""The table handler × step × fault of docs/reliability.md: `python -m tests.support.crash_table docs/reliability.md`.

Each recipe is carried out once, without any accident, on memory twins: the table has the driver calls that its steps
made, and what strikes before and after each of them in tests/integration/test_engine_crash.py.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from bmid.engine import executor
from bmid.store.database import Database
from bmid.store.migration import migrate
from tests.support.accident import Trip
from tests.support.crash import ACCIDENTS, HALF_REMOVED, RECIPES, Accident, site
from tests.support.recipe import Recipe

__all__ = ["BEGIN", "END", "table"]

BEGIN, END = "<!-- crash table: begin -->", "<!-- crash table: end -->"
COLUMNS = list(dict.fromkeys(accident.column for accident in ACCIDENTS.values()))
EVERYWHERE = (
    ("acceptance", "commit", "accepted once"),
    ("acceptance", "acknowledgement", "accepted once"),
    ("every run", "commit of a mark, a wait, an outcome", "done"),
    ("relay", "publish", "heard, perhaps twice"),
    ("relay", "mark", "heard, perhaps twice"),
)

Calls = dict[tuple[str, str], list[str]]  # command and step: the driver calls


@contextmanager
def _steps(trip: Trip) -> Iterator[list[tuple[str, str]]]:
    """Step and moment of all that happens meanwhile."""
    seen: list[tuple[str, str]] = []
    real, present = executor._one, [""]

    def one(step: Any, act: Any) -> Any:
        present.append(step.kind)
        try:
            return real(step, act)
        finally:
            present.pop()

    class Told(list[str]):
        def append(self, moment: str) -> None:
            seen.append((present[-1], moment))
            super().append(moment)

    trip.seen, executor._one = Told(), one
    try:
        yield seen
    finally:
        executor._one = real


def _calls(folder: Path, blank: Path, recipe: Recipe, found: dict[str, list[str]]) -> None:
    bench = site(folder, blank, recipe, owners=True)
    recipe.send(bench)
    with _steps(bench.trip) as seen:
        bench.trip.armed = True
        bench.settle()
    bench.close()
    for step, moment in seen:
        call = moment.removeprefix("before ")
        if step and moment.startswith("before") and "." in call and call not in found.setdefault(step, []):
            found[step].append(call)


def _outcome(command: str, accident: Accident) -> str:
    if not accident.fails:
        return "done"
    return "told, sent again: done" if command in HALF_REMOVED else "undone"


def _of(column: str, outcome: str) -> str:
    """Only a driver has errors for good."""
    return "-" if column == ACCIDENTS["permanent"].column else outcome


def table(folder: Path, blank: Path) -> str:
    """The table, as Markdown."""
    rows = [["command", "step", "driver calls", *COLUMNS], ["---"] * (3 + len(COLUMNS))]
    for command in sorted(RECIPES):
        found: dict[str, list[str]] = {}
        for number, recipe in enumerate(RECIPES[command]):
            _calls(folder / f"{command}-{number}", blank, recipe, found)
        outcomes = {accident.column: _outcome(command, accident) for accident in ACCIDENTS.values()}
        for step, calls in found.items():
            rows.append([f"`{command}`", step, ", ".join(f"`{call}`" for call in sorted(calls)), *outcomes.values()])
        if not found:
            rows.append([f"`{command}`", "none", "rows only", *(_of(column, "done") for column in COLUMNS)])
    for where, what, outcome in EVERYWHERE:
        rows.append(
            [where, what, "", *(outcome if column != "error for good" else "none has it" for column in COLUMNS)]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def written(document: str, text: str) -> str:
    """The document with this table in it."""
    head, _, rest = document.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{text}\n{END}{rest.partition(END)[2]}"


def main(document: Path) -> None:
    """Write it into a document, between its marks."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as folder:
        blank = Path(folder) / "blank.db"
        database = Database(f"sqlite:///{blank}")
        migrate(database)
        database.close()
        document.write_text(written(document.read_text(), table(Path(folder), blank)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
