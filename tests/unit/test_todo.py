"""Whatever goes wrong is told with what to do about it: to a tenant, an operator, or whoever reads the log."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = sorted(path for folder in ("bmid", "bmi-publish/bmi_publish") for path in (ROOT / folder).rglob("*.py"))
# Makers of problems, and the place of what to do among their arguments where it can stand there without its name.
NAMED = {"BmiError", "Misconfigured", "PermanentError", "Problem.of", "Refused", "Rejected", "TransientError"}
PLACED = {"HttpProblem.of": 3, **dict.fromkeys(("BadSettings.of", "DownloadFailed.of", "NotAllowed.of"), 2)}
PLACED |= dict.fromkeys(("PublishError.of", "Unreachable.of", "UploadFailed.of"), 2)
KINDS = {"PermanentError", "Refused", "TransientError"}
PARENTS = {"BmiError", "ClaimLost", "Conflict", *KINDS}


def silent(tree: ast.AST) -> Iterator[int]:
    """Lines where a problem is made, or told in a table of errors, and nobody says what to do."""
    for node in ast.walk(tree):
        call, row = isinstance(node, ast.Call), isinstance(node, ast.Tuple)
        if (call and not _says(node)) or (row and _is_row(node) and any(map(_is_empty, node.elts))):
            yield node.lineno
        elif isinstance(node, ast.ClassDef) and PARENTS & {ast.unparse(base) for base in node.bases}:
            calls = [one for one in ast.walk(node) if isinstance(one, ast.Call)]
            yield from (one.lineno for one in calls if ast.unparse(one.func) == "super().__init__" and not _named(one))


def _says(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    if name in NAMED:
        return _named(call)
    if name not in PLACED or _named(call):
        return True
    return not all(_is_empty(one) for one in call.args[PLACED[name] :])


def _named(call: ast.Call) -> bool:
    return any(word.arg == "todo" and not _is_empty(word.value) for word in call.keywords)


def _is_empty(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, str) and not value.value.strip()


def _is_row(row: ast.Tuple) -> bool:
    """Of a table that says which error of a library is which of ours."""
    texts = [one for one in row.elts if isinstance(one, ast.Constant) and isinstance(one.value, str)]
    return len(row.elts) >= 5 and len(texts) >= 2 and any("rror" in ast.unparse(one) for one in row.elts)


def test_no_problem_is_told_without_what_to_do() -> None:
    found = {str(path.relative_to(ROOT)): [*silent(ast.parse(path.read_text()))] for path in FILES}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "text",
    [
        'raise Refused("slug", "detail")',
        'raise TransientError("slug", "detail", todo="")',
        'raise Misconfigured("detail") from error',
        'Problem.of("slug", "detail", todo=" ")',
        'HttpProblem.of(409, "slug", "detail", Retry_After="5")',
        'UploadFailed.of("slug", "detail")',
        'TABLE = ((ServerError, "slug", True, "failed inside", ""),)',
        'class Worse(TransientError):\n def __init__(self):\n  super().__init__("slug", "detail", delay=0.0)',
    ],
)
def test_each_way_of_saying_nothing_is_seen(text: str) -> None:
    assert [*silent(ast.parse(text))]


@pytest.mark.parametrize(
    "text",
    [
        'raise Refused("slug", "detail", todo=HINT)',
        'HttpProblem.of(409, "slug", "detail", todo, Retry_After="5")',
        'UploadFailed.of("slug", "detail", "Look there.")',
        'Pointer(folder, 1, 0, "", complete=False)',
    ],
)
def test_what_says_something_is_let_through(text: str) -> None:
    assert not [*silent(ast.parse(text))]
